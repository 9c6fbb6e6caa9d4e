"""DeepFace on drawn faces, in half a minute: three networks with a view each, three ways to compare, and the ensemble.

    python examples/deepface.py

Networks are trained on 24 people; weights of the comparisons are learned on 24 others, and all is tested on 24 more.
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch

from vultus import Detector, evaluate, train
from vultus.train import deepface
from vultus.train.deepid import extract
from vultus.train.export import trained_backbone
from vultus.types import BoolArray, Float64Array, IntArray

VIEWS = {"aligned in 3D": "rgb", "grey and gradient": "gradient", "aligned in 2D": "rgb"}
SMALL = "side=40, channels=[16, 8, 8, 8, 8], kernels=[5, 3, 3, 3, 3], dropout=0.2"


def network_of(view: str, faces: train.data.Dataset, folder: str, *, epochs: int, people: int) -> deepface.DeepFace:
    """Trained on the first third of the people."""
    config = train.Config.of(
        {
            "run": {"folder": f"{folder}/{view}-{id(faces)}", "epochs": epochs, "progress": False},
            "data": {"train": f"generated:{3 * people}x8@5", "classes": people, "batch": 32},
            "model": {"backbone": "deepface", "dim": 96},
            "loss": {"name": "softmax"},
            "head": {"kind": "dense"},
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
            "augment": {"policy": "light"},
        },
        overrides=[f'model.options={{view="{view}", {SMALL}}}'],
    )
    result = train.run(config, dataset=faces)
    print(f"  view {view!r}: loss {result.loss:.2f} after {result.steps} steps")
    network = trained_backbone(train.open_checkpoint(result.folder), config)
    assert isinstance(network, deepface.DeepFace)
    return network


def pairs_of(labels: IntArray, *, each: int, seed: int) -> tuple[IntArray, IntArray, BoolArray]:
    """Every mated pair of some photos, and `each` times as many others."""
    first, second = np.triu_indices(len(labels), 1)
    mated = labels[first] == labels[second]
    others = np.random.default_rng(seed).choice(np.flatnonzero(~mated), each * int(mated.sum()), replace=False)
    kept = np.concatenate([np.flatnonzero(mated), others])
    return first[kept], second[kept], mated[kept]


def below_top(network: deepface.DeepFace, crops: np.ndarray) -> torch.Tensor:
    """(n, m) what F7 is given."""
    images = train.data.to_input(torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))))
    with torch.no_grad():
        return torch.cat([torch.flatten(network.maps(part)["L6"], 1) for part in torch.split(images, 64)])


def main(epochs: int = 30, people: int = 24) -> dict[str, float]:
    """Print the AUC of each comparison and of the ensemble, and give them back."""
    torch.set_num_threads(1)
    plain = train.data.InMemory(train.data.DrawnFaces(3 * people, 8, seed=5))
    turned = train.data.InMemory(deepface.Aligned3D(plain, Detector(threads=1)))
    labels = plain.labels
    known, fit, test = (labels // people == part for part in range(3))
    a, b, same = pairs_of(labels[fit], each=1, seed=0)
    c, d, truth = pairs_of(labels[test], each=1, seed=1)
    found: dict[str, float] = {}
    learned: list[Float64Array] = []
    tested: list[Float64Array] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, view in VIEWS.items():
            print(name)
            faces = turned if name == "aligned in 3D" else plain
            network = network_of(view, faces, folder, epochs=epochs, people=people)
            crops = np.stack([faces.pixels(i) for i in range(len(faces))])
            raw = torch.from_numpy(extract([network], crops, mirrored=False))
            largest = raw[known].max(dim=0).values
            unit = deepface.max_normalise(raw, largest)
            x, y = unit[fit], unit[test]

            found[f"{name}, inner product"] = auc((y[c] * y[d]).sum(dim=1).numpy(), truth)
            terms = (x[a] - x[b]) ** 2 / (x[a] + x[b]).clamp_min(1e-12)
            chi2 = deepface.WeightedChi2(*deepface.fit_weights(terms, torch.from_numpy(same), cost=1.0))
            learned.append(chi2(x[a], x[b]).numpy())
            tested.append(chi2(y[c], y[d]).numpy())
            found[f"{name}, weighted chi-squared"] = auc(tested[-1], truth)

            maps = below_top(network, crops)
            top = torch.nn.Sequential(network.F7, torch.nn.ReLU())
            mates = torch.from_numpy(same)
            siamese = deepface.fit_siamese(top, maps[fit][a], maps[fit][b], mates, epochs=3, rate=3e-4)
            with torch.no_grad():
                found[f"{name}, Siamese"] = auc(siamese(maps[test][c], maps[test][d]).numpy(), truth)
    members, held = np.stack(learned, axis=1), np.stack(tested, axis=1)
    fused = deepface.learned_fusion(members, same)
    together = fused(held)
    found["mean of the three"] = float(np.mean([auc(held[:, k], truth) for k in range(3)]))
    found["plain sum"] = auc(deepface.equal_fusion(members)(held), truth)
    found["ensemble"] = auc(together, truth)

    def gain(i: IntArray) -> float:
        return auc(together[i], truth[i]) - float(np.mean([auc(held[i, k], truth[i]) for k in range(3)]))

    interval = evaluate.bootstrap_metric(gain, labels[test][c], labels[test][d])
    found["gain"], found["gain, low"] = found["ensemble"] - found["mean of the three"], interval.low
    for name, value in found.items():
        if not name.startswith("gain"):
            print(f"{value:.4f}  {name}")
    print(
        f"{found['gain']:+.4f}  ensemble above the mean of its members ({interval.low:+.4f} to {interval.high:+.4f}), "
        f"{truth.sum()} mated of {len(truth)} pairs"
    )
    return found


def auc(scores: Float64Array, mated: BoolArray) -> float:
    """Chance that a mated pair scores above another, ties counting half."""
    ordered = np.sort(scores[~mated])
    low, high = (np.searchsorted(ordered, scores[mated], side=s) for s in ("left", "right"))
    return float((low + high).mean() / 2 / len(ordered))


if __name__ == "__main__":
    main()

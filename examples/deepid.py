"""DeepID on drawn faces, in some seconds: networks on patches, their features joined, PCA, Joint Bayesian.

    python examples/deepid.py

Three networks are trained on 20 people; PCA and Joint Bayesian are fitted to 20 others, and all are tested on 20 more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from vultus import evaluate, train
from vultus.train import deepid
from vultus.train.export import trained_backbone
from vultus.types import Float64Array

RECIPE = Path(__file__).parents[1] / "recipes" / "deepid_small.toml"
MEMBERS = ("face/1/rgb", "left-eye/1.25/rgb", "lower/1/grey")


def network_of(patch: str, faces: train.data.Dataset, folder: str, *, steps: int) -> torch.nn.Module:
    """Trained on the first 20 people."""
    config = train.Config.load(
        RECIPE,
        overrides=[
            f"run.folder='{folder}/{patch.replace('/', '-')}'",
            f"run.steps={steps}",
            "run.progress=false",
            "data.train=generated:60x8@3",
            "data.classes=20",
            "data.hold_out=0.0",
            "data.in_memory=false",
            "data.batch=32",
            "optimizer.lr=0.05",
            "schedule.warmup=0.0",
            "evaluation.sets=[]",
            f'model.options={{patch="{patch}"}}',
        ],
    )
    result = train.run(config, dataset=faces)
    print(f"{patch}: loss {result.loss:.2f} after {result.steps} steps")
    return trained_backbone(train.open_checkpoint(result.folder), config)


def main(steps: int = 50) -> dict[str, float]:
    """Print the equal error rate of each member and of all together, and give them back."""
    torch.set_num_threads(1)
    faces = train.data.InMemory(train.data.DrawnFaces(60, 8, seed=3))
    crops, labels = np.stack([faces.pixels(i) for i in range(len(faces))]), faces.labels
    with tempfile.TemporaryDirectory() as folder:
        members = [network_of(patch, faces, folder, steps=steps) for patch in MEMBERS]
    parts: dict[str, Float64Array] = {
        name: deepid.extract([m], crops) for name, m in zip(MEMBERS, members, strict=True)
    }
    parts["together"] = deepid.extract(members, crops)
    fit, test = (labels >= 20) & (labels < 40), labels >= 40
    first, second = np.triu_indices(int(test.sum()), 1)
    mated = labels[test][first] == labels[test][second]
    found = {}
    for name, rows in parts.items():
        verifier = deepid.fit_verifier(rows[fit], labels[fit], components=40)
        scores = verifier.score_pairs(rows[test][first], rows[test][second])
        found[name] = evaluate.roc(scores, mated).eer()
        print(
            f"{name}: {rows.shape[1]} numbers, EER {100 * found[name]:.1f} % on {mated.sum()} mated of {len(mated)} pairs"
        )
    return found


if __name__ == "__main__":
    main()

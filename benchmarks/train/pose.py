"""Does training on turned heads help to recognise turned heads that were never trained on?

    .venv/bin/vultus train prepare PHOTOS out/celeba
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.train.pose --data out/celeba --lfw LFW

ArcFace with recipes/celeba_small.toml and two policies that differ in one step: recipes/augment/light.toml, and pose.toml,
which also turns some heads. The pose is held out: trained is with those photos whose heads are turned by less than `--to-yaw`
degrees, of people who have two of them or more. Measured on LFW: all pairs of
View 2, and those of its mated pairs whose second photo shows a head turned by 20 degrees or more, against all non-mated pairs;
and on the photos that were held out: who of the trained people is it, by the nearest mean of the photos trained with?
Intervals are Student's over seeds. A run that is there is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from benchmarks.train.losses import config_of, interval

import vultus
from vultus import evaluate, face3d, train
from vultus.errors import VultusError
from vultus.train.data import Shards
from vultus.train.data.shards import write_shards
from vultus.train.distributed import World
from vultus.train.export import trained_backbone
from vultus.train.sections import EvaluationSet
from vultus.train.validation import PairSet, measure, pair_set

POLICIES = Path(__file__).parents[2] / "recipes" / "augment"
FROM_YAW = math.radians(20)
BINS = ((0, 10), (10, 20), (20, 30), (30, 90))


def yaws(pairs: PairSet, kept: Path) -> Any:
    """(f,) radians by which the head in each second photo of a mated pair is turned; 0 for the others."""
    if kept.is_file():
        return np.load(kept)
    recognizer = vultus.Recognizer.load(threads=1)
    wanted = np.unique(pairs.pairs.second[pairs.pairs.mated])
    found = np.zeros(len(pairs.pairs.files))
    for i, sample in zip(
        wanted, recognizer.extract([pairs.pairs.files[i] for i in wanted], policy="central"), strict=True
    ):
        if not isinstance(sample, VultusError):
            found[i] = face3d.fit(sample.face.landmarks[0]).yaw
    np.save(kept, found)
    return found


def yaws_of(faces: Shards, kept: Path) -> Any:
    """(n,) radians by which the head in each prepared face is turned, fitted to landmarks found anew; NaN where none were."""
    if kept.is_file():
        return np.load(kept)
    detector = vultus.Recognizer.load(threads=1).detector
    margin = faces.pixels(0).shape[0] // 2
    found = np.full(len(faces), np.nan)
    for i in range(len(faces)):
        seen = detector(cv2.copyMakeBorder(faces.pixels(i), *(margin,) * 4, cv2.BORDER_REPLICATE))
        if len(seen):
            found[i] = face3d.fit(seen.landmarks[0]).yaw
    np.save(kept, found)
    return found


def near_front(faces: Shards, near: Any, kept: Path) -> Path:
    """The prepared faces whose heads are not turned, of people who have two of them or more."""
    if not (kept / "manifest.json").is_file():
        count = np.bincount(faces.labels[near], minlength=len(faces.classes))
        people = np.flatnonzero(count >= 2).tolist()
        place = {label: i for i, label in enumerate(people)}
        chosen = [i for i in np.flatnonzero(near).tolist() if faces.labels[i] in place]
        photos = [(faces.content(i), place[faces.labels[i]]) for i in chosen]
        write_shards(kept, photos, tuple(faces.classes[i] for i in people), encoding=faces.manifest.encoding)
    return kept


def held_out(backbone: torch.nn.Module, faces: Shards, near: Any, yaw: Any) -> dict[str, float]:
    """Share of photos of the trained people, by how far the head is turned, that are nearest to the right person.

    A person is the mean embedding of the photos that were trained with.
    """
    backbone.eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(faces), 256):
            pixels = np.stack([faces.pixels(i) for i in range(start, min(start + 256, len(faces)))])
            batch = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 127.5
            rows.append(torch.nn.functional.normalize(backbone(batch), dim=1).numpy())
    embedded, labels = np.concatenate(rows), faces.labels
    people = np.flatnonzero(np.bincount(labels[near], minlength=len(faces.classes)) >= 2)
    means = np.stack([embedded[near & (labels == person)].mean(axis=0) for person in people])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    right, turn = people[(embedded @ means.T).argmax(axis=1)] == labels, np.degrees(np.abs(yaw))
    shares = {}
    for low, high in BINS:
        chosen = (turn >= low) & (turn < high) & np.isin(labels, people)
        shares[f"{low} to {high} degrees, {int(chosen.sum())} photos"] = float(right[chosen].mean())
    return shares


def one(policy: str, seed: int, *, given: argparse.Namespace, pairs: PairSet, turned: Any) -> dict[str, Any]:
    """What a run gives; trained now unless it is there."""
    folder = given.out / f"{policy}-{seed}"
    config = config_of(
        "ArcFace",
        seed,
        folder=folder,
        data=str(given.data),
        epochs=given.epochs,
        policy=str(POLICIES / f"{policy}.toml"),
    )
    train.run(config, resume=True)
    backbone = trained_backbone(train.open_checkpoint(folder), config)
    shares = held_out(backbone, given.faces, given.near, given.yaw)
    figures, extraction = measure(backbone, pairs, world=World())
    listed = pairs.pairs
    scores, far = extraction.scores(listed.first, listed.second), turned[listed.second]
    mated = listed.mated & far
    kept = mated | ~listed.mated
    rates = {"auc": evaluate.auc(scores[kept], mated[kept]), "eer": evaluate.eer(scores[kept], mated[kept])}
    return {"policy": policy, "seed": seed, "accuracy": figures.accuracy, "turned": int(mated.sum()), **rates, **shares}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to-yaw", type=float, default=10.0)
    parser.add_argument("--lfw", required=True)
    parser.add_argument("--out", type=Path, default=Path("out/bench/pose"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=16)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.faces = Shards(given.data)
    given.yaw = yaws_of(given.faces, given.out / "faces_yaw.npy")
    given.near = np.degrees(np.abs(given.yaw)) < given.to_yaw
    given.data = near_front(given.faces, given.near, given.out / "faces")
    print(
        f"{int(given.near.sum())} of {len(given.faces)} photos show heads turned by less than {given.to_yaw:g} degrees"
    )
    pairs = pair_set(EvaluationSet("lfw", path=given.lfw))
    turned = np.abs(yaws(pairs, given.out / "yaws.npy")) >= FROM_YAW
    runs = []
    for seed in given.seeds:
        for policy in ("light", "pose"):
            runs.append(one(policy, seed, given=given, pairs=pairs, turned=turned))
            print(json.dumps(runs[-1]), flush=True)
    for name in [n for n in runs[0] if n not in ("policy", "seed", "turned")]:
        gains = [b[name] - a[name] for a, b in zip(runs[0::2], runs[1::2], strict=True)]
        mean, half = interval(gains)
        plain = np.mean([r[name] for r in runs[0::2]])
        print(f"{name}: light {plain:.4f}, with pose {mean:+.4f} ± {half:.4f} over {len(gains)} seeds")
    (given.out / "pose.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

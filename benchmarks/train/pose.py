"""Does training on turned heads help to recognise turned heads that were never trained on?

    .venv/bin/vultus train prepare PHOTOS out/celeba
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.train.pose --data out/celeba --lfw LFW

ArcFace with recipes/celeba_small.toml and two policies that differ in one step: recipes/augment/light.toml, and pose.toml,
which also turns some heads. The pose is held out: trained is with those photos whose heads are turned by less than `--to-yaw`
degrees (fitted to landmarks found in the prepared faces), or with all of them where that is 0. Measured on LFW: all pairs of
View 2, and those of its mated pairs whose second photo shows a head turned by 20 degrees or more, against all non-mated pairs.
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


def held_out(root: Path, kept: Path, most: float) -> Path:
    """The prepared faces whose heads are turned by less than so many radians, of people who have two of them or more."""
    if (kept / "manifest.json").is_file():
        return kept
    faces = Shards(root)
    detector = vultus.Recognizer.load(threads=1).detector
    margin = faces.pixels(0).shape[0] // 2
    near = np.zeros(len(faces), dtype=bool)
    for i in range(len(faces)):
        wide = cv2.copyMakeBorder(faces.pixels(i), *(margin,) * 4, cv2.BORDER_REPLICATE)
        found = detector(wide)
        near[i] = len(found) > 0 and abs(face3d.fit(found.landmarks[0]).yaw) < most
    count = np.bincount(faces.labels[near], minlength=len(faces.classes))
    people = np.flatnonzero(count >= 2)
    place = {label: i for i, label in enumerate(people.tolist())}
    photos = [
        (faces.content(i), place[faces.labels[i]]) for i in np.flatnonzero(near).tolist() if faces.labels[i] in place
    ]
    write_shards(kept, photos, tuple(faces.classes[i] for i in people), encoding=faces.manifest.encoding)
    return kept


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
    figures, extraction = measure(backbone, pairs, world=World())
    listed = pairs.pairs
    scores, far = extraction.scores(listed.first, listed.second), turned[listed.second]
    mated = listed.mated & far
    kept = mated | ~listed.mated
    rates = {"auc": evaluate.auc(scores[kept], mated[kept]), "eer": evaluate.eer(scores[kept], mated[kept])}
    return {"policy": policy, "seed": seed, "accuracy": figures.accuracy, "turned": int(mated.sum()), **rates}


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
    if given.to_yaw:
        given.data = held_out(given.data, given.out / "faces", math.radians(given.to_yaw))
    faces = train.data.open_dataset(given.data)
    print(f"{len(faces)} photos of {len(faces.classes)} people")
    pairs = pair_set(EvaluationSet("lfw", path=given.lfw))
    turned = np.abs(yaws(pairs, given.out / "yaws.npy")) >= FROM_YAW
    runs = []
    for seed in given.seeds:
        for policy in ("light", "pose"):
            runs.append(one(policy, seed, given=given, pairs=pairs, turned=turned))
            print(json.dumps(runs[-1]), flush=True)
    for name in ("accuracy", "auc", "eer"):
        gains = [b[name] - a[name] for a, b in zip(runs[0::2], runs[1::2], strict=True)]
        mean, half = interval(gains)
        plain = np.mean([r[name] for r in runs[0::2]])
        print(f"{name}: light {plain:.4f}, with pose {mean:+.4f} ± {half:.4f} over {len(gains)} seeds")
    (given.out / "pose.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

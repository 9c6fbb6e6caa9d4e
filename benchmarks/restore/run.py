"""What restoration gains on LFW: TAR at FMR 1e-3 of harmed photos with and without it, and of photos with turned heads.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.restore.run --lfw LFW --out out/bench/restore.json
    ... --only pose          real heads turned by 20 degrees and more, nothing harmed
    ... --only harmed        low resolution, occlusion, light, yaw at severities 3 and 5, and untouched photos
    ... --restorer PATH      a learned restorer's manifest too

Each way is compared with leaving the crop as it is, on the same photos and the same draws of subjects, each at a threshold
that gives FMR 1e-3 for it. A gain whose interval holds 0 is none.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

import vultus
from vultus import evaluate, face3d, restore
from vultus.augment import Policy
from vultus.errors import VultusError
from vultus.evaluate import Pairs, RestorationResult
from vultus.recognizer import Restore

MIRRORED = '[[steps]]\noperation = "mirror"\n'
MASKED = '[[steps]]\noperation = "mask"\namount = [0.9, 0.9]\n'
FROM_YAW = math.radians(20)


def ways_of(restorer: str | None) -> dict[str, Restore]:
    """What is compared, by name."""
    ways: dict[str, Restore] = {
        "frontal": restore.Frontal(),
        "frontal, half way": restore.Frontal(share=0.5),
        "frontal, no symmetry": restore.Frontal(symmetry=0.0),
        "frontal beside the crop": restore.Beside(restore.Frontal()),
        "mirrored beside the crop": restore.AugmentedViews(Policy.parse(MIRRORED), copies=1),
        "masked beside the crop": restore.AugmentedViews(Policy.parse(MASKED), copies=1),
    }
    ways |= {name: restore.Light(name) for name in restore.LIGHTING}
    ways |= {
        f"{name} beside the crop": restore.Beside(restore.Light(name)) for name in ("balance", "equalise", "lit_half")
    }
    if restorer is not None:
        loaded = restore.Restorer.load(restorer, threads=1)
        learned, of_all = restore.Learned(loaded), restore.Learned(loaded, below=None)
        ways |= {
            "restorer": learned,
            "restorer beside the crop": restore.Beside(learned),
            "restorer beside every crop": restore.Beside(of_all),
        }
    return ways


def turned(data: Pairs, recognizer: vultus.Recognizer) -> Pairs:
    """The mated pairs whose second photo shows a head turned by 20 degrees or more."""
    files = np.unique(data.second[data.mated])
    yaw = np.zeros(len(data.files))
    for i, sample in zip(files, recognizer.extract([data.files[i] for i in files], policy="central"), strict=True):
        if not isinstance(sample, VultusError):
            yaw[i] = face3d.fit(sample.face.landmarks[0]).yaw
    keep = data.mated & (np.abs(yaw[data.second]) >= FROM_YAW)
    return replace(
        data,
        name=f"{data.name}, heads turned by {math.degrees(FROM_YAW):.0f} degrees or more",
        first=data.first[keep],
        second=data.second[keep],
        mated=data.mated[keep],
        folds=None if data.folds is None else data.folds[keep],
    )


def table(result: RestorationResult) -> str:
    """The cells in Markdown."""
    lines = ["| harmed by | severity | way | TAR | restored | gain | changed |", "|---|---|---|---|---|---|---|"]
    for c in result.cells:
        low, high = 100 * c.gain.interval.low, 100 * c.gain.interval.high
        lines.append(
            f"| {c.factor} | {c.severity} | {c.way} | {c.tar:.1%} | {c.restored:.1%} | {100 * c.gain.value:+.1f} "
            f"({low:+.1f} to {high:+.1f}) | {c.changed:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/bench/restore.json"))
    parser.add_argument("--only", choices=["pose", "harmed"])
    parser.add_argument("--restorer")
    parser.add_argument("--most", type=int, default=400, help="mated pairs")
    parser.add_argument("--factors", nargs="*", default=["low_resolution", "occlusion", "light", "yaw"])
    parser.add_argument("--severities", nargs="*", type=int, default=[3, 5])
    parser.add_argument("--ways", nargs="*", help="names of the ways; all unless told otherwise")
    args = parser.parse_args()
    recognizer = vultus.Recognizer.load(threads=1)
    data = evaluate.read_lfw(args.lfw)
    ways = {name: way for name, way in ways_of(args.restorer).items() if not args.ways or name in args.ways}
    found = {}
    if args.only != "harmed":
        found["pose"] = evaluate.measure_restoration(
            turned(data, recognizer), recognizer, ways, factors=(), most=100_000, policy="central"
        )
    if args.only != "pose":
        found["harmed"] = evaluate.measure_restoration(
            data,
            recognizer,
            ways,
            factors=args.factors,
            severities=args.severities,
            most=args.most,
            policy="central",
        )
    for name, result in found.items():
        print(
            f"\n{name}: {result.protocol}, {result.pairs} mated pairs, {result.non_mated:,} others, {result.failures} failures"
        )
        print(table(result))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({k: v.to_dict() for k, v in found.items()}, indent=1), encoding="utf-8")
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
    main()

"""Is it still the same person? Photos of LFW against what each operation makes of them.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/augment/identity.py --lfw LFW [--photos 300] [--severities default]
        [--operation NAME ...] [--out FILE]

Of mated pairs of View 2, drawn at random with at most one pair of a subject, the second photo is changed by one operation at
exactly one severity (by default, the operation's own), detected, aligned and embedded anew by the default system, and compared

- with itself as it was ("kept"), over the photos that give a template unchanged;
- with the first photo ("other photo"), over the pairs that match while the second photo is unchanged.

A score counts from the threshold for a false match rate of 1e-4 on; a photo that gives no template any more counts as lost.
Intervals are Wilson's at 95 %. `--severities 1 2 3 4 5` shows what harsher changes cost. Exit code 1 where an operation keeps
less than 95 % at its default severity.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vultus import Recognizer, Sample, read_image
from vultus.augment import OPERATIONS, vary
from vultus.evaluate import read_lfw, wilson
from vultus.types import UInt8Array

FMR, NEEDED = 1e-4, 0.95


def drawn_pairs(root: Path, count: int) -> list[tuple[str, str]]:
    """Mated pairs of different subjects, the same for the same count."""
    data = read_lfw(root)
    mated = np.flatnonzero(data.mated)
    order = np.random.default_rng(7).permutation(mated)
    _, at = np.unique(data.subjects[data.first[order]], return_index=True)
    chosen = order[np.sort(at)[:count]]
    return [(data.files[data.first[i]], data.files[data.second[i]]) for i in chosen]


def measure(
    recognizer: Recognizer, pairs: list[tuple[str, str]], wanted: list[tuple[str, float]]
) -> tuple[list[dict[str, Any]], int, int]:
    """A row for each operation and severity; the numbers of photos and of pairs that they are shares of."""
    threshold = recognizer.threshold(fmr=FMR).value
    kept: dict[tuple[str, float], list[bool]] = {w: [] for w in wanted}
    other: dict[tuple[str, float], list[bool]] = {w: [] for w in wanted}
    lost = dict.fromkeys(wanted, 0)
    photos = matching = 0
    for number, (first, second) in enumerate(pairs):
        known, sample = recognizer.extract([first, second], policy="central")
        if not isinstance(sample, Sample):
            continue
        photos += 1
        match = isinstance(known, Sample) and recognizer.compare(known.template, sample.template) >= threshold
        matching += match
        pixels, face = read_image(second), sample.face

        def versions(pixels: UInt8Array = pixels, face: Any = face, number: int = number) -> Iterator[UInt8Array]:
            for name, severity in wanted:
                yield vary(pixels, name, face.landmarks[0], face.boxes[0], severity=severity, seed=number).images

        for what, changed in zip(wanted, recognizer.extract(versions(), policy="central"), strict=True):
            found = changed.template if isinstance(changed, Sample) else None
            lost[what] += found is None
            kept[what].append(found is not None and recognizer.compare(sample.template, found) >= threshold)
            if match and isinstance(known, Sample):
                other[what].append(found is not None and recognizer.compare(known.template, found) >= threshold)
    rows = []
    for what in wanted:
        row: dict[str, Any] = {"operation": what[0], "severity": what[1], "amount": OPERATIONS[what[0]].amount(what[1])}
        row["unit"], row["lost"] = OPERATIONS[what[0]].unit, lost[what]
        for name, held in (("kept", kept[what]), ("other", other[what])):
            around = wilson(sum(held), len(held))
            row[name], row[f"{name}_low"], row[f"{name}_high"] = float(np.mean(held)), around.low, around.high
        rows.append(row)
    return rows, photos, matching


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--severities", nargs="+", default=["default"])
    parser.add_argument("--operation", nargs="+", default=list(OPERATIONS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    start = time.process_time()
    wanted = [
        (name, OPERATIONS[name].severity if level == "default" else float(level))
        for name in given.operation
        for level in given.severities
    ]
    recognizer = Recognizer.load(threads=given.threads)
    rows, photos, matching = measure(recognizer, drawn_pairs(given.lfw, given.photos), wanted)
    print(f"{photos} photos of as many subjects, {matching} of whose pairs match unchanged; {recognizer.model_id}")
    print("| operation | severity | amount | kept, % | other photo, % | without a face |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['operation']} | {row['severity']:g} | {row['amount']:.3g} {row['unit']} | {100 * row['kept']:.1f} "
            f"({100 * row['kept_low']:.1f} to {100 * row['kept_high']:.1f}) | {100 * row['other']:.1f} "
            f"({100 * row['other_low']:.1f} to {100 * row['other_high']:.1f}) | {row['lost']} |"
        )
    print(f"{time.process_time() - start:.0f} s of CPU time")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        record = {"photos": photos, "matching": matching, "model_id": recognizer.model_id, "fmr": FMR, "rows": rows}
        given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    poor = [r["operation"] for r in rows if r["severity"] == OPERATIONS[r["operation"]].severity and r["kept"] < NEEDED]
    if poor:
        print(f"below {NEEDED:.0%} at the default severity: {', '.join(poor)}", file=sys.stderr)
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())

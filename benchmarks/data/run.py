"""CPU milliseconds of what happens to a photo before and in training: decoding, changes, drawing, the small backbone.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.data.run

All rows are measured in turn, round by round, so that a machine whose speed drifts harms them alike. Prints medians with
quartiles and writes out/bench/data.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from vultus.augment import DEGRADATIONS
from vultus.train import backbones
from vultus.train.data import Augment, draw_face
from vultus.train.data.augment import POLICIES
from vultus.train.data.codec import ENCODINGS, decode, encode
from vultus.types import UInt8Array

Row = Callable[[], object]
_BATCH = 64


def photo() -> UInt8Array:
    """An aligned portrait of 112 x 112 pixels."""
    import skimage.data

    shrunk: UInt8Array = cv2.resize(skimage.data.astronaut()[62:250, 140:328], (112, 112), interpolation=cv2.INTER_AREA)
    return shrunk


def rows() -> dict[str, tuple[int, Row]]:
    """By name: photos in one call, and the call."""
    face, turn = photo(), iter(range(10**9))
    found: dict[str, tuple[int, Row]] = {"drawing a face": (1, lambda: draw_face(3, next(turn) % 50))}
    for encoding in ENCODINGS:
        content = encode(face, encoding)
        found[f"{encoding} writing"] = (1, partial(encode, face, encoding))
        found[f"{encoding} reading, {len(content)} bytes"] = (
            1,
            partial(decode, content, encoding, name="x"),
        )
    changes = {f"policy {name}": policy for name, policy in POLICIES.items()}
    changes |= {f"harm {name}": Augment(harm=1, harms=(name,), severity=5) for name in DEGRADATIONS}
    for name, augment in changes.items():
        found[name] = (1, partial(_changed, augment, face, turn))
    for layout in (torch.contiguous_format, torch.channels_last):
        found[f"small, forward and backward, {str(layout).removeprefix('torch.')}"] = (_BATCH, _training(layout))
    return found


def _changed(augment: Augment, face: UInt8Array, turn: Iterator[int]) -> UInt8Array:
    return augment(face, np.random.default_rng((0, 0, next(turn))))


def _training(layout: torch.memory_format) -> Row:
    torch.manual_seed(0)
    network = backbones.build("small", dim=128).train().to(memory_format=layout)  # type: ignore[call-overload]
    x = torch.rand(_BATCH, 3, 112, 112).contiguous(memory_format=layout)

    def step() -> None:
        network(x).square().sum().backward()

    return step


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("out/bench/data.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = rows()
    times: dict[str, list[float]] = {name: [] for name in table}
    for turn in range(given.rounds + 1):
        for name, (photos, call) in table.items():
            repeat = 1 if photos > 1 else 20
            begun = time.process_time()
            for _ in range(repeat):
                call()
            if turn:  # the first round warms up
                times[name].append((time.process_time() - begun) / repeat / photos * 1e3)
    quartiles = {name: [round(float(q), 4) for q in np.percentile(t, [25, 50, 75])] for name, t in times.items()}
    for name, (low, middle, high) in quartiles.items():
        print(f"{name:<48} {middle:8.3f} ms [{low:.3f}, {high:.3f}]")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    record = {
        "commit": commit,
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "versions": {"torch": torch.__version__, "opencv": cv2.__version__, "numpy": np.__version__},
        "threads": 1,
        "rounds": given.rounds,
        "milliseconds": quartiles,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

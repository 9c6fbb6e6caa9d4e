"""kill -9 while a gallery is encrypted, given another key or decrypted: does it open with one of the two keys, whole?

Each cycle starts a process that changes the key to the next in turn, and is killed after a random time. Then the gallery
must open with the old key or the new one and with no other, hold everything, and have nothing readable in its files
while it is encrypted.

    python -m tests.gallery.rekey_harness --cycles 1000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from vultus.errors import GalleryLocked
from vultus.gallery.records import NewTemplate
from vultus.gallery.rekeying import rekey
from vultus.gallery.store import Store

KEYS: list[bytes | None] = [None, bytes([1] * 32), bytes([2] * 32)]


def made(path: Path, subjects: int) -> None:
    rows = np.random.default_rng(0).standard_normal((subjects, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store = Store.open(path, model="m")
    store.write_all(
        [
            lambda w, i=i, row=row: w.enrol(f"unmistakable-{i}", [NewTemplate(row)], name=None, request=None)  # type: ignore[misc]
            for i, row in enumerate(rows.astype("<f4").tobytes()[k : k + 256] for k in range(0, 256 * subjects, 256))
        ]
    )
    store.close()


def content(path: Path, key: bytes | None) -> tuple[list[object], list[str]]:
    """Everything that the gallery holds, and what is wrong with its structure."""
    store = Store.open(path, key=key)
    try:
        with store.reading() as reads:
            found = [
                (id_, name, created, [(t.number, None if t.vector is None else t.vector.tobytes()) for t in templates])
                for id_, name, created, templates in reads.everything()
            ]
            return [store.identity, reads.revision(), found], reads.structure()
    finally:
        store.close()


def fitting(path: Path) -> list[int]:
    """Which of the keys open it."""
    found = []
    for number, key in enumerate(KEYS):
        try:
            Store.open(path, key=key).close()
        except GalleryLocked:
            continue
        found.append(number)
    return found


def killed(path: Path, key: bytes | None, new_key: bytes | None, seconds: float) -> bool:
    """Change the key in another process and kill that; whether it had acknowledged the change."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"ready")
            rekey(path, key=key, new_key=new_key)
            os.write(writing, b"done")
            time.sleep(60)
        finally:
            os._exit(3)
    os.close(writing)
    said = os.read(reading, 5)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(reading, 100):
        said += part
    os.close(reading)
    return said.endswith(b"done")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--subjects", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    counts = {"cycles": 0, "old key": 0, "new key": 0, "copies left behind": 0}
    problems: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "g.db"
        made(path, options.subjects)
        whole, _ = content(path, None)
        began = time.perf_counter()
        rekey(path, new_key=KEYS[1])
        longest = 2 * (time.perf_counter() - began)
        rekey(path, key=KEYS[1])
        now = 0
        while counts["cycles"] < options.cycles:
            following = (now + 1) % len(KEYS)
            acknowledged = killed(path, KEYS[now], KEYS[following], generator.random() * longest)
            counts["cycles"] += 1
            counts["copies left behind"] += path.with_name("g.db-rekey").exists()
            fits = fitting(path)
            if len(fits) != 1 or fits[0] not in (now, following) or (acknowledged and fits[0] == now):
                problems.append(f"cycle {counts['cycles']}: {fits} fit between {now} and {following}, {acknowledged=}")
                break
            counts["new key" if fits[0] == following else "old key"] += 1
            now = fits[0]
            found, wrong = content(path, KEYS[now])
            if found != whole or wrong:
                problems.append(f"cycle {counts['cycles']}: not the same content; {wrong}")
            if now and b"unmistakable" in path.read_bytes():
                problems.append(f"cycle {counts['cycles']}: readable")
    print(json.dumps({**counts, "problems": problems[:10], "violations": len(problems)}))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

"""An album of people whose names are known: how long it takes, and how well its groups keep to the names.

    python -m benchmarks.gallery.album data/lfw --every 4 --photos 1500

The folder of a photo names its subject: of several faces, the one nearest to the middle is the subject's. A face that is
unsure counts as a group of its own. The album is made twice; the second time nothing has changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from vultus import Recognizer, evaluate
from vultus.album import Album, make_album


def photos_of(root: Path, every: int, photos: int) -> list[Path]:
    """All photos of each `every`th person by name, until there are as many as wanted."""
    found: list[Path] = []
    for person in sorted(p for p in root.iterdir() if p.is_dir())[::every]:
        found += sorted(person.glob("*.jpg"))
        if len(found) >= photos:
            break
    return found


def figures(album: Album) -> dict[str, float | int]:
    """Counts, and agreement of groups with names."""
    boxes = album.faces.boxes
    away = np.hypot(boxes[:, 0] + boxes[:, 2] - 1, boxes[:, 1] + boxes[:, 3] - 1)
    order = np.lexsort((away, album.faces.photos))
    _, first = np.unique(album.faces.photos[order], return_index=True)
    subjects = order[first]
    names = [Path(album.photos[int(p)].files[0]).parent.name for p in album.faces.photos[subjects]]
    found = album.groups.partition()[subjects]
    by_sample, by_pair = evaluate.bcubed(found, names), evaluate.pairwise(found, names)
    return {
        "photos": len(album.photos),
        "people": len(set(names)),
        "faces": len(album.faces),
        "groups_of_several": int((album.groups.sizes > 1).sum()),
        "seen_once": int((album.groups.sizes == 1).sum()),
        "unsure": len(album.groups.unsure),
        "failures": len(album.failures),
        "threshold": round(album.groups.threshold, 4),
        **{f"bcubed_{k}": round(float(getattr(by_sample, k)), 4) for k in ("precision", "recall", "f")},
        **{f"pairwise_{k}": round(float(getattr(by_pair, k)), 4) for k in ("precision", "recall", "f")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of people: root/<person>/<photo>.jpg")
    parser.add_argument("--every", type=int, default=1, help="take every n-th person")
    parser.add_argument("--photos", type=int, default=10**9, help="stop at so many photos")
    arguments = parser.parse_args()
    photos = photos_of(arguments.root, arguments.every, arguments.photos)
    recognizer = Recognizer.load()
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            wall, cpu = time.perf_counter(), time.process_time()
            album = make_album(photos, folder, recognizer)
            times.append((round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2)))
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    record = {
        **figures(album),
        "megabytes": round(size / 1e6, 1),
        "first_seconds": times[0],
        "again_seconds": times[1],
        "seconds_are": ["wall", "CPU"],
        "threads": recognizer.threads,
        "model_id": recognizer.model_id,
        "machine": platform.machine(),
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

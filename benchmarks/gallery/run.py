"""The gallery against the time of reading its rows once, against bare SQLite, and against other indexes.

    python -m benchmarks.gallery.run                                        # 100,000 templates, a minute or two
    python -m benchmarks.gallery.run --templates 1000000 --probes 1000      # some minutes, 3 GB
    python -m benchmarks.gallery.run --templates 10000000 --no-exact        # an hour, 15 GB of disk
    python -m benchmarks.gallery.run --only search --peers                  # usearch, hnswlib, LanceDB, where installed

Everything goes through `vultus.Gallery`. Rows are drawn so that strangers' scores spread like those of a real embedding;
probes of enrolled people score 0.66 with their template on average. The threshold is the one at FPIR 1 %, measured on
strangers. "same decisions" compares each answer with that of a scan of all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--probes", type=int, default=200, help="searches whose decisions are compared")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compress-from", type=int, default=50_000)
    parser.add_argument("--only", choices=["write", "open", "search"], action="append")
    parser.add_argument("--no-exact", action="store_true", help="leave out what reads all rows in memory")
    parser.add_argument("--peers", action="store_true", help="also faiss, usearch, hnswlib and LanceDB")
    parser.add_argument("--folder", type=Path, help="keep the gallery here, and use it again")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)  # before NumPy and faiss are loaded
    from benchmarks.gallery import scenarios

    with tempfile.TemporaryDirectory() as folder:
        report = scenarios.run(options, options.folder or Path(folder))
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

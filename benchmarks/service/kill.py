"""kill -9 of the service amid real enrolments and deletions: nothing acknowledged is lost, nothing deleted is back.

    python -m benchmarks.service.kill --cycles 500

Each cycle starts the service on the folder that the one before left, lets four clients enrol and delete over HTTP, and kills
the process after a random number of answers. Then every subject's history is compared with what the service says, and the
audit log is read whole. Prints JSON; exit code 1 where something was lost, came back, or is not in the log.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.service.serving import environment
from tests.service.kill_harness import portrait, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--most", type=int, default=12, help="answers before a kill, at most")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args(arguments)
    where, began = environment(), time.monotonic()
    found = run(
        cycles=chosen.cycles, threads=chosen.clients, folder=chosen.folder, most=chosen.most, picture=portrait()
    )
    record = {
        "cycles": found.cycles,
        "acknowledged": dict(found.acknowledged),
        "cut_off": found.under_way,
        "lost": len(found.lost),
        "back": len(found.back),
        "other": found.other[:10],
        "seconds": round(time.monotonic() - began),
        "environment": where,
    }
    print(json.dumps(record, indent=2))
    return 1 if found.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Schemathesis against the OpenAPI document of a service that runs in a process of its own.

    python -m benchmarks.service.fuzz --cases 50000

Runs follow each other, each with another seed, over the phases coverage, fuzzing and stateful, until so many cases were sent.
All checks are on but `positive_data_acceptance`: that a field holds the file of a picture, that two fields exclude each other
and that a text holds no control character are rules which the document states in words only, so that a request of the right
schema may be refused. Prints JSON; exit code 1 where a check failed, a case got a 5xx other than 503, or the service died.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.service.serving import environment, served
from tests.service.schemathesis_run import command, configure, failures, generated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--examples", type=int, default=100, help="per operation and run")
    parser.add_argument("--first-seed", type=int, default=1, help="a further run goes on where one ended")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further run after this time")
    parser.add_argument("--log", type=Path, help="append what Schemathesis prints to this file")
    chosen = parser.parse_args(arguments)
    began, cases, runs, found = time.monotonic(), 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as service:
        configure(Path(folder))
        while cases < chosen.cases and time.monotonic() - began < chosen.seconds:
            runs += 1
            call = command(service.url, service.key, seed=chosen.first_seed + runs - 1, examples=chosen.examples)
            done = subprocess.run(call, capture_output=True, text=True, cwd=folder, check=False)
            if chosen.log is not None:
                with chosen.log.open("a", encoding="utf-8") as log:
                    log.write(done.stdout + done.stderr)
            if (sent := generated(done.stdout)) == 0:
                raise SystemExit(f"Schemathesis sent nothing:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            cases += sent
            found += failures(done.stdout)
            print(
                f"run {runs}: {cases:,} cases, {time.monotonic() - began:.0f} s, {found}", file=sys.stderr, flush=True
            )
        alive = service.process.poll() is None
        with service.client() as client:
            authorised = client.get("/v1/keys").status_code == 200
            fives = sum(
                float(line.rsplit(" ", 1)[1])
                for line in client.get("/metrics").text.splitlines()
                if line.startswith("vultus_requests_total") and 'status="5' in line and 'status="503"' not in line
            )
    record = {
        "cases": cases,
        "seeds": [chosen.first_seed, chosen.first_seed + runs - 1],
        "seconds": round(time.monotonic() - began),
        "failures": found,
        "answers_5xx": fives,
        "alive": alive,
        "key_still_valid": authorised,
        "environment": environment(),
    }
    print(json.dumps(record, indent=2))
    return 0 if alive and authorised and not found and not fives else 1


if __name__ == "__main__":
    raise SystemExit(main())

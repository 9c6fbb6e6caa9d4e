"""How Schemathesis is run against a service, and what it says: for the bounded run of the tests and the long benchmark.

All checks are on but `positive_data_acceptance`: that a field holds the file of a picture, that two fields exclude each other
and that a text holds no control character are rules which the document states in words only, so that a request of the right
schema may be refused.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

EXCLUDED = "positive_data_acceptance"
PHASES = "examples,coverage,fuzzing,stateful"


def command(url: str, key: str, *, seed: int, examples: int, phases: str = PHASES) -> list[str]:
    """How Schemathesis is run. The page's session is left out: it takes a cookie and an Origin, not a key."""
    return [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {key}",
        "--phases", phases, "--max-examples", str(examples), "--seed", str(seed),
        "--exclude-checks", EXCLUDED, "--exclude-path-regex", "^/session",
        "--continue-on-failure", "--no-shrink", "--warnings", "off", "--request-timeout", "60",
    ]  # fmt: skip


def configure(folder: Path) -> None:
    """Write the settings that a run in this folder takes: 503 is how a service that has enough to do refuses, and no fault."""
    hooks = Path(__file__).with_name("schemathesis_hooks.py").resolve().as_posix()
    text = f'hooks = "{hooks}"\n[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "503"]\n'
    (folder / "schemathesis.toml").write_text(text, encoding="utf-8")


def generated(output: str) -> int:
    """How many cases a run says that it has sent."""
    found = re.search(r"([\d,]+) generated", output)
    return int(found.group(1).replace(",", "")) if found else 0


def failures(output: str) -> list[str]:
    """What a run says has failed: the title of each kind of failure and how often."""
    _, _, tail = output.partition("Failures:")
    return re.findall(r"❌ (.+)", tail)

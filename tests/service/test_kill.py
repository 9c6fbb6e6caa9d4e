"""A bounded run of the kill harness, in a process of its own because it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_nothing_acknowledged_is_lost_and_nothing_deleted_is_back(tmp_path: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "tests.service.kill_harness", "--cycles", "3", "--threads", "3"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["cycles"] == 3
    assert found["violations"] == 0
    assert found["acknowledged"]["enrol"] > 0

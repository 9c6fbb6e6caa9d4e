"""The examples of the service run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.service.conftest import Running

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def photos(tmp_path: Path, collins: bytes, collins_again: bytes) -> list[str]:
    paths = [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    for path, content in zip(paths, (collins, collins_again), strict=True):
        path.write_bytes(content)
    return [str(p) for p in paths]


def test_python(running: Running, photos: list[str]) -> None:
    call = [sys.executable, str(EXAMPLES / "service_client.py"), running.url, running.key, *photos]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "enrolled",
        "identified",
        "liveness",
        "deleted",
        "gone",
    ]
    assert "ada (Ada L.)" in done.stdout
    assert "gone: subject_unknown" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl(running: Running, photos: list[str]) -> None:
    call = ["sh", str(EXAMPLES / "service.sh"), running.url, running.key, *photos]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made, enrolled, found, same, gone, removed = (json.loads(line) for line in done.stdout.splitlines() if line)
    assert made["name"] == "example-curl"
    assert enrolled["templates"] == gone["templates"] == 1
    assert [c["subject_id"] for c in found["candidates"]] == ["ada"]
    assert same["match"]
    assert removed["erased"]

"""The harnesses in bounded form, and that each of them can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.gallery.concurrent_harness import Operation, explained

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: str | Path) -> Any:
    command = [sys.executable, "-m", f"tests.gallery.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_kill_at_random_moments(tmp_path: Path) -> None:
    found = run("kill_harness", "--cycles", "20", "--folder", tmp_path)
    assert found["violations"] == 0
    assert found["acknowledged"] > 20
    assert found["under way when killed"] > 5


def test_kill_while_the_key_changes(tmp_path: Path) -> None:
    found = run("rekey_harness", "--cycles", "15", "--subjects", "200", "--folder", tmp_path)
    assert found["violations"] == 0
    assert found["cycles"] == found["old key"] + found["new key"] == 15


def test_loss_of_power_at_every_event(tmp_path: Path) -> None:
    found = run("power_harness", "--traces", "2", "--operations", "6", "--folder", tmp_path)
    assert found["lost"] == found["unreadable"] == 0
    assert found["cuts"] > 300


def test_loss_of_power_of_an_encrypted_gallery(tmp_path: Path) -> None:
    found = run("power_harness", "--operations", "5", "--encrypted", "--every", "2", "--folder", tmp_path)
    assert found["lost"] == found["unreadable"] == 0
    assert found["cuts"] > 100


def test_the_control_without_full_durability_loses_something(tmp_path: Path) -> None:
    found = run("power_harness", "--operations", "6", "--durability", "normal", "--every", "4", "--folder", tmp_path)
    assert found["lost"] > 0


def test_concurrent_clients_have_one_history(tmp_path: Path) -> None:
    found = run("concurrent_harness", "--operations", "1200", "--subjects", "6", "--folder", tmp_path)
    assert found["violations"] == []
    assert found["operations"] == 1200
    assert min(found["answers"].values()) > 10


def test_the_history_checker_tells_right_from_wrong() -> None:
    enrol, delete = Operation(0, "enrol", True, 0, 10), Operation(0, "delete", True, 20, 30)
    assert explained([enrol, Operation(0, "identify", True, 12, 15), delete])
    assert explained([enrol, Operation(0, "identify", True, 15, 25), delete])
    assert explained([enrol, Operation(0, "identify", False, 15, 25), delete])
    assert not explained([enrol, delete, Operation(0, "identify", True, 31, 40)])  # after the acknowledgement
    assert not explained([enrol, Operation(0, "identify", False, 12, 15), delete])
    assert not explained([enrol, Operation(0, "enrol", True, 12, 15)])
    assert explained([Operation(0, "enrol", True, 0, 10), Operation(0, "enrol", False, 0, 10)])
    assert not explained([Operation(0, "delete", True, 0, 10)])
    seen, unseen = Operation(0, "identify", True, 2, 4), Operation(0, "identify", False, 5, 7)
    assert not explained([Operation(0, "enrol", True, 0, 10), seen, unseen])  # once seen, it stays

"""torchrun on generated faces: two ranks train, one is killed, the others say so, and the run goes on from its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vultus.train import open_checkpoint

RECIPE = Path(__file__).parents[2] / "recipes" / "ci.toml"
STEPS = 40

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in /proc")


def launched(folder: Path, *more: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    told = ["-m", "vultus.train", str(RECIPE), "--set", f"run.folder={folder}", "--set", f"run.steps={STEPS}", *more]
    return subprocess.Popen(
        [*launcher, *told],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rank_of(launcher: int, rank: int) -> int:
    """The process that is a rank below a launcher."""
    for task in Path(f"/proc/{launcher}/task").iterdir():
        for child in (task / "children").read_text().split():
            if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
    raise AssertionError(f"no rank {rank} below process {launcher}")


def test_a_killed_rank_is_named_and_the_run_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = launched(folder)
    while not (folder / "checkpoints" / "last.json").exists():
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.01)
    os.kill(rank_of(first.pid, 1), signal.SIGKILL)
    _, said = first.communicate(timeout=60)
    assert first.returncode != 0
    assert "vultus: rank 0: rank_failed: rank 1 of 2 died" in said, said
    left = open_checkpoint(folder)
    left.verify()
    assert 0 < left.step < STEPS

    second = launched(folder, "--resume")
    shown, said = second.communicate(timeout=90)
    assert second.returncode == 0, said
    assert f"step {STEPS}, loss " in shown
    assert "held-out" in shown
    end = open_checkpoint(folder)
    end.verify()
    assert (end.step, end.record["world_size"]) == (STEPS, 2)
    lines = [line.split(",") for line in (folder / "steps.csv").read_text().splitlines()[1:]]
    assert [int(line[0]) for line in lines] == list(range(2, STEPS + 1, 2))

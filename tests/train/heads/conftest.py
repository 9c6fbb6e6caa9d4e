"""The cases that ranks and tests share, and the results of one, two and three gloo ranks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

PROGRAM = Path(__file__).with_name("scenarios.py")


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vultus_head_scenarios", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def cases() -> ModuleType:
    """The module of the scenarios."""
    return _loaded()


class World:
    """What the ranks of one run have found."""

    def __init__(self, size: int, folder: Path) -> None:
        self.size = size
        self.ranks = [load_file(folder / f"rank-{rank}.safetensors") for rank in range(size)]
        self.said = [(folder / f"said-{rank}.txt").read_text(encoding="utf-8").splitlines() for rank in range(size)]

    def joined(self, name: str) -> torch.Tensor:
        """The parts of all ranks, one after another."""
        return torch.cat([found[name] for found in self.ranks])

    def common(self, name: str) -> torch.Tensor:
        """What is the same on all ranks."""
        for found in self.ranks[1:]:
            assert torch.equal(found[name], self.ranks[0][name]), name
        return self.ranks[0][name]


@pytest.fixture(scope="session", params=[1, 2, 3])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One, two and three ranks on this machine, run once."""
    size = request.param
    folder = tmp_path_factory.mktemp(f"world-{size}")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    arguments = [str(size), str(folder / "store"), str(folder)]
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), str(rank), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [child.communicate(timeout=240)[0] for child in children]
    assert [child.returncode for child in children] == [0] * size, "\n".join(outputs)
    return World(size, folder)


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> None:
    torch.set_num_threads(1)

"""The small runs that the tests of the loop share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

PROGRAM = Path(__file__).with_name("scenarios.py")


@pytest.fixture(scope="session")
def small_runs() -> ModuleType:
    """The module of the scenarios: a tiny network and recipes for it."""
    spec = importlib.util.spec_from_file_location("vultus_small_runs", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread meanwhile: the networks here are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Drawn faces that the tests of data sets share."""

from __future__ import annotations

import pytest

from vultus.train.data import DrawnFaces, InMemory


@pytest.fixture(scope="session")
def faces() -> InMemory:
    """3 identities with 4 photos each, drawn once."""
    return InMemory(DrawnFaces(3, 4, seed=7))

"""A gallery on Qdrant against a dictionary, through two handles as of two processes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.gallery.test_model import QUICK, GalleryMachine


def test_gallery_on_qdrant(on_qdrant: Callable[..., str]) -> None:
    numbers = count()

    class OnQdrant(GalleryMachine):
        def __init__(self) -> None:
            super().__init__(on_qdrant(f"g{next(numbers)}"))

    run_state_machine_as_test(OnQdrant, settings=settings(QUICK, max_examples=3, stateful_step_count=20))

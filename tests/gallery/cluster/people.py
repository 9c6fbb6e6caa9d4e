"""Made-up people with several faces each."""

from __future__ import annotations

import numpy as np

from vultus.types import FloatArray, IntArray


def faces_of(*sizes: int, spread: float = 0.7, d: int = 32, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """(n, d) unit rows and (n,) person; `spread` is the length of what a photo adds to a person's unit vector."""
    random = np.random.default_rng(seed)
    people = random.standard_normal((len(sizes), d))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    person = np.repeat(np.arange(len(sizes)), sizes)
    noise = random.standard_normal((len(person), d))
    rows = people[person] + spread * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), person

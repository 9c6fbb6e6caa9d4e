"""From proposals to ranked subjects, against brute force over all templates."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vultus.gallery.rank import By, Scored, best_of


class Table:
    """Proposes the best of all templates, and by mean all templates of their subjects."""

    def __init__(self, subjects: list[int], scores: list[float], by: By) -> None:
        self.subjects, self.scores, self.by = np.array(subjects, dtype=np.int64), np.array(scores), by
        self.asked: list[str] = []

    def nearest(self, count: int) -> tuple[Scored, float]:
        self.asked.append(f"nearest {count}")
        order = np.argsort(-self.scores, kind="stable")
        count = 3 if len(order) > 3 else count  # fewer than asked for, as an engine may give
        floor = self.scores[order[count]] + 1e-9 if count < len(order) else -np.inf
        return self._of(order[:count]), float(floor)

    def down_to(self, limit: float) -> Scored:
        self.asked.append("down to")
        return self._of(np.flatnonzero(self.scores >= limit))

    def _of(self, places: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Scored:
        if self.by == "mean":
            places = np.flatnonzero(np.isin(self.subjects, self.subjects[places]))
        return Scored(self.subjects[places], self.scores[places])


@given(
    templates=st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 4)), max_size=14),
    threshold=st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5]),
    max_rank=st.integers(1, 6),
    by=st.sampled_from(["max", "mean"]),
)
def test_ranking_equals_brute_force(templates: list[tuple[int, int]], threshold: float, max_rank: int, by: By) -> None:
    table = Table([s for s, _ in templates], [score / 8 for _, score in templates], by)
    of = {s: [score / 8 for t, score in templates if t == s] for s, _ in templates}
    score_of = {s: max(scores) if by == "max" else sum(scores) / len(scores) for s, scores in of.items()}
    expected = sorted((-score, s) for s, score in score_of.items() if score >= threshold)[:max_rank]
    numbers, scores = best_of(table, threshold=threshold, max_rank=max_rank, by=by)
    assert [(-score, s) for s, score in zip(numbers, scores, strict=True)] == expected  # sums of eighths are exact


def test_more_is_asked_for_only_where_it_can_matter() -> None:
    def asked(threshold: float) -> list[str]:
        table = Table([1, 2, 3, 4, 5], [0.9, 0.8, 0.7, 0.4, 0.3], "max")
        best_of(table, threshold=threshold, max_rank=4, by="max")
        return table.asked

    assert asked(0.5) == ["nearest 44"]
    assert asked(0.4) == ["nearest 44", "down to"]

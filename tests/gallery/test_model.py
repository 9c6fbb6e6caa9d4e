"""The gallery against a dictionary: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from vultus import Template
from vultus.errors import SubjectExists, SubjectUnknown
from vultus.gallery import Gallery
from vultus.gallery.index import Index
from vultus.gallery.local import LocalEngine
from vultus.gallery.store import Store
from vultus.types import FloatArray

IDS = st.sampled_from(["ada", "bo", "../cy", "d\u00ef", "e"])
SEEDS = st.integers(0, 60)
DIMENSION = 32


def row(seed: int) -> FloatArray:
    values = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (values / np.linalg.norm(values)).astype(np.float32)


class GalleryMachine(RuleBasedStateMachine):
    """Two handles on one gallery, as of two processes; the model holds (row, expiry) of each template."""

    def __init__(self, address: str | None = None) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.address = address
        self.now = 1_000.0
        self.model: dict[str, list[tuple[int | None, float]]] = {}
        self.names: dict[str, str | None] = {}
        self.handles = [self.open(), self.open()]

    def open(self) -> Gallery:
        if self.address is not None:
            return Gallery.open(self.address, model="m", near_duplicate=None, clock=lambda: self.now)
        store = Store.open(self.folder / "g.db", model="m", clock=lambda: self.now)
        engine = LocalEngine(store, Index(store, worth_a_file=3, compress_from=6))
        return Gallery(engine, thresholds=(), searches=(), by="max", near_duplicate=None, clock=lambda: self.now)

    def teardown(self) -> None:
        for handle in self.handles:
            assert handle.verify_integrity().problems == ()
            handle.close()
        shutil.rmtree(self.folder)

    @initialize()
    def start(self) -> None:
        assert len(self.handles[0]) == 0

    @rule(
        h=st.integers(0, 1),
        subject=IDS,
        seeds=st.lists(SEEDS, min_size=1, max_size=4),
        lives=st.none() | st.integers(1, 40),
    )
    def enrol(self, h: int, subject: str, seeds: list[int], lives: int | None) -> None:
        expires = None if lives is None else datetime.fromtimestamp(self.now + lives, UTC)
        templates = [Template(row(s), "m") for s in seeds]
        entries: list[tuple[int | None, float]] = [(s, np.inf if lives is None else self.now + lives) for s in seeds]
        if subject in self.model:
            with pytest.raises(SubjectExists):
                self.handles[h].enrol(subject, templates)
            self.handles[h].add(subject, templates, expires=expires)
            self.model[subject] += entries
        else:
            with pytest.raises(SubjectUnknown):
                self.handles[h].add(subject, templates)
            self.handles[h].enrol(subject, templates, name=subject, expires=expires)
            self.model[subject], self.names[subject] = entries, subject

    @rule(h=st.integers(0, 1), subject=IDS)
    def enrol_blank(self, h: int, subject: str) -> None:
        if subject not in self.model:
            self.handles[h].enrol_blank(subject)
            self.model[subject], self.names[subject] = [(None, np.inf)], None

    @rule(h=st.integers(0, 1), subject=IDS)
    def delete(self, h: int, subject: str) -> None:
        if subject in self.model:
            assert self.handles[h].delete(subject).templates == len(self.model.pop(subject))
        else:
            with pytest.raises(SubjectUnknown):
                self.handles[h].delete(subject)

    @rule(h=st.integers(0, 1), subject=IDS, place=st.integers(0, 5))
    def delete_template(self, h: int, subject: str, place: int) -> None:
        if subject in self.model and place < len(self.model[subject]):
            number = self.handles[h].templates(subject)[place].number
            assert self.handles[h].delete_template(subject, number).templates == 1
            del self.model[subject][place]

    @rule(h=st.integers(0, 1), subject=IDS, other=IDS)
    def merge(self, h: int, subject: str, other: str) -> None:
        if subject in self.model and other in self.model and subject != other:
            numbers = [t.number for s in (subject, other) for t in self.handles[h].templates(s)]
            self.handles[h].merge(subject, other)
            both = self.model[subject] + self.model.pop(other)
            self.model[subject] = [both[i] for i in np.argsort(numbers)]

    @rule(h=st.integers(0, 1), subject=IDS, name=st.none() | st.text("abc", min_size=1, max_size=3))
    def rename(self, h: int, subject: str, name: str | None) -> None:
        if subject in self.model:
            self.handles[h].rename(subject, name)
            self.names[subject] = name

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(h=st.integers(0, 1))
    def purge(self, h: int) -> None:
        expired = sum(until <= self.now for entries in self.model.values() for _, until in entries)
        assert self.handles[h].purge().templates == expired
        for subject, entries in list(self.model.items()):
            left = [e for e in entries if e[1] > self.now]
            if left != entries:
                self.model[subject] = left
                if not left:
                    del self.model[subject]

    @rule(h=st.integers(0, 1))
    def reopen(self, h: int) -> None:
        self.handles[h].close()
        self.handles[h] = self.open()

    @rule(h=st.integers(0, 1))
    def lose_the_index(self, h: int) -> None:
        self.handles[h].close()
        (self.folder / "g.db-index").unlink(missing_ok=True)
        self.handles[h] = self.open()

    @rule(h=st.integers(0, 1))
    def move(self, h: int) -> None:
        archive, other = self.folder / "a.zip", self.folder / "other.db"
        self.handles[h].export_archive(archive)
        with Gallery.open(other, model="m", clock=lambda: self.now) as new:
            new.import_archive(archive)
            assert [s.subject_id for s in new.subjects()] == sorted(self.model)
        for file in self.folder.glob("other.db*"):
            file.unlink()

    @rule(h=st.integers(0, 1), seed=SEEDS, threshold=st.sampled_from([-1.0, 0.0, 0.2, 0.9]), max_rank=st.integers(1, 6))
    def identify(self, h: int, seed: int, threshold: float, max_rank: int) -> None:
        probe = row(seed).astype(np.float64)
        best = {
            subject: max(
                (
                    float(np.clip(row(s).astype(np.float64) @ probe, -1, 1))
                    for s, until in entries
                    if s is not None and until > self.now
                ),
                default=-2.0,
            )
            for subject, entries in self.model.items()
        }
        expected = sorted((score for score in best.values() if score >= threshold), reverse=True)[:max_rank]
        found = self.handles[h].identify(Template(row(seed), "m"), threshold=threshold, max_rank=max_rank)
        assert [c.score for c in found] == pytest.approx(expected, abs=1e-9)
        for candidate in found:
            assert best[candidate.subject_id] == pytest.approx(candidate.score, abs=1e-9)

    @invariant()
    def both_handles_list_the_same(self) -> None:
        for handle in self.handles:
            listed = {s.subject_id: (s.name, s.templates, s.blanks) for s in handle.subjects()}
            assert listed == {
                subject: (self.names[subject], len(entries), sum(s is None for s, _ in entries))
                for subject, entries in self.model.items()
            }


QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestGallery = GalleryMachine.TestCase
TestGallery.settings = settings(QUICK, max_examples=12, stateful_step_count=30)


def test_gallery_on_postgres(on_server: Callable[..., str]) -> None:
    numbers = count()

    class OnServer(GalleryMachine):
        def __init__(self) -> None:
            super().__init__(on_server(f"g{next(numbers)}", partitions="2"))

    run_state_machine_as_test(OnServer, settings=settings(QUICK, max_examples=6, stateful_step_count=25))

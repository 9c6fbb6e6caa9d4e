"""Moving a gallery to another model: everybody is there, in new templates; what could not be made is told, and tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vultus import Template
from vultus.errors import BadArgument, ImageParseError, ModelMismatch, NoFace, SourceUnavailable, VultusError
from vultus.gallery import Gallery, Migration, NewSubject, migrate, photos_by_sha256, reembed

Place = Callable[[str], str | Path]
OLD, NEW = "old-net", "new-net"
CREATED = 1_700_000_000
LATER = datetime(2090, 1, 1, tzinfo=UTC)


class Fake:
    """Templates that are drawn from the model's name and what stands in the photo's file."""

    def __init__(self, model_id: str, *, dimension: int = 24) -> None:
        self.model_id = model_id
        self.dimension = dimension
        self.seen: list[str] = []
        self.policies: set[str] = set()

    def of(self, text: str) -> Template:
        seed = int.from_bytes(hashlib.sha256((self.model_id + text).encode()).digest()[:8])
        row = np.random.default_rng(seed).standard_normal(self.dimension)
        return Template((row / np.linalg.norm(row)).astype(np.float32), self.model_id, quality=0.75)

    def extract(self, sources: Iterable[Any], *, policy: str = "largest") -> Iterator[Any]:
        self.policies.add(policy)
        for source in sources:
            text = Path(source).read_text()
            self.seen.append(text)
            yield NoFace("no face is left") if "blurred" in text else SimpleNamespace(template=self.of(text))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos by person; their content is their text."""
    root = tmp_path / "photos"
    for text in ("ada 1", "ada 2", "bo 1 blurred", "bo 2", "cy 1 blurred", "di 1", "flo 1"):
        folder = root / text.split()[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{text}.jpg").write_text(text)
    return root


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Gallery]:
    """Templates with and without a photo, a mean of several, expired ones and blank ones."""
    model, now = Fake(OLD, dimension=16), [float(CREATED)]
    with Gallery.open(tmp_path / "old.db", model=OLD, clock=lambda: now[0]) as gallery:
        gallery.enrol(
            "ada", [model.of("ada 1"), model.of("ada 2")], name="Ada L.", consent="form 1",
            photo_sha256=[digest("ada 1"), digest("ada 2")],
        )  # fmt: skip
        now[0] += 1000
        gallery.enrol(
            "bo",
            [model.of("bo 1"), model.of("bo 2")],
            expires=LATER,
            photo_sha256=[digest("bo 1 blurred"), digest("bo 2")],
        )
        gallery.enrol("cy", model.of("cy 1"), consent="form 3", photo_sha256=digest("cy 1 blurred"))
        gallery.enrol("di", model.of("di 1"), photo_sha256=digest("di 1"))
        gallery.add("di", model.of("di 2"), photo_sha256=digest("di 2 in no folder"))
        gallery.enrol("ed", model.of("ed 1"), photo_sha256=digest("ed 1 in no folder"))
        several = Template(model.of("flo").vector, OLD, samples=3)
        gallery.enrol("flo", several, photo_sha256=digest("flo 1"))
        gallery.enrol("gus", model.of("gus"))
        soon = datetime.fromtimestamp(now[0], UTC) + timedelta(seconds=10)
        gallery.enrol("hal", model.of("ada 1"), expires=soon, photo_sha256=digest("ada 1"))
        gallery.enrol_blank("ivy", name="Ivy", consent="form 9", photo_sha256="cd" * 32)
        now[0] += 100
        yield gallery


def opened(address: str | Path) -> Gallery:
    return Gallery.open(address, model=NEW, clock=lambda: CREATED + 10**6)


def contents(gallery: Gallery) -> dict[str, Any]:
    return {
        s.subject_id: (
            s.name,
            int(s.created.timestamp()) - CREATED,
            [
                (
                    None if t.vector is None else t.vector.tobytes(),
                    t.photo_sha256,
                    t.consent,
                    t.expires,
                    t.quality,
                    int(t.created.timestamp()) - CREATED,
                )
                for t in gallery.templates(s.subject_id)
            ],
        )
        for s in gallery.subjects()
    }


def codes(found: Migration) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for entry in found.left:
        counts[entry.subject_id, entry.code] = counts.get((entry.subject_id, entry.code), 0) + 1
    return counts


LEFT = {
    ("bo", "no_face"): 1,
    ("cy", "no_face"): 1,
    ("di", "photo_missing"): 1,
    ("ed", "photo_missing"): 1,
    ("flo", "several_photos"): 1,
    ("gus", "photo_unknown"): 1,
    ("hal", "expired"): 1,
}


def test_everybody_is_there_in_new_templates(old: Gallery, photos: Path, tmp_path: Path, place: Place) -> None:
    before = (tmp_path / "old.db").read_bytes(), contents(old)
    model, steps = Fake(NEW), list[int]()
    with opened(place("new")) as new:
        done = migrate(old, new, model, photos_by_sha256([photos]), policy="one", progress=steps.append)
        assert codes(done) == LEFT
        assert (done.subjects, done.templates, done.moved, done.known) == (9, 11, 4, 0)
        assert done.without_template == ("cy", "ed", "flo", "gus", "hal", "ivy")
        assert done.only_in_new == ()
        assert sum(steps) == 12
        assert model.policies == {"one"}

        def made(text: str) -> bytes:
            return model.of(text).vector.tobytes()

        shared: dict[str, Any] = {
            "ada": ("Ada L.", 0, [(made(t), digest(t), "form 1", None, 0.75, 0) for t in ("ada 1", "ada 2")]),
            "bo": (None, 1000, [(made("bo 2"), digest("bo 2"), None, LATER, 0.75, 1000)]),
            "di": (None, 1000, [(made("di 1"), digest("di 1"), None, None, 0.75, 1000)]),
            "cy": (None, 1000, [(None, digest("cy 1 blurred"), "form 3", None, None, 1000)]),
            "ed": (None, 1000, [(None, digest("ed 1 in no folder"), None, None, None, 1000)]),
            "flo": (None, 1000, [(None, digest("flo 1"), None, None, None, 1000)]),
            "gus": (None, 1000, [(None, None, None, None, None, 1000)]),
            "ivy": ("Ivy", 1000, [(None, "cd" * 32, "form 9", None, None, 1000)]),
        }
        found = contents(new)
        (hal,) = found.pop("hal")[2]
        assert (hal[0], hal[1]) == (None, digest("ada 1"))
        assert hal[3] is not None
        assert found == shared
        assert new.identify(model.of("ada 2"), threshold=0.99)[0].subject_id == "ada"
        assert new.verify_integrity().ok
    assert ((tmp_path / "old.db").read_bytes(), contents(old)) == before


def test_a_second_run_does_nothing_again_and_tries_what_was_missing(
    old: Gallery, photos: Path, tmp_path: Path, place: Place
) -> None:
    first = photos_by_sha256([photos])
    with opened(place("new")) as new:
        migrate(old, new, Fake(NEW), first)
        before, revision = contents(new), new.stats().revision
        again = Fake(NEW)
        done = migrate(old, new, again, first)
        assert sorted(again.seen) == ["bo 1 blurred", "cy 1 blurred"]
        assert (done.moved, done.known, codes(done)) == (0, 4, LEFT)
        assert (contents(new), new.stats().revision) == (before, revision)
        more = tmp_path / "more"
        more.mkdir()
        (more / "a").write_text("ed 1 in no folder")
        (more / "b").write_text("di 2 in no folder")
        third = Fake(NEW)
        done = migrate(old, new, third, photos_by_sha256([photos, more]))
        assert (done.moved, done.known) == (2, 4)
        assert done.without_template == ("cy", "flo", "gus", "hal", "ivy")
        assert [t.vector is None for t in new.templates("ed")] == [False]  # in place of the blank one
        assert [t.photo_sha256 for t in new.templates("di")] == [digest("di 1"), digest("di 2 in no folder")]
        assert new.subject("ed").created.timestamp() == CREATED + 1000


def test_an_interrupted_run_is_taken_up(old: Gallery, photos: Path, tmp_path: Path) -> None:
    class Interrupted(Fake):
        def extract(self, sources: Iterable[Any], *, policy: str = "largest") -> Iterator[Any]:
            for number, sample in enumerate(super().extract(sources, policy=policy)):
                if number == 3:
                    raise KeyboardInterrupt
                yield sample

    found = photos_by_sha256([photos])
    with opened(tmp_path / "whole.db") as whole, opened(tmp_path / "new.db") as new:
        expected = migrate(old, whole, Fake(NEW), found)
        with pytest.raises(KeyboardInterrupt):
            migrate(old, new, Interrupted(NEW), found)
        assert [s.subject_id for s in new.subjects()] == ["ada"]
        rest = Fake(NEW)
        done = migrate(old, new, rest, found)
        assert not any("ada" in text for text in rest.seen)
        assert (done.moved, done.known) == (2, 2)
        assert (done.left, done.without_template) == (expected.left, expected.without_template)
        assert contents(new) == contents(whole)


def test_skip_enrols_nobody_without_a_template(old: Gallery, photos: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "new.db") as new:
        done = migrate(old, new, Fake(NEW), photos_by_sha256([photos]), without="skip")
        assert [s.subject_id for s in new.subjects()] == ["ada", "bo", "di", "ivy"]  # Ivy was blank before
        assert codes(done) == LEFT
        assert done.without_template == ("cy", "ed", "flo", "gus", "hal", "ivy")


def test_who_is_only_in_the_new_gallery_is_named(old: Gallery, photos: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "new.db") as new:
        new.enrol("zoe", Fake(NEW).of("zoe"))
        migrate(old, new, Fake(NEW), photos_by_sha256([photos]))
        old.delete("ada")
        assert migrate(old, new, Fake(NEW), photos_by_sha256([photos])).only_in_new == ("ada", "zoe")


def test_templates_of_one_photo_are_each_made(tmp_path: Path) -> None:
    photo = tmp_path / "p" / "x.jpg"
    photo.parent.mkdir()
    photo.write_text("twins")
    model = Fake(OLD)
    with Gallery.open(tmp_path / "old.db", model=OLD) as old, opened(tmp_path / "new.db") as new:
        old.enrol("a", [model.of("twins"), model.of("twins")], photo_sha256=[digest("twins")] * 2)
        old.enrol("b", model.of("twins"), photo_sha256=digest("twins"))
        found = photos_by_sha256([photo.parent])
        for expected in ((3, 0), (0, 3)):
            done = migrate(old, new, Fake(NEW), found)
            assert (done.moved, done.known) == expected
        assert [s.templates for s in new.subjects()] == [2, 1]


def test_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reembed, "_PAGE", 7)
    model, folder = Fake(OLD, dimension=8), tmp_path / "p"
    folder.mkdir()
    names = [f"s{i}" for i in range(50)]
    with Gallery.open(tmp_path / "old.db", model=OLD, near_duplicate=None) as old, opened(tmp_path / "new.db") as new:
        for name in names:
            (folder / name).write_text(name)
        old.enrol_many([NewSubject(n, [model.of(n)], photo_sha256=[digest(n)]) for n in names])
        assert migrate(old, new, Fake(NEW), photos_by_sha256([folder])).moved == 50
        assert len(new) == 50
        assert new.search(Fake(NEW).of("s33"))[0].subject_id == "s33"


def test_what_is_refused(old: Gallery, photos: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "new.db") as new:
        with pytest.raises(ModelMismatch):
            migrate(old, new, Fake("third"), {})
        with pytest.raises(BadArgument, match="already"):
            migrate(new, new, Fake(NEW), {})
        with pytest.raises(BadArgument, match="blank"):
            migrate(old, new, Fake(NEW), {}, without="drop")  # type: ignore[arg-type]
        assert len(new) == 0
    for missing in (tmp_path / "none", photos / "ada" / "ada 1.jpg"):
        with pytest.raises(SourceUnavailable):
            photos_by_sha256([photos, missing])


def test_photos_are_found_by_their_content(photos: Path, tmp_path: Path) -> None:
    (photos / "copy of ada.png").write_text("ada 1")
    (photos / "link.jpg").symlink_to(photos / "nowhere")
    steps: list[int] = []
    found = photos_by_sha256([photos], progress=steps.append)
    assert len(found) == 7
    assert len(steps) == 8
    assert found[digest("ada 1")] == photos / "copy of ada.png"
    assert found[digest("di 1")] == photos / "di" / "di 1.jpg"
    assert all(hashlib.sha256(f.read_bytes()).hexdigest() == d for d, f in found.items())


def test_any_error_of_a_photo_is_listed_with_its_code(old: Gallery, photos: Path, tmp_path: Path) -> None:
    class Broken(Fake):
        def extract(self, sources: Iterable[Any], *, policy: str = "largest") -> Iterator[Any]:
            problems: list[VultusError] = [ImageParseError("garbage") for _ in sources]
            yield from problems

    with opened(tmp_path / "new.db") as new:
        done = migrate(old, new, Broken(NEW), photos_by_sha256([photos]))
        assert {e.subject_id for e in done.left if e.code == "parse_error"} == {"ada", "bo", "cy", "di"}
        assert done.moved == 0
        assert all(s.templates == s.blanks for s in new.subjects())
        assert len(new) == 9

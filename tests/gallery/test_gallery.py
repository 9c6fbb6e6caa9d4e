"""The gallery as its users meet it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.gallery.conftest import MODEL

from vultus import Template, Threshold
from vultus.errors import (
    BadArgument,
    BadTemplate,
    GalleryMissing,
    GalleryReadOnly,
    GalleryUnavailable,
    ModelMismatch,
    NoThreshold,
    RequestConflict,
    SubjectExists,
    SubjectUnknown,
    TooFewComparisons,
)
from vultus.gallery import Gallery, NewSubject
from vultus.types import FloatArray

Make = Callable[..., Template]
Place = Callable[[str], str | Path]


@pytest.fixture
def gallery(place: Place, thresholds: tuple[Threshold, ...], now: list[float]) -> Iterator[Gallery]:
    with Gallery.open(place("staff"), model=MODEL, thresholds=thresholds, clock=lambda: now[0]) as opened:
        yield opened


def near(template: Template, angle: float) -> Template:
    """A template at that cosine."""
    other = np.roll(template.vector, 1).astype(np.float64)
    other -= (other @ template.vector) * template.vector
    other /= np.linalg.norm(other)
    row = angle * template.vector + math.sqrt(1 - angle**2) * other
    return Template((row / np.linalg.norm(row)).astype(np.float32), template.model_id)


def test_the_tour(place: Place, template: Make, thresholds: tuple[Threshold, ...]) -> None:
    ada, bo = template(1), template(2)
    with Gallery.open(place("staff"), model=ada.model_id, thresholds=thresholds) as gallery:
        assert gallery.enrol("ada", ada).revision == 1
        gallery.enrol("bo", [bo, near(bo, 0.9)], name="Bo")
        found = gallery.identify(near(ada, 0.95), fpir=1e-2, max_rank=5)
        assert [(c.rank, c.subject_id) for c in found] == [(1, "ada")]
        assert found[0].score == pytest.approx(0.95, abs=1e-6)
    with Gallery.open(place("staff"), thresholds=thresholds) as again:
        assert again.identify(bo)[0].subject_id == "bo"
        assert len(again) == 2
        assert "ada" in again
        assert "cy" not in again
        assert 5 not in again


def test_an_empty_gallery_answers_nobody(gallery: Gallery, template: Make) -> None:
    found = gallery.identify(template(1))
    assert len(found) == 0
    assert list(found) == []
    assert not found
    assert found.compared == 0
    assert gallery.search(template(1)) == ()
    assert list(gallery.subjects()) == []


def test_a_stranger_is_nobody_and_the_answer_states_why(gallery: Gallery, template: Make) -> None:
    for i in range(20):
        gallery.enrol(f"s{i}", template(i))
    found = gallery.identify(template(999), fpir=0.01)
    assert len(found) == 0
    assert found.threshold == 0.8
    assert found.fpir == pytest.approx(20e-4, rel=0.01)
    assert found.basis == gallery.thresholds[2]
    assert (found.compared, found.revision) == (20, 20)
    assert gallery.identify(template(999), fmr=1e-3).threshold == 0.7
    own = gallery.identify(template(3), threshold=0.5)
    assert (own.threshold, own.fpir, own.basis) == (0.5, None, None)
    assert own[0].subject_id == "s3"
    assert own[:1] == (own[0],)


def test_the_threshold_follows_the_size(gallery: Gallery, template: Make) -> None:
    gallery.enrol("s0", template(0))
    assert gallery.identify(template(0), fpir=0.02).threshold == 0.55
    gallery.enrol_many([NewSubject(f"t{i}", [template(i + 10)]) for i in range(30)])
    assert gallery.identify(template(0), fpir=0.02).threshold == 0.8
    gallery.enrol_blank("blank")
    assert gallery.identify(template(0)).compared == 31


def test_max_rank_limits_the_candidates(gallery: Gallery, template: Make) -> None:
    ada = template(1)
    for i in range(9):
        gallery.enrol(f"s{i}", near(ada, 0.99 - 0.01 * i))
    found = gallery.identify(ada, threshold=0.9, max_rank=4)
    assert [c.subject_id for c in found] == ["s0", "s1", "s2", "s3"]
    assert [c.rank for c in found] == [1, 2, 3, 4]
    assert len(gallery.search(ada, max_rank=100)) == 9
    for wrong in (0, -1):
        with pytest.raises(BadArgument):
            gallery.identify(ada, threshold=0.9, max_rank=wrong)


@pytest.mark.parametrize("by", ["max", "mean"])
def test_several_templates_count_by_maximum_or_mean(
    place: Place, template: Make, thresholds: tuple[Threshold, ...], by: str
) -> None:
    ada = template(1)
    with Gallery.open(place("staff"), model=ada.model_id, thresholds=thresholds, by=by) as gallery:  # type: ignore[arg-type]
        gallery.enrol("two", [near(ada, 0.9), near(ada, 0.5)])
        gallery.enrol("one", near(ada, 0.8))
        first, second = gallery.search(ada)
        check = gallery.verify_subject("two", ada)
    expected = [("two", 0.9), ("one", 0.8)] if by == "max" else [("one", 0.8), ("two", 0.7)]
    assert [c.subject_id for c in (first, second)] == [e[0] for e in expected]
    assert [c.score for c in (first, second)] == pytest.approx([e[1] for e in expected], abs=1e-6)
    assert check.score == pytest.approx(dict(expected)["two"], abs=1e-6)


def test_verify_one_subject(gallery: Gallery, template: Make) -> None:
    ada = template(1)
    gallery.enrol("ada", near(ada, 0.83))
    check = gallery.verify_subject("ada", ada)
    assert check.match
    assert check.score == pytest.approx(0.83, abs=1e-6)
    assert (check.threshold, check.fmr, check.subject_id) == (0.8, 1e-4, "ada")
    assert check.basis == gallery.thresholds[2]
    assert not gallery.verify_subject("ada", ada, fmr=1e-5).match
    assert gallery.verify_subject("ada", ada, threshold=0.1).fmr is None
    with pytest.raises(SubjectUnknown):
        gallery.verify_subject("bo", ada)
    with pytest.raises(NoThreshold):
        gallery.verify_subject("ada", ada, fmr=1e-9)


def test_blank_templates_are_counted_and_never_match(gallery: Gallery, template: Make) -> None:
    gallery.enrol_blank("blank", name="No Face", photo_sha256="cd" * 32)
    gallery.enrol("ada", template(1))
    assert [s.subject_id for s in gallery.subjects()] == ["ada", "blank"]
    assert gallery.subject("blank").blanks == 1
    assert gallery.templates("blank")[0].vector is None
    assert [c.subject_id for c in gallery.search(template(5))] == ["ada"]
    check = gallery.verify_subject("blank", template(1), threshold=-1.0)
    assert not check.match
    assert check.score == -1
    gallery.add("blank", template(5))
    assert gallery.verify_subject("blank", template(5)).match
    assert (gallery.stats().templates, gallery.stats().blanks) == (3, 1)


def test_what_is_deleted_is_never_found_again(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    deletion = gallery.delete("ada")
    assert deletion.templates == 2
    assert deletion.erased or gallery.erase() or gallery.name.startswith("qdrant://")
    assert list(gallery.search(template(1))) == []
    with pytest.raises(SubjectUnknown):
        gallery.delete("ada")
    gallery.enrol("ada", template(3))
    assert gallery.subject("ada").templates == 1


def test_one_template_can_be_deleted(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    gallery.enrol("bo", template(3))
    first, second = gallery.templates("ada")
    with pytest.raises(BadArgument):
        gallery.delete_template("bo", first.number)
    assert gallery.delete_template("ada", first.number).templates == 1
    assert [t.number for t in gallery.templates("ada")] == [second.number]
    assert not gallery.identify(template(1), threshold=0.9)


def test_merge_and_rename(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", template(1), name="Ada")
    gallery.enrol("lovelace", [template(2), template(3)])
    assert gallery.merge("ada", "lovelace") == 2
    assert gallery.identify(template(3), threshold=0.9)[0].subject_id == "ada"
    assert "lovelace" not in gallery
    gallery.rename("ada", "Ade\u0301laide")
    assert gallery.subject("ada").name == "Ad\u00e9laide"
    gallery.rename("ada", None)
    assert gallery.subject("ada").name is None


def test_near_duplicates_are_reported(gallery: Gallery, template: Make) -> None:
    ada = template(1)
    assert gallery.near_duplicate == 0.85
    assert gallery.enrol("ada", ada).similar == ()
    again = gallery.enrol("someone", [template(2), near(ada, 0.9)])
    assert [(c.rank, c.subject_id) for c in again.similar] == [(1, "ada")]
    assert again.similar[0].score == pytest.approx(0.9, abs=1e-6)
    assert gallery.add("ada", near(ada, 0.99)).similar[0].subject_id == "someone"
    assert gallery.enrol("other", template(7)).similar == ()


def test_near_duplicate_is_an_option(place: Place, template: Make) -> None:
    ada = template(1)
    for i, (value, found) in enumerate(((0.5, 1), (0.95, 0), (None, 0), ("auto", 0))):
        with Gallery.open(place(f"g{i}"), model=ada.model_id, near_duplicate=value) as gallery:  # type: ignore[arg-type]
            gallery.enrol("ada", ada)
            assert len(gallery.enrol("bo", near(ada, 0.9)).similar) == found


def test_expired_templates_are_not_used_and_then_purged(gallery: Gallery, template: Make, now: list[float]) -> None:
    soon = datetime.fromtimestamp(now[0], UTC) + timedelta(hours=1)
    gallery.enrol("ada", template(1), expires=soon, consent="form 7")
    gallery.enrol("bo", template(2))
    assert gallery.templates("ada")[0].consent == "form 7"
    assert gallery.templates("ada")[0].expires == soon
    assert gallery.identify(template(1), threshold=0.9)
    now[0] += 3600
    assert not gallery.identify(template(1), threshold=0.9)
    assert not gallery.verify_subject("ada", template(1)).match
    assert "ada" in gallery
    assert gallery.purge().templates == 1
    assert "ada" not in gallery
    assert gallery.purge().templates == 0
    assert gallery.identify(template(2), threshold=0.9)


def test_a_request_is_done_once(gallery: Gallery, template: Make) -> None:
    first = gallery.enrol("ada", template(1), idempotency_key="r1")
    again = gallery.enrol("ada", template(1), idempotency_key="r1")
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.revision, first.templates) == (again.revision, again.templates)
    others: list[Callable[[], object]] = [
        lambda: gallery.enrol("ada", template(2), idempotency_key="r1"),
        lambda: gallery.enrol("bo", template(1), idempotency_key="r1"),
        lambda: gallery.enrol("ada", template(1), name="Ada", idempotency_key="r1"),
        lambda: gallery.add("ada", template(1), idempotency_key="r1"),
    ]
    for other in others:
        with pytest.raises(RequestConflict):
            other()
    gallery.add("ada", template(2), idempotency_key="r2")
    assert gallery.add("ada", template(2), idempotency_key="r2").replayed
    assert gallery.subject("ada").templates == 2
    assert gallery.enrol_blank("bo", idempotency_key="r3").templates == 1
    assert gallery.enrol_blank("bo", idempotency_key="r3").replayed


def test_many_at_once_or_none(gallery: Gallery, template: Make) -> None:
    done = gallery.enrol_many([NewSubject(f"s{i}", [template(i)], name=f"S {i}", consent="c") for i in range(50)])
    assert [e.revision for e in done] == list(range(1, 51))
    assert gallery.subject("s7").name == "S 7"
    with pytest.raises(SubjectExists, match="s7"):
        gallery.enrol_many([NewSubject("t1", [template(1)]), NewSubject("s7", [template(7)])])
    assert len(gallery) == 50
    assert gallery.enrol_many([]) == []


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda g, t: g.enrol("x", []), BadArgument),
        (lambda g, t: g.enrol("x", [t(1).vector]), BadArgument),
        (lambda g, t: g.enrol("", t(1)), BadArgument),
        (lambda g, t: g.enrol("a\x00b", t(1)), BadArgument),
        (lambda g, t: g.enrol("x" * 10_000, t(1)), BadArgument),
        (lambda g, t: g.enrol("x", t(1), name="a\nb"), BadArgument),
        (lambda g, t: g.enrol("x", t(1), consent=""), BadArgument),
        (lambda g, t: g.enrol("x", t(1), expires=datetime(2030, 1, 1)), BadArgument),
        (lambda g, t: g.enrol("x", t(1), photo_sha256="abc"), BadArgument),
        (lambda g, t: g.enrol("x", [t(1), t(2)], photo_sha256=["ab" * 32]), BadArgument),
        (lambda g, t: g.enrol("x", t(1), idempotency_key=""), BadArgument),
        (lambda g, t: g.enrol("x", t(1, d=8)), BadTemplate),
        (lambda g, t: g.enrol("x", t(1, model_id="another")), ModelMismatch),
        (lambda g, t: g.enrol("ada", t(1)), SubjectExists),
        (lambda g, t: g.add("x", t(1)), SubjectUnknown),
        (lambda g, t: g.enrol_many([NewSubject("x", [t(1)]), NewSubject("y", [t(1, d=8)])]), BadTemplate),
        (lambda g, t: g.identify(t(1, model_id="another")), ModelMismatch),
        (lambda g, t: g.identify(t(1, d=8)), BadTemplate),
        (lambda g, t: g.identify(t(1), fpir=0.1, fmr=0.1), BadArgument),
        (lambda g, t: g.identify(t(1), threshold=1.5), BadArgument),
        (lambda g, t: g.identify(t(1), threshold=math.nan), BadArgument),
        (lambda g, t: g.identify(t(1), fpir=0), BadArgument),
        (lambda g, t: g.identify(t(1), fpir=1e-9), NoThreshold),
        (lambda g, t: g.identify("ada"), BadArgument),
        (lambda g, t: g.verify_subject("ada", t(1, d=8)), BadTemplate),
        (lambda g, t: g.rename("ada", "\u202eevil"), BadArgument),
        (lambda g, t: g.subject("nobody"), SubjectUnknown),
        (lambda g, t: g.templates("nobody"), SubjectUnknown),
        (lambda g, t: g.calibrate([t(1)], fpir=0.1, data="x"), TooFewComparisons),
    ],
)
def test_bad_input_is_a_typed_error_and_changes_nothing(
    gallery: Gallery, template: Make, attempt: Callable[..., object], error: type[Exception]
) -> None:
    gallery.enrol("ada", template(99))
    with pytest.raises(error):
        attempt(gallery, template)
    assert gallery.stats().revision == 1
    assert [c.subject_id for c in gallery.search(template(99))] == ["ada"]


def test_template_of_nan_cannot_be_made(template: Make) -> None:
    for row in ([np.nan, 1.0], [0.0, 0.0], [np.inf, 0.0]):
        with pytest.raises(BadTemplate):
            Template(np.array(row, dtype=np.float32), "m")


def test_odd_names_are_data(gallery: Gallery, template: Make, tmp_path: Path) -> None:
    names = ["../../x", "C:\\x", "'; DROP TABLE subjects; --", "مريم", "👩‍👩‍👧", "%s", "-rf", "Zoe\u0308"]
    for i, name in enumerate(names):
        gallery.enrol(name, template(i), name=name)
    assert {s.subject_id for s in gallery.subjects()} == {*names[:-1], "Zo\u00eb"}
    assert gallery.subject("Zoe\u0308").subject_id == "Zo\u00eb"
    assert all(s.name == s.subject_id for s in gallery.subjects())
    assert {f.name for f in tmp_path.iterdir()} <= {"staff.db", "staff.db-wal", "staff.db-shm"}


def test_subjects_come_in_pages(gallery: Gallery, template: Make) -> None:
    gallery.enrol_many([NewSubject(f"s{i:05d}", [template(0)]) for i in range(2500)])
    assert [s.subject_id for s in gallery.subjects()] == [f"s{i:05d}" for i in range(2500)]


def test_thresholds_measured_on_searches_are_kept_and_used(
    gallery: Gallery, template: Make, unit: Callable[..., FloatArray]
) -> None:
    gallery.enrol_many([NewSubject(f"s{i}", [template(i)]) for i in range(200)])
    strangers = [Template(row, gallery.model_id) for row in unit(600, seed=777)]
    with pytest.raises(TooFewComparisons):
        gallery.calibrate(strangers, fpir=0.01, data="door")
    measured = gallery.calibrate(strangers, fpir=0.1, data="door")
    named = sum(gallery.search(s, max_rank=1)[0].score >= measured.value for s in strangers)
    assert named == 60
    assert (measured.gallery_size, measured.searches, measured.data) == (200, 600, "door")
    assert measured.low < 0.1 < measured.high
    found = gallery.identify(strangers[0], fpir=0.1)
    assert (found.basis, found.threshold) == (measured, measured.value)
    assert found.fpir == pytest.approx(0.1)
    assert gallery.stats().search_thresholds == (measured,)
    gallery.enrol("one more", template(5000))
    assert gallery.identify(strangers[0], fpir=0.1).basis != measured  # the gallery has grown


def test_opening(place: Place, template: Make) -> None:
    path = place("staff")
    with pytest.raises(GalleryMissing):
        Gallery.open(path)
    with pytest.raises(BadArgument):
        Gallery.open(path, model="m", by="median")  # type: ignore[arg-type]
    with pytest.raises(BadArgument):
        Gallery.open(path, model="m", near_duplicate=7.0)
    Gallery.open(path, model=template(1).model_id).close()
    with pytest.raises(ModelMismatch):
        Gallery.open(path, model="m2")
    reader = Gallery.open(path, read_only=True)
    with pytest.raises(GalleryReadOnly):
        reader.enrol("ada", template(1))
    reader.close()
    with pytest.raises(GalleryUnavailable):
        reader.identify(template(1))
    with pytest.raises(GalleryUnavailable):
        len(reader)


def test_integrity_and_stats(gallery: Gallery, template: Make) -> None:
    gallery.enrol("ada", [template(1), template(2)])
    gallery.enrol_blank("bo")
    found = gallery.verify_integrity()
    assert found.ok
    assert found.templates == 2
    stats = gallery.stats()
    assert (stats.subjects, stats.templates, stats.blanks, stats.dimension, stats.revision) == (2, 3, 1, 16, 2)
    assert stats.store_bytes > 0
    assert stats.model_id == gallery.model_id


def test_many_threads_share_a_gallery(gallery: Gallery, template: Make) -> None:
    problems: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for i in range(15):
                subject, own = f"{k}-{i}", template(1000 * k + i)
                gallery.enrol(subject, own)
                assert gallery.identify(own, threshold=0.99)[0].subject_id == subject
                if i % 3 == 0:
                    gallery.delete(subject)
                    assert not gallery.identify(own, threshold=0.999)
        except BaseException as problem:  # noqa: BLE001
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(gallery) == 6 * 10
    assert gallery.verify_integrity().ok


def test_recall_of_searches_that_look_at_everything(gallery: Gallery, template: Make) -> None:
    for i in range(40):
        gallery.enrol(f"s{i}", template(i))
    found = gallery.recall([template(100 + i) for i in range(20)], max_rank=3)
    assert (found.searches, found.candidates, found.found, found.first, found.share) == (20, 60, 60, 20, 1.0)
    assert found.low < found.high == 1
    for probes, rank in (([], 1), ([template(1)], 0)):
        with pytest.raises(BadArgument):
            gallery.recall(probes, max_rank=rank)
    with pytest.raises(ModelMismatch):
        gallery.recall([template(1, model_id="another")])


def test_two_handles_see_each_others_changes(gallery: Gallery, place: Place, template: Make) -> None:
    with Gallery.open(place("staff")) as other:
        for i in range(5):
            gallery.enrol(f"a{i}", template(i))
            assert other.identify(template(i), threshold=0.99)[0].subject_id == f"a{i}"
            other.delete(f"a{i}")
            assert not gallery.identify(template(i), threshold=0.99)
        assert len(gallery) == len(other) == 0


def test_erasing_what_was_deleted(gallery: Gallery, place: Place, template: Make) -> None:
    gallery.enrol("ada", template(1))
    gallery.enrol("bo", template(2))
    gallery.delete("ada")
    # a Qdrant server frees the bytes of what was deleted when it likes, and does not say when
    assert gallery.erase() is not gallery.name.startswith("qdrant://")
    assert gallery.search(template(2))[0].subject_id == "bo"
    assert gallery.verify_integrity().ok
    with Gallery.open(place("staff"), read_only=True) as reader, pytest.raises(GalleryReadOnly):
        reader.erase()

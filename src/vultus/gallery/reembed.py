"""Move a gallery to another model: each photo is found again by its sha256 and embedded anew; templates cannot be converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from vultus._export import export
from vultus.errors import BadArgument, ModelMismatch, SubjectUnknown, VultusError
from vultus.gallery.engine import Changing
from vultus.gallery.gallery import Gallery
from vultus.gallery.intake import blank_template, new_templates
from vultus.gallery.records import NewTemplate, StoredTemplate, Subject
from vultus.image import ImageSource

if TYPE_CHECKING:
    from vultus.detect import Policy
    from vultus.recognizer import Sample

_PAGE = 200
Without = Literal["blank", "skip"]


class Extractor(Protocol):
    """What makes templates of photos: a `Recognizer`."""

    @property
    def model_id(self) -> str:
        """The model that the templates are of."""
        ...

    def extract(self, sources: Iterable[ImageSource], *, policy: Policy = "largest") -> Iterator[Sample | VultusError]:
        """Samples of photos in their order, each or the error in its place."""
        ...


@export("vultus.gallery.LeftBehind")
@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A template that was not made anew.

    Args:
        subject_id: whose.
        number: of the template in the old gallery.
        photo_sha256: of its photo, where that was recorded.
        code: `photo_missing`, `photo_unknown` (none was recorded), `several_photos` (it is the mean of several, of which
            one is recorded at most), `expired`, or the code of what was wrong with the photo, such as `no_face`.
        message: the same in words.
    """

    subject_id: str
    number: int
    photo_sha256: str | None
    code: str
    message: str


@export("vultus.gallery.Migration")
@dataclass(frozen=True, slots=True)
class Migration:
    """What moving a gallery to another model came to.

    Args:
        subjects, templates: in the old gallery; templates without the blank ones.
        moved: templates that this run made anew.
        known: templates that were in the new gallery before, from an earlier run.
        left: templates that were not made anew.
        without_template: subjects of the old gallery who have no template in the new one: a blank one, or nothing.
        only_in_new: subjects of the new gallery who are not in the old one: deleted there since, or enrolled by others.
    """

    subjects: int
    templates: int
    moved: int
    known: int
    left: tuple[LeftBehind, ...]
    without_template: tuple[str, ...]
    only_in_new: tuple[str, ...]


@export("vultus.gallery.migrate")
def migrate(
    old: Gallery,
    new: Gallery,
    recognizer: Extractor,
    photos: Mapping[str, ImageSource],
    *,
    policy: Policy = "largest",
    without: Without = "blank",
    progress: Callable[[int], None] | None = None,
) -> Migration:
    """Enrol everyone of one gallery in another, of another model, from the photos that the old templates were made of.

    Ids, names, times of enrolment, consent and expiry stay, and blank templates do; numbers of templates, idempotency
    keys and measured thresholds do not. The old gallery is only read. Each subject is one transaction: an interrupted run
    is taken up by the next, which leaves alone what is there and tries again what was missing.

    Args:
        old: gallery to read.
        new: gallery of the recognizer's model, empty or from an earlier run.
        recognizer: makes the new templates.
        photos: by sha256; `photos_by_sha256` finds them in folders.
        policy: which face of a photo is meant; the one that was used at enrolment.
        without: what becomes of a subject of whom no template could be made: "blank" enrols it with a blank template for
            each, which is counted and never matches; "skip" does not enrol it.
        progress: is called with a number of old templates that have been dealt with.

    Raises:
        BadArgument: both galleries are of one model, or `without` is none of the two.
        ModelMismatch: the new gallery is not of the recognizer's model.
        GalleryError: one of them cannot be read or written; what was moved before is there.
    """
    if without not in ("blank", "skip"):
        raise BadArgument(f"without is {without!r}; expected 'blank' or 'skip'")
    if new.model_id != recognizer.model_id:
        raise ModelMismatch(
            f"gallery {new.name} is of {new.model_id!r}; the new templates will be of {recognizer.model_id!r}"
        )
    if old.model_id == new.model_id:
        raise BadArgument(f"gallery {old.name} is of {old.model_id!r} already; there is nothing to make anew")
    counts = {"subjects": 0, "templates": 0, "moved": 0, "known": 0}
    left: list[LeftBehind] = []
    bare: list[str] = []
    for page in _pages(old):
        plans = [_planned(new, subject, stored, photos) for subject, stored in page]
        samples = recognizer.extract([photos[t.photo_sha256 or ""] for p in plans for t in p.wanted], policy=policy)
        for plan in plans:
            made, failed = _made(plan, samples, new)
            if not _carried_out(plan, made, failed, new, without):
                bare.append(plan.subject.subject_id)
            left += [*plan.left, *failed]
            counts["subjects"] += 1
            counts["templates"] += sum(t.vector is not None for t in plan.stored)
            counts["moved"] += len(made)
            counts["known"] += plan.known
            if progress is not None:
                progress(len(plan.stored))
    only = {s.subject_id for s in new.subjects()} - {s.subject_id for s in old.subjects()}
    return Migration(**counts, left=tuple(left), without_template=tuple(bare), only_in_new=tuple(sorted(only)))


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is to be done for one subject.

    Args:
        subject: in the old gallery.
        stored: its templates there.
        wanted: those to make anew.
        left: those that cannot be.
        blanks: blank ones to take over.
        enrolled: whether the subject is in the new gallery.
        known: how many templates it has there from these.
        others: how many more it has there, which are not blank.
        stand_ins: numbers of blank templates there that stand for templates which could not be made.
    """

    subject: Subject
    stored: list[StoredTemplate]
    wanted: list[StoredTemplate]
    left: list[LeftBehind]
    blanks: list[StoredTemplate]
    enrolled: bool
    known: int
    others: int
    stand_ins: list[int]


_Record = tuple[str | None, str | None, datetime | None, datetime]


def _record(template: StoredTemplate) -> _Record:
    """What a template and the blank one in its place have in common."""
    return template.photo_sha256, template.consent, template.expires, template.created


def _pages(old: Gallery) -> Iterator[list[tuple[Subject, list[StoredTemplate]]]]:
    """Subjects with their templates; no snapshot of the old gallery stays open while photos are embedded."""
    after = ""
    while True:
        with old._engine.reading() as reads:
            page = [
                (subject, list(reads.templates(reads.subject_number(subject.subject_id))))
                for subject in list(reads.subjects(after=after, limit=_PAGE))
            ]
        if not page:
            return
        yield page
        after = page[-1][0].subject_id


def _planned(new: Gallery, subject: Subject, stored: list[StoredTemplate], photos: Mapping[str, ImageSource]) -> _Plan:
    try:
        present, enrolled = new.templates(subject.subject_id), True
    except SubjectUnknown:
        present, enrolled = [], False
    there = Counter(t.photo_sha256 for t in present if t.vector is not None)
    blank: dict[_Record, list[int]] = {}
    for template in present:
        if template.vector is None:
            blank.setdefault(_record(template), []).append(template.number)
    plan = _Plan(subject, stored, [], [], [], enrolled, 0, 0, [])
    known = 0
    for template in stored:
        stands_there = blank.get(_record(template), [])
        if template.vector is None and stands_there:
            stands_there.pop()
        elif template.vector is None:
            plan.blanks.append(template)
        elif template.photo_sha256 is not None and there[template.photo_sha256]:
            there[template.photo_sha256] -= 1
            known += 1
        elif problem := _obstacle(template, photos, now=new._clock()):
            plan.left.append(LeftBehind(subject.subject_id, template.number, template.photo_sha256, *problem))
        else:
            plan.wanted.append(template)
    for template in stored:
        if template.vector is not None:
            plan.stand_ins.extend(blank.get(_record(template), [])[:1])
            del blank.get(_record(template), [])[:1]
    return replace(plan, known=known, others=there.total())


def _obstacle(template: StoredTemplate, photos: Mapping[str, ImageSource], *, now: float) -> tuple[str, str] | None:
    """Why a template cannot be made anew; None where it can be tried."""
    if template.expires is not None and template.expires.timestamp() <= now:
        return "expired", "it has expired and must not be used any more"
    if template.samples > 1:
        return "several_photos", f"it is the mean of {template.samples} photos, of which one is recorded at most"
    if template.photo_sha256 is None:
        return "photo_unknown", "the sha256 of its photo was not recorded"
    if template.photo_sha256 not in photos:
        return "photo_missing", "no file in the given folders has the sha256 of its photo"
    return None


def _made(
    plan: _Plan, samples: Iterator[Sample | VultusError], new: Gallery
) -> tuple[list[tuple[StoredTemplate, NewTemplate]], list[LeftBehind]]:
    """New templates with the old ones that they replace, and those whose photos gave none."""
    made, failed = [], []
    for template, sample in zip(plan.wanted, samples, strict=False):  # which other subjects' photos follow
        if isinstance(sample, VultusError):
            subject, digest = plan.subject.subject_id, template.photo_sha256
            failed.append(LeftBehind(subject, template.number, digest, sample.code, str(sample)))
            continue
        (fresh,) = new_templates(
            sample.template,
            model_id=new.model_id,
            gallery=new.name,
            consent=template.consent,
            expires=template.expires,
            photo_sha256=template.photo_sha256,
        )
        made.append((template, replace(fresh, created=int(template.created.timestamp()))))
    return made, failed


def _blank_of(template: StoredTemplate) -> NewTemplate:
    blank = blank_template(consent=template.consent, expires=template.expires, photo_sha256=template.photo_sha256)
    return replace(blank, created=int(template.created.timestamp()))


def _carried_out(
    plan: _Plan,
    made: list[tuple[StoredTemplate, NewTemplate]],
    failed: list[LeftBehind],
    new: Gallery,
    without: Without,
) -> bool:
    """Write one subject in one transaction; whether it has a template in the new gallery."""
    seen = bool(made or plan.known or plan.others)
    records = {template.number: fresh for template, fresh in made}
    records |= {template.number: _blank_of(template) for template in plan.blanks}
    if not seen and not plan.enrolled and without == "blank":
        missing = {entry.number for entry in [*plan.left, *failed]}
        records |= {template.number: _blank_of(template) for template in plan.stored if template.number in missing}
    templates = [records[number] for number in sorted(records)]
    gone = plan.stand_ins if seen else []
    subject = plan.subject

    def change(writes: Changing) -> None:
        if not plan.enrolled:
            created = int(subject.created.timestamp())
            writes.enrol(subject.subject_id, templates, name=subject.name, request=None, created=created)
        elif templates:
            writes.add(subject.subject_id, templates, request=None)
        for number in gone:
            writes.delete_template(subject.subject_id, number)

    if templates or gone:
        new._engine.write(change)
    return seen

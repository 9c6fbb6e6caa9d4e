"""What goes into a gallery and what is known about what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from vultus._export import export
from vultus.types import Candidate, FloatArray


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """One template on its way into the store, checked.

    Args:
        vector: float32 numbers, little-endian; None for a blank template.
        samples: how many photos went into it.
        quality: of the samples, where measured.
        photo_sha256: of the photo's file.
        consent: reference to the consent that it is kept under.
        expires: seconds since 1970 from which on it must not be used.
        created: seconds since 1970 of its first enrolment; now, unless it comes from an archive.
    """

    vector: bytes | None
    samples: int = 1
    quality: float | None = None
    photo_sha256: str | None = None
    consent: str | None = None
    expires: int | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """An idempotency key and the digest of what was asked for with it."""

    key: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """What one operation did: its revision, how many templates it touched, and whether it had been done before."""

    revision: int
    templates: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """How many of each there are."""

    subjects: int
    templates: int
    blanks: int


@export("vultus.gallery.Subject")
@dataclass(frozen=True, slots=True)
class Subject:
    """One enrolled subject.

    Args:
        subject_id: the opaque identifier given at enrolment.
        name: for people to read; None where none was given.
        templates: how many templates it has, blank ones included.
        blanks: how many of them are blank.
        created: when it was enrolled.
    """

    subject_id: str
    name: str | None
    templates: int
    blanks: int
    created: datetime


@export("vultus.gallery.StoredTemplate")
@dataclass(frozen=True, slots=True, eq=False)
class StoredTemplate:
    """One template of a subject, with what was recorded about it.

    Args:
        number: identifies it in this gallery, for ever.
        vector: (d,) float32; None for a blank template, which records a failed enrolment and never matches.
        samples: how many photos went into it.
        quality: of the samples, where measured.
        photo_sha256: of the photo's file, where given.
        consent: reference to the consent that it is kept under, where given.
        expires: from when on it is not used any more, where given.
        created: when it was enrolled.
    """

    number: int
    vector: FloatArray | None
    samples: int
    quality: float | None
    photo_sha256: str | None
    consent: str | None
    expires: datetime | None
    created: datetime


@export("vultus.gallery.Enrolment")
@dataclass(frozen=True, slots=True)
class Enrolment:
    """An acknowledged enrolment or addition: it is on the disk.

    Args:
        subject_id: whom.
        templates: how many templates were added.
        revision: of the gallery, from which on every search sees them.
        replayed: True where this request had been acknowledged before and nothing was done again.
        similar: other subjects who look like this one, best first: perhaps the same person under another name.
    """

    subject_id: str
    templates: int
    revision: int
    replayed: bool = False
    similar: tuple[Candidate, ...] = ()


@export("vultus.gallery.Deletion")
@dataclass(frozen=True, slots=True)
class Deletion:
    """An acknowledged deletion: no search that starts now returns what was deleted.

    Args:
        templates: how many templates were deleted.
        revision: of the gallery.
        erased: whether the bytes are gone from the files already; False while another process still reads an older
            state of the gallery; the next deletion, or closing the gallery, erases them then. Always False where a
            server keeps the gallery: there `Gallery.erase` erases them.
    """

    templates: int
    revision: int
    erased: bool


def moment(seconds: int) -> datetime:
    """The moment, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)

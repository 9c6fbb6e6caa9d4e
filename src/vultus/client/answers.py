"""The shapes of a service's answers, as it documents them at /openapi.json; a test holds both together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from vultus._export import export

Band = Literal["high", "likely", "below"]
Box = tuple[float, float, float, float]
Scope = Literal["read", "enrol", "identify", "score", "embed", "admin"]


@export("vultus.client.Health")
@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service lives, or is ready."""

    status: str


# --- pictures ---------------------------------------------------------------------------------------------------------


@export("vultus.client.Face")
@dataclass(frozen=True, slots=True)
class Face:
    """One face: box (x0, y0, x1, y1) and five landmarks in pixels of the picture as it is seen, and its detection score."""

    box: Box
    landmarks: tuple[tuple[float, float], ...]
    detection: float


@export("vultus.client.DetectAnswer")
@dataclass(frozen=True, slots=True)
class DetectAnswer:
    """The faces of one picture, the surest first."""

    model: str
    width: int
    height: int
    faces: tuple[Face, ...]


@export("vultus.client.Embedded")
@dataclass(frozen=True, slots=True)
class Embedded:
    """One face with its embedding, which has unit length."""

    face: Face
    embedding: tuple[float, ...]
    quality: float


@export("vultus.client.EmbedAnswer")
@dataclass(frozen=True, slots=True)
class EmbedAnswer:
    """Embeddings of the model named."""

    model: str
    width: int
    height: int
    faces: tuple[Embedded, ...]


@export("vultus.client.PadAnswer")
@dataclass(frozen=True, slots=True)
class PadAnswer:
    """What a presentation attack detector said."""

    detector: str
    attack: bool
    score: float | None = None


Pad = Literal["not_evaluated"] | PadAnswer


@export("vultus.client.VerifyAnswer")
@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """A 1:1 decision with the threshold it rests on. `score` and `log10_likelihood_ratio` need the scope `score`."""

    match: bool
    band: Band
    model: str
    threshold: float
    faces: tuple[int, ...]
    boxes: tuple[Box, ...]
    fmr: float | None = None
    fpir: float | None = None
    basis: str | None = None
    pad: Pad = "not_evaluated"
    subject_id: str | None = None
    score: float | None = None
    log10_likelihood_ratio: float | None = None


@export("vultus.client.CandidateAnswer")
@dataclass(frozen=True, slots=True)
class CandidateAnswer:
    """A subject that reached the threshold. `name` needs the scope `read`, `score` the scope `score`."""

    rank: int
    subject_id: str
    band: Band
    name: str | None = None
    score: float | None = None


@export("vultus.client.IdentifyAnswer")
@dataclass(frozen=True, slots=True)
class IdentifyAnswer:
    """A 1:N decision with the threshold it rests on: no candidates for "nobody"."""

    match: bool
    candidates: tuple[CandidateAnswer, ...]
    compared: int
    faces: int
    box: Box
    model: str
    threshold: float
    fmr: float | None = None
    fpir: float | None = None
    basis: str | None = None
    pad: Pad = "not_evaluated"
    review: str | None = None


# --- galleries and subjects -------------------------------------------------------------------------------------------


@export("vultus.client.GalleryAnswer")
@dataclass(frozen=True, slots=True)
class GalleryAnswer:
    """A gallery in numbers."""

    name: str
    model: str
    subjects: int
    templates: int
    created: datetime


@export("vultus.client.Similar")
@dataclass(frozen=True, slots=True)
class Similar:
    """Another subject who looks like the one enrolled: perhaps one person under two names."""

    subject_id: str
    band: Band


@export("vultus.client.EnrolAnswer")
@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """An enrolment that is on the service's disk; `replayed` where it was there already by the same idempotency key."""

    subject_id: str
    gallery: str
    model: str
    templates: int
    replayed: bool
    similar: tuple[Similar, ...]
    quality: tuple[float, ...]
    pad: Pad = "not_evaluated"


@export("vultus.client.TemplateAnswer")
@dataclass(frozen=True, slots=True)
class TemplateAnswer:
    """What was recorded with a template."""

    number: int
    samples: int
    quality: float | None
    consent: str | None
    expires: datetime | None
    created: datetime


@export("vultus.client.SubjectAnswer")
@dataclass(frozen=True, slots=True)
class SubjectAnswer:
    """What is known of a subject."""

    subject_id: str
    name: str | None
    templates: int
    created: datetime
    thumbnail: bool


@export("vultus.client.SubjectDetail")
@dataclass(frozen=True, slots=True)
class SubjectDetail:
    """A subject with its templates."""

    subject_id: str
    name: str | None
    templates: int
    created: datetime
    thumbnail: bool
    details: tuple[TemplateAnswer, ...]


@export("vultus.client.SubjectPage")
@dataclass(frozen=True, slots=True)
class SubjectPage:
    """Subjects in the order of their ids; `next` is the `after` of the following page."""

    subjects: tuple[SubjectAnswer, ...]
    next: str | None


@export("vultus.client.DeleteAnswer")
@dataclass(frozen=True, slots=True)
class DeleteAnswer:
    """How many templates were removed, and whether their bytes are gone from all files already."""

    templates: int
    erased: bool


@export("vultus.client.MergeAnswer")
@dataclass(frozen=True, slots=True)
class MergeAnswer:
    """How many templates changed hands."""

    subject_id: str
    templates: int


@export("vultus.client.ExportedTemplate")
@dataclass(frozen=True, slots=True)
class ExportedTemplate:
    """A template of an export; `embedding` needs the scope `embed`."""

    number: int
    samples: int
    quality: float | None
    consent: str | None
    expires: datetime | None
    created: datetime
    photo_sha256: str | None
    embedding: tuple[float, ...] | None


@export("vultus.client.ExportAnswer")
@dataclass(frozen=True, slots=True)
class ExportAnswer:
    """Everything that is kept about one subject; `thumbnail` is the base64 of a JPEG."""

    gallery: str
    model: str
    subject_id: str
    name: str | None
    created: datetime
    templates: tuple[ExportedTemplate, ...]
    thumbnail: str | None
    reviews: tuple[str, ...]


# --- jobs -------------------------------------------------------------------------------------------------------------


@export("vultus.client.GroupFace")
@dataclass(frozen=True, slots=True)
class GroupFace:
    """A face of a clustering job."""

    face: int
    photo: int
    box: Box
    quality: float


@export("vultus.client.GroupAnswer")
@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """Faces of one person; group -1 holds those that could not be placed."""

    group: int
    faces: tuple[GroupFace, ...]


@export("vultus.client.JobAnswer")
@dataclass(frozen=True, slots=True)
class JobAnswer:
    """A long task and how far it is."""

    id: str
    kind: Literal["cluster", "purge"]
    gallery: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    created: datetime
    finished: datetime | None
    code: str | None
    result: dict[str, Any] | None
    groups: tuple[GroupAnswer, ...] | None = None


@export("vultus.client.JobPage")
@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the newest first."""

    jobs: tuple[JobAnswer, ...]


# --- records ----------------------------------------------------------------------------------------------------------


@export("vultus.client.Verdict")
@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reviewer said."""

    key: str
    verdict: Literal["same", "different"]
    made: datetime


@export("vultus.client.ReviewAnswer")
@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """A candidate that two people look at."""

    id: str
    gallery: str
    subject_id: str
    band: Band
    threshold: float
    state: Literal["open", "confirmed", "refuted", "disputed"]
    created: datetime
    picture: bool
    decisions: tuple[Verdict, ...]


@export("vultus.client.ReviewPage")
@dataclass(frozen=True, slots=True)
class ReviewPage:
    """Reviews, the oldest first."""

    reviews: tuple[ReviewAnswer, ...]


@export("vultus.client.AuditPage")
@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries of the audit log, the newest first; `next` is the `before` of the following page."""

    entries: tuple[dict[str, Any], ...]
    next: int | None
    head: str


@export("vultus.client.AuditVerifyAnswer")
@dataclass(frozen=True, slots=True)
class AuditVerifyAnswer:
    """Whether the log is whole."""

    ok: bool
    entries: int
    head: str
    problem: str | None


@export("vultus.client.KeyAnswer")
@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """A key, without its secret."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    created: datetime
    revoked: datetime | None


@export("vultus.client.NewKeyAnswer")
@dataclass(frozen=True, slots=True)
class NewKeyAnswer:
    """A key with its secret, which is shown this once."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    created: datetime
    revoked: datetime | None
    key: str


@export("vultus.client.KeyPage")
@dataclass(frozen=True, slots=True)
class KeyPage:
    """All keys."""

    keys: tuple[KeyAnswer, ...]

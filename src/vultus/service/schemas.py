"""The shapes of requests and answers: the contract. Unknown members and numbers that are not finite are refused."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from vultus.errors import BadArgument
from vultus.gallery.text import checked_text

Band = Literal["high", "likely", "below"]
Box = tuple[float, float, float, float]


class Model(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("expected base64 of a picture's file") from None


def _text(value: str) -> str:
    try:
        return checked_text(value, what="text")
    except BadArgument as problem:
        raise ValueError(str(problem)) from None


Picture = Annotated[
    bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "contentEncoding": "base64", "format": "byte"})
]
Text = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_text)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", max_length=64)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Source(Model):
    """One picture: its file, or an address to fetch it from where the service allows that."""

    image: Picture | None = None
    image_url: Annotated[str, Field(max_length=2048)] | None = None


class DetectRequest(Source):
    """Find the faces of one picture."""

    min_face: Annotated[float, Field(ge=8, le=4096)] = 16.0


class EmbedRequest(Source):
    """Embed the largest face of one picture, or all."""

    faces: Literal["largest", "all"] = "largest"


class VerifyRequest(Source):
    """Do two pictures show one person, or does a picture show an enrolled subject?"""

    other: Picture | None = None
    gallery: Name | None = None
    subject_id: Text | None = None
    fmr: Rate = 1e-4


class IdentifyRequest(Source):
    """Who, of a gallery, is it? At most one of `fpir` and `fmr`; an FPIR of 0.01 without either."""

    max_rank: Annotated[int, Field(ge=1, le=100)] = 5
    fpir: Rate | None = None
    fmr: Rate | None = None


class GalleryRequest(Model):
    """Make a gallery."""

    name: Name


class EnrolRequest(Source):
    """Enrol a subject with one or several pictures of one face each."""

    subject_id: Text
    images: Annotated[list[Picture], Field(max_length=64)] = Field(default_factory=list)
    name: Text | None = None
    consent: Text | None = None
    expires: AwareDatetime | None = None


class AddRequest(Source):
    """Give an enrolled subject more templates."""

    images: Annotated[list[Picture], Field(max_length=64)] = Field(default_factory=list)
    consent: Text | None = None
    expires: AwareDatetime | None = None


class SubjectPatch(Model):
    """Change what people read of a subject."""

    name: Text | None


class MergeRequest(Model):
    """Give all templates of another subject to this one; the other is gone then."""

    other_id: Text


class ClusterRequest(Model):
    """Group the faces of unlabelled pictures by person."""

    images: Annotated[list[Picture], Field(min_length=1, max_length=1000)]
    rate: Rate = 0.01


class NameGroupRequest(Model):
    """Enrol the person of a group."""

    subject_id: Text
    name: Text | None = None
    consent: Text | None = None
    expires: AwareDatetime | None = None


class DecisionRequest(Model):
    """One reviewer's verdict."""

    verdict: Literal["same", "different"]


class KeyRequest(Model):
    """Make an API key."""

    name: Text
    scopes: Annotated[list[Literal["read", "enrol", "identify", "score", "embed", "admin"]], Field(min_length=1)]


class SessionRequest(Model):
    """Exchange a key for a session of the page."""

    key: Annotated[str, Field(min_length=1, max_length=256)]


# --- answers ----------------------------------------------------------------------------------------------------------


class Face(Model):
    """One face: box (x0, y0, x1, y1) and five landmarks in pixels of the picture as it is seen."""

    box: Box
    landmarks: list[tuple[float, float]]
    detection: float


class DetectAnswer(Model):
    """The faces of one picture, the surest first."""

    model: str
    width: int
    height: int
    faces: list[Face]


class Embedded(Model):
    """One embedded face."""

    face: Face
    embedding: list[float]
    quality: float


class EmbedAnswer(Model):
    """Embeddings, unit length, of the model named."""

    model: str
    width: int
    height: int
    faces: list[Embedded]


class PadAnswer(Model):
    """What a presentation attack detector said."""

    detector: str
    attack: bool
    score: float | None = None


Pad = Literal["not_evaluated"] | PadAnswer


class Decided(Model):
    """What every decision states: on which model, threshold and rate it rests."""

    model: str
    threshold: float
    fmr: float | None = None
    fpir: float | None = None
    basis: str | None = None
    pad: Pad = "not_evaluated"


class VerifyAnswer(Decided):
    """A 1:1 decision. `score` and `log10_likelihood_ratio` need the scope `score`."""

    match: bool
    band: Band
    faces: list[int]
    boxes: list[Box]
    subject_id: str | None = None
    score: float | None = None
    log10_likelihood_ratio: float | None = None


class CandidateAnswer(Model):
    """A subject that reached the threshold."""

    rank: int
    subject_id: str
    name: str | None = None
    band: Band
    score: float | None = None


class IdentifyAnswer(Decided):
    """A 1:N decision: no candidates for "nobody"."""

    match: bool
    candidates: list[CandidateAnswer]
    compared: int
    faces: int
    box: Box
    review: str | None = None


class GalleryAnswer(Model):
    """A gallery in numbers."""

    name: str
    model: str
    subjects: int
    templates: int
    created: datetime


class Similar(Model):
    """Another subject who looks like the one enrolled: perhaps one person under two names."""

    subject_id: str
    band: Band


class EnrolAnswer(Model):
    """An enrolment that is on the disk."""

    subject_id: str
    gallery: str
    model: str
    templates: int
    replayed: bool
    similar: list[Similar]
    quality: list[float]
    pad: Pad = "not_evaluated"


class TemplateAnswer(Model):
    """What was recorded with a template."""

    number: int
    samples: int
    quality: float | None
    consent: str | None
    expires: datetime | None
    created: datetime


class SubjectAnswer(Model):
    """What is known of a subject."""

    subject_id: str
    name: str | None
    templates: int
    created: datetime
    thumbnail: bool


class SubjectDetail(SubjectAnswer):
    """A subject with its templates."""

    details: list[TemplateAnswer]


class SubjectPage(Model):
    """Subjects in the order of their ids; `next` is where the following page starts."""

    subjects: list[SubjectAnswer]
    next: str | None


class DeleteAnswer(Model):
    """What was removed, and whether its bytes are gone from all files already."""

    templates: int
    erased: bool


class MergeAnswer(Model):
    """How many templates changed hands."""

    subject_id: str
    templates: int


class ExportedTemplate(TemplateAnswer):
    """A template of an export; its numbers need the scope `embed`."""

    photo_sha256: str | None
    embedding: list[float] | None


class ExportAnswer(Model):
    """Everything that is kept about one subject."""

    gallery: str
    model: str
    subject_id: str
    name: str | None
    created: datetime
    templates: list[ExportedTemplate]
    thumbnail: str | None
    reviews: list[str]


class GroupFace(Model):
    """A face of a clustering job."""

    face: int
    photo: int
    box: Box
    quality: float


class GroupAnswer(Model):
    """Faces of one person; group -1 holds those that could not be placed."""

    group: int
    faces: list[GroupFace]


class JobAnswer(Model):
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
    groups: list[GroupAnswer] | None = None


class JobPage(Model):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]


class Verdict(Model):
    """What one reviewer said."""

    key: str
    verdict: Literal["same", "different"]
    made: datetime


class ReviewAnswer(Model):
    """A candidate that two people look at."""

    id: str
    gallery: str
    subject_id: str
    band: Band
    threshold: float
    state: Literal["open", "confirmed", "refuted", "disputed"]
    created: datetime
    picture: bool
    decisions: list[Verdict]


class ReviewPage(Model):
    """Reviews, the oldest first."""

    reviews: list[ReviewAnswer]


class AuditPage(Model):
    """Entries, the newest first; `next` is the `before` of the following page."""

    entries: list[dict[str, Any]]
    next: int | None
    head: str


class AuditVerifyAnswer(Model):
    """Whether the log is whole."""

    ok: bool
    entries: int
    head: str
    problem: str | None


class KeyAnswer(Model):
    """A key, without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    created: datetime
    revoked: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A key with its secret, which is shown this once."""

    key: str


class KeyPage(Model):
    """All keys."""

    keys: list[KeyAnswer]


class SessionAnswer(Model):
    """A session of the page: send `csrf` as X-CSRF-Token with every change."""

    csrf: str
    key_id: str
    name: str
    scopes: list[str]


class Health(Model):
    """Whether the service lives, or is ready."""

    status: str

"""The client: a method for each thing that a service does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx

from vultus._export import export
from vultus.client.answers import (
    AuditPage,
    AuditVerifyAnswer,
    DeleteAnswer,
    DetectAnswer,
    EmbedAnswer,
    EnrolAnswer,
    ExportAnswer,
    GalleryAnswer,
    Health,
    IdentifyAnswer,
    JobAnswer,
    JobPage,
    KeyAnswer,
    KeyPage,
    MergeAnswer,
    NewKeyAnswer,
    ReviewAnswer,
    ReviewPage,
    Scope,
    SubjectAnswer,
    SubjectDetail,
    SubjectPage,
    VerifyAnswer,
)
from vultus.client.decode import decoded
from vultus.client.pictures import Address, Part, Picture, part, several
from vultus.client.transport import Call, Retries, Transport, json_of, segment
from vultus.errors import BadArgument, DeadlineExceeded

_T = TypeVar("_T")


@export("vultus.client.Client")
class Client:
    """A vultus service. May be used by several threads; close it at the end, or use it in a `with` block.

    A picture is the bytes of its file, a path, or a file opened for reading bytes. `detect`, `embed`, `verify`,
    `verify_subject` and `identify` take an `Address` too, for a service that fetches pictures itself.

    Every method raises `ServiceUnreachable` where nobody answers, `BadAnswer` where something else than a service does, and
    otherwise the error whose code the service told, with the service's words and `request_id`.

    Args:
        url: where it is, for example "https://faces.example" or "http://127.0.0.1:8000".
        key: an API key, "vk_...".
        timeout: seconds for connecting, and for each wait for bytes of an answer.
        retries: how often a call is made again where that does no harm.
        insecure: send key and faces without TLS to another machine.
        http: makes the connections, for a proxy, certificates of one's own or tests; httpx's usual one unless told.

    Raises:
        BadArgument: the address or key is none, or the key would be sent to another machine without TLS.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        insecure: bool = False,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._transport = Transport(
            url, key=key, timeout=timeout, retries=retries or Retries(), insecure=insecure, http=http
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # --- pictures -----------------------------------------------------------------------------------------------------

    def detect(self, image: Picture | Address, *, min_face: float | None = None) -> DetectAnswer:
        """All faces of a picture.

        Args:
            image: the picture.
            min_face: side in pixels of the smallest face that is looked for.
        """
        return self._ask(DetectAnswer, "/v1/detect", [("image", image)], min_face=min_face)

    def embed(self, image: Picture | Address, *, faces: Literal["largest", "all"] = "largest") -> EmbedAnswer:
        """Embeddings of the largest face, or of all."""
        return self._ask(EmbedAnswer, "/v1/embed", [("image", image)], faces=faces)

    def verify(self, image: Picture | Address, other: Picture, *, fmr: float | None = None) -> VerifyAnswer:
        """Do two pictures show one person?

        Args:
            image, other: the pictures.
            fmr: false match rate of the threshold that decides; the service's own where none is given.
        """
        return self._ask(VerifyAnswer, "/v1/verify", [("image", image), ("other", other)], fmr=fmr)

    def verify_subject(
        self, gallery: str, subject_id: str, image: Picture | Address, *, fmr: float | None = None
    ) -> VerifyAnswer:
        """Does a picture show an enrolled subject?"""
        claim = {"gallery": gallery, "subject_id": subject_id}
        return self._ask(VerifyAnswer, "/v1/verify", [("image", image)], fmr=fmr, **claim)

    def identify(
        self,
        gallery: str,
        image: Picture | Address,
        *,
        max_rank: int | None = None,
        fpir: float | None = None,
        fmr: float | None = None,
    ) -> IdentifyAnswer:
        """Who of a gallery is it?

        Args:
            gallery: its name.
            image: the picture.
            max_rank: how many candidates at most.
            fpir, fmr: rate of the threshold that decides, one of both; the service's own where none is given.
        """
        at = f"/v1/galleries/{segment(gallery)}/identify"
        return self._ask(IdentifyAnswer, at, [("image", image)], max_rank=max_rank, fpir=fpir, fmr=fmr)

    # --- galleries ----------------------------------------------------------------------------------------------------

    def galleries(self) -> tuple[GalleryAnswer, ...]:
        """All galleries."""
        return self._get(tuple[GalleryAnswer, ...], "/v1/galleries")

    def create_gallery(self, name: str) -> GalleryAnswer:
        """Make an empty gallery."""
        return self._change(GalleryAnswer, "POST", "/v1/galleries", name=name)

    def gallery(self, name: str) -> GalleryAnswer:
        """One gallery in numbers."""
        return self._get(GalleryAnswer, f"/v1/galleries/{segment(name)}")

    def delete_gallery(self, name: str) -> DeleteAnswer:
        """Remove a gallery with everybody in it."""
        return self._remove(DeleteAnswer, f"/v1/galleries/{segment(name)}")

    # --- subjects -----------------------------------------------------------------------------------------------------

    def enrol(
        self,
        gallery: str,
        subject_id: str,
        images: Picture | Address | Sequence[Picture],
        *,
        name: str | None = None,
        consent: str | None = None,
        expires: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> EnrolAnswer:
        """Enrol a subject with one or several pictures of one face each. It is on the disk when this returns.

        Args:
            gallery: its name.
            subject_id: a new one.
            images: the pictures.
            name: for people to read.
            consent: reference to the person's consent.
            expires: when the templates are to be purged; with a time zone.
            idempotency_key: a request that is repeated with the same key enrols once. A new one is made for each call
                unless given, so that the tries of one call are one enrolment; give one to repeat a call later.
        """
        fields = {"subject_id": subject_id, "name": name, "consent": consent, "expires": _moment(expires)}
        return self._enrol(f"/v1/galleries/{segment(gallery)}/subjects", images, fields, idempotency_key)

    def add(
        self,
        gallery: str,
        subject_id: str,
        images: Picture | Address | Sequence[Picture],
        *,
        consent: str | None = None,
        expires: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> EnrolAnswer:
        """Give an enrolled subject more pictures; arguments as for `enrol`."""
        fields = {"consent": consent, "expires": _moment(expires)}
        return self._enrol(f"{_subject(gallery, subject_id)}/templates", images, fields, idempotency_key)

    def subjects(self, gallery: str, *, after: str | None = None, limit: int | None = None) -> SubjectPage:
        """One page of the subjects, in the order of their ids.

        Args:
            gallery: its name.
            after: begin after this id.
            limit: how many at most, to 1000.
        """
        return self._get(SubjectPage, f"/v1/galleries/{segment(gallery)}/subjects", after=after, limit=limit)

    def every_subject(self, gallery: str) -> Iterator[SubjectAnswer]:
        """All subjects, page after page."""
        after: str | None = None
        while True:
            page = self.subjects(gallery, after=after, limit=1000)
            yield from page.subjects
            if (after := page.next) is None:
                return

    def subject(self, gallery: str, subject_id: str) -> SubjectDetail:
        """One subject with what was recorded of its templates."""
        return self._get(SubjectDetail, _subject(gallery, subject_id))

    def rename(self, gallery: str, subject_id: str, name: str | None) -> SubjectAnswer:
        """Change what people read of a subject; None for nothing."""
        call = Call("PATCH", _subject(gallery, subject_id), repeatable=True, json={"name": name})
        return decoded(SubjectAnswer, json_of(self._transport.send(call)))

    def delete_subject(self, gallery: str, subject_id: str) -> DeleteAnswer:
        """Remove a subject with everything that is kept of it."""
        return self._remove(DeleteAnswer, _subject(gallery, subject_id))

    def merge(self, gallery: str, subject_id: str, other_id: str) -> MergeAnswer:
        """Give all templates of `other_id` to `subject_id`; the other is gone then."""
        return self._change(MergeAnswer, "POST", f"{_subject(gallery, subject_id)}/merge", other_id=other_id)

    def export(self, gallery: str, subject_id: str) -> ExportAnswer:
        """Everything that is kept about one subject."""
        return self._get(ExportAnswer, f"{_subject(gallery, subject_id)}/export")

    def thumbnail(self, gallery: str, subject_id: str) -> bytes:
        """The small picture of a subject, a JPEG; `NotFound` where none is kept."""
        return self._bytes(f"{_subject(gallery, subject_id)}/thumbnail")

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def cluster(self, gallery: str, images: Sequence[Picture], *, rate: float | None = None) -> JobAnswer:
        """Begin to group the faces of unlabelled pictures by person; see `wait` and `enrol_group`."""
        parts = [part("images", p) for p in several(images)]
        if not parts:
            raise BadArgument("no pictures came; expected at least one")
        fields = {} if rate is None else {"rate": repr(rate)}
        call = Call(
            "POST",
            f"/v1/galleries/{segment(gallery)}/cluster",
            repeatable=False,
            fields=fields,
            files=tuple(parts),
        )
        return decoded(JobAnswer, json_of(self._transport.send(call)))

    def purge(self, gallery: str) -> JobAnswer:
        """Begin to remove templates that have expired."""
        return self._change(JobAnswer, "POST", f"/v1/galleries/{segment(gallery)}/purge")

    def jobs(self) -> JobPage:
        """Jobs, the newest first."""
        return self._get(JobPage, "/v1/jobs")

    def job(self, job_id: str) -> JobAnswer:
        """One job, with its groups where it has some."""
        return self._get(JobAnswer, f"/v1/jobs/{segment(job_id)}")

    def wait(self, job_id: str, *, seconds: float = 600.0, every: float = 0.5) -> JobAnswer:
        """The job when it is done, has failed or was cancelled.

        Args:
            job_id: of the job.
            seconds: how long to wait.
            every: seconds between questions.

        Raises:
            DeadlineExceeded: it took longer; it goes on.
        """
        until = time.monotonic() + seconds
        while (found := self.job(job_id)).state in {"waiting", "running"}:
            if time.monotonic() + every > until:
                raise DeadlineExceeded(f"job {job_id} is not done after {seconds:g} s; it goes on, ask again later")
            time.sleep(every)
        return found

    def cancel(self, job_id: str) -> None:
        """Cancel a job, or remove one that is done with its faces."""
        self._transport.send(Call("DELETE", f"/v1/jobs/{segment(job_id)}", repeatable=False))

    def face_thumbnail(self, job_id: str, face: int) -> bytes:
        """The small picture of a face that was grouped, a JPEG."""
        return self._bytes(f"/v1/jobs/{segment(job_id)}/faces/{face:d}/thumbnail")

    def enrol_group(
        self,
        job_id: str,
        group: int,
        subject_id: str,
        *,
        name: str | None = None,
        consent: str | None = None,
        expires: datetime | None = None,
    ) -> EnrolAnswer:
        """Enrol the person of a group; a subject who is enrolled already gets its faces."""
        at = f"/v1/jobs/{segment(job_id)}/groups/{group:d}/enrol"
        fields = {"subject_id": subject_id, "name": name, "consent": consent, "expires": _moment(expires)}
        return self._change(EnrolAnswer, "POST", at, **fields)

    # --- records ------------------------------------------------------------------------------------------------------

    def reviews(
        self,
        *,
        state: Literal["open", "confirmed", "refuted", "disputed"] | None = None,
        limit: int | None = None,
    ) -> ReviewPage:
        """Candidates that two people look at, the oldest first."""
        return self._get(ReviewPage, "/v1/reviews", state=state, limit=limit)

    def review(self, review_id: str) -> ReviewAnswer:
        """One review."""
        return self._get(ReviewAnswer, f"/v1/reviews/{segment(review_id)}")

    def review_picture(self, review_id: str) -> bytes:
        """The small picture of the probe, a JPEG; `NotFound` where none is kept."""
        return self._bytes(f"/v1/reviews/{segment(review_id)}/picture")

    def decide(self, review_id: str, verdict: Literal["same", "different"]) -> ReviewAnswer:
        """One reviewer's verdict; two different keys that agree settle a review."""
        return self._change(ReviewAnswer, "POST", f"/v1/reviews/{segment(review_id)}/decision", verdict=verdict)

    def audit(self, *, before: int | None = None, limit: int | None = None) -> AuditPage:
        """Who did what, the newest first; `before` is the number of an entry to go on from."""
        return self._get(AuditPage, "/v1/audit", before=before, limit=limit)

    def verify_audit(self) -> AuditVerifyAnswer:
        """Is every entry of the audit log as it was written, and is none missing?"""
        return self._get(AuditVerifyAnswer, "/v1/audit/verify")

    def keys(self) -> KeyPage:
        """All keys, without their secrets."""
        return self._get(KeyPage, "/v1/keys")

    def create_key(self, name: str, scopes: Sequence[Scope]) -> NewKeyAnswer:
        """A new key; its text is shown this once."""
        return self._change(NewKeyAnswer, "POST", "/v1/keys", name=name, scopes=list(scopes))

    def revoke_key(self, key_id: str) -> KeyAnswer:
        """Refuse a key from now on."""
        return self._remove(KeyAnswer, f"/v1/keys/{segment(key_id)}")

    def health(self) -> Health:
        """The service answers."""
        return self._get(Health, "/healthz")

    def ready(self) -> Health:
        """The service has loaded its model; `NotReady` where it has not within the tries of one call."""
        return self._get(Health, "/readyz")

    def metrics(self) -> str:
        """Counters in the text format of Prometheus."""
        return self._bytes("/metrics").decode()

    # --- how ----------------------------------------------------------------------------------------------------------

    def _get(self, kind: type[_T], path: str, **query: Any) -> _T:
        return decoded(kind, json_of(self._transport.send(Call("GET", path, repeatable=True, query=query))))

    def _bytes(self, path: str) -> bytes:
        return self._transport.send(Call("GET", path, repeatable=True)).content

    def _remove(self, kind: type[_T], path: str) -> _T:
        return decoded(kind, json_of(self._transport.send(Call("DELETE", path, repeatable=False))))

    def _change(self, kind: type[_T], method: str, path: str, **body: Any) -> _T:
        given = {k: v for k, v in body.items() if v is not None}
        call = Call(method, path, repeatable=False, json=given or None)
        return decoded(kind, json_of(self._transport.send(call)))

    def _ask(self, kind: type[_T], path: str, pictures: Sequence[tuple[str, Picture | Address]], **fields: Any) -> _T:
        """A question about pictures, which changes nobody's data and may be asked again."""
        call = _form("POST", path, pictures, fields, {})
        return decoded(kind, json_of(self._transport.send(call)))

    def _enrol(
        self,
        path: str,
        images: Picture | Address | Sequence[Picture],
        fields: dict[str, Any],
        idempotency_key: str | None,
    ) -> EnrolAnswer:
        one = isinstance(images, Address)
        pictures = [("image", images)] if one else [("images", p) for p in several(images)]  # type: ignore[arg-type]
        if not pictures:
            raise BadArgument("no pictures came; expected at least one")
        headers = {"Idempotency-Key": uuid.uuid4().hex if idempotency_key is None else idempotency_key}
        call = _form("POST", path, pictures, fields, headers)  # type: ignore[arg-type]
        return decoded(EnrolAnswer, json_of(self._transport.send(call)))


def _form(
    method: str,
    path: str,
    pictures: Sequence[tuple[str, Picture | Address]],
    fields: dict[str, Any],
    headers: dict[str, str],
) -> Call:
    """A repeatable call with a form; what is None is left out. An address goes as a field, and alone as JSON."""
    given = {k: v for k, v in fields.items() if v is not None}
    parts: list[Part] = []
    for field, picture in pictures:
        if isinstance(picture, Address):
            given["image_url"] = picture.url
        else:
            parts.append(part(field, picture))
    if not parts:
        return Call(method, path, repeatable=True, json=given, headers=headers)
    texts = {k: v if isinstance(v, str) else repr(v) for k, v in given.items()}
    return Call(method, path, repeatable=True, fields=texts, files=tuple(parts), headers=headers)


def _subject(gallery: str, subject_id: str) -> str:
    return f"/v1/galleries/{segment(gallery)}/subjects/{segment(subject_id)}"


def _moment(when: datetime | None) -> str | None:
    if when is not None and when.tzinfo is None:
        raise BadArgument(f"expires is {when.isoformat()} without a time zone; give one, such as datetime.UTC")
    return None if when is None else when.isoformat()

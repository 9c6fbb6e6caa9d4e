"""Subjects of a gallery: enrol, list, get, change, merge, export and delete."""

from __future__ import annotations

import base64
import hashlib
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from vultus.errors import BadArgument, NotFound, PresentationAttack
from vultus.gallery import Enrolment, Gallery, StoredTemplate, Subject
from vultus.service.access import Caller, needs, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.clustering import forget_alike
from vultus.service.core import Service
from vultus.service.decisions import attacked, band_of, pad_of
from vultus.service.engine import Seen
from vultus.service.problems import responses
from vultus.service.routes.common import GalleryName, SubjectId, pictures
from vultus.service.schemas import (
    AddRequest,
    DeleteAnswer,
    EnrolAnswer,
    EnrolRequest,
    ExportAnswer,
    ExportedTemplate,
    MergeAnswer,
    MergeRequest,
    Similar,
    SubjectAnswer,
    SubjectDetail,
    SubjectPage,
    SubjectPatch,
    TemplateAnswer,
)
from vultus.service.thumbnails import picture_of

router = APIRouter(prefix="/v1/galleries/{gallery}/subjects", tags=["subjects"], responses=responses())
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
Enrolling = Annotated[Caller, needs("enrol")]
Reading = Annotated[Caller, needs("read")]


@router.post("", status_code=201, openapi_extra=contract(EnrolRequest))
async def enrol(
    request: Request, gallery: GalleryName, caller: Enrolling, idempotency_key: IdempotencyKey = None
) -> EnrolAnswer:
    """Enrol a subject with one or several pictures, each of one face. It is on the disk when the answer comes."""
    service = service_of(request)
    async with service.engine.admitted():
        opened = await service.opened(gallery)
        body = await read_body(request, EnrolRequest)
        contents = await pictures(service, body, body.images)
        seen = await service.engine.seen(contents, one=True, alone=True)
        named = {"name": body.name}
        return await service.run(
            _enrolled, service, caller, gallery, opened, body, contents, seen, idempotency_key, named
        )


@router.post("/{subject_id}/templates", status_code=201, openapi_extra=contract(AddRequest))
async def add(
    request: Request,
    gallery: GalleryName,
    subject_id: SubjectId,
    caller: Enrolling,
    idempotency_key: IdempotencyKey = None,
) -> EnrolAnswer:
    """Give an enrolled subject more pictures."""
    service = service_of(request)
    async with service.engine.admitted():
        opened = await service.opened(gallery)
        body = await read_body(request, AddRequest)
        contents = await pictures(service, body, body.images)
        await service.run(opened.subject, subject_id)
        seen = await service.engine.seen(contents, one=True, alone=True)
        full = EnrolRequest.model_construct(subject_id=subject_id, consent=body.consent, expires=body.expires)
        return await service.run(
            _enrolled, service, caller, gallery, opened, full, contents, seen, idempotency_key, None
        )


def _enrolled(
    service: Service,
    caller: Caller,
    name: str,
    opened: Gallery,
    body: EnrolRequest,
    contents: list[bytes],
    seen: list[Seen],
    idempotency_key: str | None,
    named: dict[str, str | None] | None,
) -> EnrolAnswer:
    """Enrol a subject with a name, or add to one without."""
    if attacked([s.pad for s in seen]):
        raise PresentationAttack("the attack detector takes a picture for a presentation attack; nobody was enrolled")
    action = "subject.add" if named is None else "subject.enrol"
    facts = {"gallery": name, "model": opened.model_id, "subject": service.audit.subject(name, body.subject_id)}
    with service.audit.change(action=action, **facts, **caller.facts) as entry:
        change = opened.add if named is None else opened.enrol
        done: Enrolment = change(
            body.subject_id,
            [s.sample.template for s in seen],
            consent=body.consent,
            expires=body.expires,
            photo_sha256=[hashlib.sha256(c).hexdigest() for c in contents],
            idempotency_key=idempotency_key,
            **(named or {}),
        )
        if service.settings.keep_thumbnails and not done.replayed:
            small = picture_of(seen[0].photo, seen[0].sample.face)
            with service.erasing:
                if body.subject_id in opened:
                    service.thumbnails.keep(name, body.subject_id, small)
        entry.add(templates=done.templates, replayed=done.replayed or None, consent=body.consent is not None)
    limit = opened.near_duplicate if opened.near_duplicate is not None else 1.0
    return EnrolAnswer(
        subject_id=done.subject_id,
        gallery=name,
        model=opened.model_id,
        templates=done.templates,
        replayed=done.replayed,
        similar=[
            Similar(subject_id=c.subject_id, band=band_of(c.score, limit=limit, measured=opened.thresholds))
            for c in done.similar
        ],
        quality=[round(float(s.sample.quality.overall[0]), 4) for s in seen],
        pad=pad_of(service.engine.detector, [s.pad for s in seen], caller),
    )


@router.get("")
async def subjects(
    request: Request,
    gallery: GalleryName,
    caller: Reading,
    after: Annotated[str, Query(max_length=256, description="Begin after this id.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SubjectPage:
    """The subjects in the order of their ids."""
    service = service_of(request)

    def work() -> SubjectPage:
        opened = service.gallery(gallery)
        found = list(islice(opened.subjects(after=after), limit + 1))
        kept = service.thumbnails.among(gallery)
        more = found[limit - 1].subject_id if len(found) > limit else None
        return SubjectPage(subjects=[_answer(s, kept) for s in found[:limit]], next=more)

    if "\0" in after or not after.isprintable():
        raise BadArgument("after has control characters; expected a subject's id")
    return await service.run(work)


@router.get("/{subject_id}")
async def subject(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Reading) -> SubjectDetail:
    """One subject with what was recorded of its templates."""
    service = service_of(request)

    def work() -> SubjectDetail:
        opened = service.gallery(gallery)
        found = _answer(opened.subject(subject_id), service.thumbnails.among(gallery))
        return SubjectDetail(**found.model_dump(), details=[_template(t) for t in opened.templates(subject_id)])

    return await service.run(work)


@router.patch("/{subject_id}", openapi_extra=contract(SubjectPatch, forms=False))
async def rename(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Enrolling) -> SubjectAnswer:
    """Change what people read of a subject; its id stays."""
    service = service_of(request)
    body = await read_body(request, SubjectPatch, forms=False)

    def work() -> SubjectAnswer:
        opened = service.gallery(gallery)
        opened.subject(subject_id)
        facts = {"gallery": gallery, "subject": service.audit.subject(gallery, subject_id)}
        with service.audit.change(action="subject.rename", **facts, **caller.facts):
            opened.rename(subject_id, body.name)
        return _answer(opened.subject(subject_id), service.thumbnails.among(gallery))

    return await service.run(work)


@router.delete("/{subject_id}")
async def delete(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Enrolling) -> DeleteAnswer:
    """Remove a subject with everything that is kept of it, and overwrite the bytes."""
    service = service_of(request)

    def work() -> DeleteAnswer:
        opened = service.gallery(gallery)
        opened.subject(subject_id)
        facts = {"gallery": gallery, "subject": service.audit.subject(gallery, subject_id)}
        with service.audit.change(action="subject.delete", **facts, **caller.facts) as entry:
            with service.erasing:
                forget_alike(service, gallery, opened, subject_id)
                service.forget(gallery, subject_id)
                done = opened.delete(subject_id)
            entry.add(templates=done.templates, erased=done.erased)
        return DeleteAnswer(templates=done.templates, erased=done.erased)

    return await service.run(work)


@router.post("/{subject_id}/merge", openapi_extra=contract(MergeRequest, forms=False))
async def merge(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Enrolling) -> MergeAnswer:
    """Give all templates of another subject to this one; the other is gone then."""
    service = service_of(request)
    body = await read_body(request, MergeRequest, forms=False)

    def work() -> MergeAnswer:
        opened = service.gallery(gallery)
        opened.subject(subject_id)
        opened.subject(body.other_id)
        if subject_id == body.other_id:
            raise BadArgument("a subject cannot be merged with itself; expected the id of another")
        subject = service.audit.subject(gallery, subject_id)
        other = service.audit.subject(gallery, body.other_id)
        facts = {"gallery": gallery, "subject": subject, "other": other}
        with service.audit.change(action="subject.merge", **facts, **caller.facts) as entry:
            with service.erasing:
                service.forget(gallery, body.other_id)
                count = opened.merge(subject_id, body.other_id)
            entry.add(templates=count)
        return MergeAnswer(subject_id=subject_id, templates=count)

    return await service.run(work)


@router.get("/{subject_id}/export")
async def export(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Reading) -> ExportAnswer:
    """Everything that is kept about one subject, to hand to that person. Embeddings need the scope `embed`."""
    service = service_of(request)

    def work() -> ExportAnswer:
        opened = service.gallery(gallery)
        found, stored = opened.subject(subject_id), opened.templates(subject_id)
        facts = {"gallery": gallery, "subject": service.audit.subject(gallery, subject_id)}
        service.audit.record(action="subject.export", embeddings=caller.may("embed"), **facts, **caller.facts)
        kept = service.thumbnails.get(gallery, subject_id)
        return ExportAnswer(
            gallery=gallery,
            model=opened.model_id,
            subject_id=found.subject_id,
            name=found.name,
            created=found.created,
            templates=[
                ExportedTemplate(
                    **_template(t).model_dump(),
                    photo_sha256=t.photo_sha256,
                    embedding=t.vector.tolist() if t.vector is not None and caller.may("embed") else None,
                )
                for t in stored
            ],
            thumbnail=None if kept is None else base64.b64encode(kept).decode(),
            reviews=service.reviews.about(gallery, subject_id),
        )

    return await service.run(work)


@router.get("/{subject_id}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def thumbnail(request: Request, gallery: GalleryName, subject_id: SubjectId, caller: Reading) -> Response:
    """The small picture of a subject, where one is kept."""
    service = service_of(request)

    def work() -> bytes:
        service.gallery(gallery).subject(subject_id)
        found = service.thumbnails.get(gallery, subject_id)
        if found is None:
            raise NotFound("no thumbnail is kept of this subject")
        return found

    return Response(await service.run(work), media_type="image/jpeg")


def _answer(found: Subject, kept: set[str]) -> SubjectAnswer:
    return SubjectAnswer(
        subject_id=found.subject_id,
        name=found.name,
        templates=found.templates,
        created=found.created,
        thumbnail=found.subject_id in kept,
    )


def _template(stored: StoredTemplate) -> TemplateAnswer:
    return TemplateAnswer(
        number=stored.number,
        samples=stored.samples,
        quality=stored.quality,
        consent=stored.consent,
        expires=stored.expires,
        created=stored.created,
    )

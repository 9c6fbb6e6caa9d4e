"""Galleries: list, make, remove, and the question who of one somebody is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from vultus.errors import BadArgument, SubjectUnknown
from vultus.gallery import Gallery, Identification
from vultus.service.access import Caller, needs, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.core import Service
from vultus.service.decisions import attacked, band_of, basis_of, box_of, pad_of
from vultus.service.engine import Seen
from vultus.service.galleries import Listed
from vultus.service.problems import responses
from vultus.service.routes.common import GalleryName
from vultus.service.routes.common import picture as picture_in
from vultus.service.schemas import (
    CandidateAnswer,
    DeleteAnswer,
    GalleryAnswer,
    GalleryRequest,
    IdentifyAnswer,
    IdentifyRequest,
)
from vultus.service.thumbnails import picture_of
from vultus.types import SearchThreshold, Threshold

router = APIRouter(prefix="/v1/galleries", tags=["galleries"], responses=responses())


@router.get("")
async def galleries(request: Request, caller: Annotated[Caller, needs("read")]) -> list[GalleryAnswer]:
    """All galleries."""
    service = service_of(request)

    def work() -> list[GalleryAnswer]:
        return [_answer(service, listed) for listed in service.galleries.listed()]

    return await service.run(work)


@router.post("", status_code=201, openapi_extra=contract(GalleryRequest, forms=False))
async def make(request: Request, caller: Annotated[Caller, needs("admin")]) -> GalleryAnswer:
    """Make an empty gallery for templates of the service's model."""
    service = service_of(request)
    body = await read_body(request, GalleryRequest, forms=False)
    recognizer = service.engine.ready.alone

    def work() -> GalleryAnswer:
        facts = {"action": "gallery.create", "gallery": body.name, "model": recognizer.model_id, **caller.facts}
        with service.audit.change(**facts):
            listed = service.galleries.create(body.name, recognizer)
        return _answer(service, listed)

    return await service.run(work)


@router.get("/{gallery}")
async def gallery_(request: Request, gallery: GalleryName, caller: Annotated[Caller, needs("read")]) -> GalleryAnswer:
    """One gallery in numbers."""
    service = service_of(request)
    return await service.run(lambda: _answer(service, service.galleries.listing(gallery)))


@router.delete("/{gallery}")
async def remove(request: Request, gallery: GalleryName, caller: Annotated[Caller, needs("admin")]) -> DeleteAnswer:
    """Remove a gallery with everybody in it; its files are overwritten."""
    service = service_of(request)

    def work() -> DeleteAnswer:
        with service.galleries.of_any_model(gallery, service.engine.ready.alone) as found:
            count = found.stats().templates
        with service.audit.change(action="gallery.delete", gallery=gallery, **caller.facts) as entry:
            service.forget(gallery, None)
            service.state.change("DELETE FROM jobs WHERE gallery = ?", (gallery,))
            service.galleries.delete(gallery)
            service.state.erase()
            entry.add(templates=count)
        return DeleteAnswer(templates=count, erased=True)

    return await service.run(work)


@router.post("/{gallery}/identify", openapi_extra=contract(IdentifyRequest))
async def identify(
    request: Request, gallery: GalleryName, caller: Annotated[Caller, needs("identify")]
) -> IdentifyAnswer:
    """Who of a gallery is it? Candidates that reach the threshold, best first; none for "nobody"."""
    service = service_of(request)
    async with service.engine.admitted():
        opened = await service.opened(gallery)
        body = await read_body(request, IdentifyRequest)
        if body.fpir is not None and body.fmr is not None:
            raise BadArgument("fpir and fmr exclude each other; give one of them")
        seen = (await service.engine.seen([await picture_in(service, body)]))[0]
        return await service.run(_identified, service, caller, gallery, opened, seen, body)


def _identified(
    service: Service, caller: Caller, name: str, opened: Gallery, seen: Seen, body: IdentifyRequest
) -> IdentifyAnswer:
    found = opened.identify(seen.sample.template, fpir=body.fpir, fmr=body.fmr, max_rank=body.max_rank)
    attack = attacked([seen.pad])
    candidates = [] if attack else [_candidate(caller, opened, c.rank, c.subject_id, c.score, found) for c in found]
    match = bool(candidates)
    verdict = pad_of(service.engine.detector, [seen.pad], caller)
    outcome = "match" if match else "no_match"
    service.metrics.decisions.labels("identify", outcome).inc()
    review = _to_review(service, caller, name, opened, seen, found) if match else None
    basis = found.basis
    service.audit.record(
        action="identify",
        gallery=name,
        model=opened.model_id,
        threshold=found.threshold,
        fpir=found.fpir,
        decision=outcome,
        subject=service.audit.subject(name, found[0].subject_id) if match else None,
        review=review,
        pad=verdict if isinstance(verdict, str) else "attack" if attack else "bona_fide",
        **caller.facts,
    )
    return IdentifyAnswer(
        match=match,
        candidates=candidates,
        compared=found.compared,
        faces=seen.sample.found,
        box=box_of(seen.sample.face),
        review=review,
        model=opened.model_id,
        threshold=found.threshold,
        fmr=basis.fmr if isinstance(basis, Threshold) else None,
        fpir=found.fpir if found.fpir is not None else basis.fpir if isinstance(basis, SearchThreshold) else None,
        basis=basis_of(basis),
        pad=verdict,
    )


def _candidate(
    caller: Caller, opened: Gallery, rank: int, subject: str, score: float, found: Identification
) -> CandidateAnswer:
    name = None
    if caller.may("read"):
        try:
            name = opened.subject(subject).name
        except SubjectUnknown:  # deleted since
            name = None
    return CandidateAnswer(
        rank=rank,
        subject_id=subject,
        name=name,
        band=band_of(score, limit=found.threshold, measured=opened.thresholds),
        score=score if caller.may("score") else None,
    )


def _to_review(
    service: Service, caller: Caller, name: str, opened: Gallery, seen: Seen, found: Identification
) -> str | None:
    """Put the best candidate into the queue where its score is below the stated confidence; the review's id."""
    rate = service.settings.review_fmr
    sure = [t.value for t in opened.thresholds if t.fmr <= rate * (1 + 1e-9)]
    if not rate or not sure or found[0].score >= min(sure):
        return None
    picture = picture_of(seen.photo, seen.sample.face) if service.settings.keep_thumbnails else None
    with service.erasing:
        if found[0].subject_id not in opened:  # deleted since
            return None
        return service.reviews.add(
            gallery=name,
            subject_id=found[0].subject_id,
            band=band_of(found[0].score, limit=found.threshold, measured=opened.thresholds),
            threshold=found.threshold,
            key_id=caller.key.key_id,
            picture=picture,
        )


def _answer(service: Service, listed: Listed) -> GalleryAnswer:
    with service.galleries.of_any_model(listed.name, service.engine.ready.alone) as opened:
        stats, model = opened.stats(), opened.model_id
    return GalleryAnswer(
        name=listed.name,
        model=model,
        subjects=stats.subjects,
        templates=stats.templates,
        created=listed.created,
    )

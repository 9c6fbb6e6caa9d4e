"""Detect, embed and verify: questions about the pictures of one request."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from vultus.errors import BadArgument
from vultus.service.access import Caller, needs, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.core import Service
from vultus.service.decisions import attacked, band_of, basis_of, box_of, face_of, pad_of
from vultus.service.engine import Seen
from vultus.service.problems import responses
from vultus.service.routes.common import picture
from vultus.service.schemas import (
    DetectAnswer,
    DetectRequest,
    EmbedAnswer,
    Embedded,
    EmbedRequest,
    VerifyAnswer,
    VerifyRequest,
)

router = APIRouter(prefix="/v1", tags=["photos"], responses=responses())


@router.post("/detect", openapi_extra=contract(DetectRequest))
async def detect(request: Request, caller: Annotated[Caller, needs("read", "identify", "enrol")]) -> DetectAnswer:
    """All faces of a picture."""
    service = service_of(request)
    async with service.engine.admitted():
        body = await read_body(request, DetectRequest)
        photo = await service.engine.photo(await picture(service, body))
        faces = await service.engine.look(lambda r: r.detect(photo, min_face=body.min_face))
    model = service.engine.ready.alone.detector.id
    return DetectAnswer(model=model, width=photo.width, height=photo.height, faces=[face_of(f) for f in faces])


@router.post("/embed", openapi_extra=contract(EmbedRequest))
async def embed(request: Request, caller: Annotated[Caller, needs("embed")]) -> EmbedAnswer:
    """Embeddings of the largest face, or of all. Whoever has one can make a face of it: it needs its own scope."""
    service = service_of(request)
    async with service.engine.admitted():
        body = await read_body(request, EmbedRequest)
        photo = await service.engine.photo(await picture(service, body))
        every = body.faces == "all"
        samples = await service.engine.look(lambda r: r.samples(photo) if every else [r.sample(photo)])
    model = service.engine.ready.alone.model_id
    await service.run(service.audit.record, action="embed", model=model, faces=len(samples), **caller.facts)
    faces = [
        Embedded(face=face_of(s.face), embedding=s.template.vector.tolist(), quality=float(s.quality.overall[0]))
        for s in samples
    ]
    return EmbedAnswer(model=model, width=photo.width, height=photo.height, faces=faces)


@router.post("/verify", openapi_extra=contract(VerifyRequest))
async def verify(request: Request, caller: Annotated[Caller, needs("identify")]) -> VerifyAnswer:
    """Do two pictures show one person (`image`, `other`), or a picture an enrolled subject (`gallery`, `subject_id`)?"""
    service = service_of(request)
    async with service.engine.admitted():
        body = await read_body(request, VerifyRequest)
        first = await picture(service, body)
        claimed = body.gallery is not None and body.subject_id is not None
        if (body.other is None) == (not claimed) or (body.gallery is None) != (body.subject_id is None):
            raise BadArgument("expected `other`, or `gallery` and `subject_id`, beside the picture")
        if body.other is not None:
            seen = await service.engine.seen([first, body.other])
            return await _pair(service, caller, seen, body.fmr)
        return await _claim(service, caller, body, first)


async def _pair(service: Service, caller: Caller, seen: list[Seen], fmr: float) -> VerifyAnswer:
    recognizer = service.engine.ready.alone
    basis = recognizer.threshold(fmr=fmr)
    score = recognizer.compare(seen[0].sample.template, seen[1].sample.template)
    verdicts = [s.pad for s in seen]
    match = score >= basis.value and not attacked(verdicts)
    measured = recognizer.calibration.thresholds if recognizer.calibration else ()
    answer = VerifyAnswer(
        match=match,
        band=band_of(score, limit=basis.value, measured=measured),
        model=recognizer.model_id,
        threshold=basis.value,
        fmr=basis.fmr,
        basis=basis_of(basis),
        pad=pad_of(service.engine.detector, verdicts, caller),
        faces=[s.sample.found for s in seen],
        boxes=[box_of(s.sample.face) for s in seen],
        score=score if caller.may("score") else None,
        log10_likelihood_ratio=recognizer.log10_likelihood_ratio(score) if caller.may("score") else None,
    )
    await _noted(service, caller, answer)
    return answer


async def _claim(service: Service, caller: Caller, body: VerifyRequest, content: bytes) -> VerifyAnswer:
    name, subject = body.gallery or "", body.subject_id or ""
    gallery = await service.opened(name)
    guess = f"subject:{name}:{subject}"
    service.attempts.check(guess)
    await service.run(gallery.subject, subject)
    seen = (await service.engine.seen([content]))[0]
    found = await service.run(gallery.verify_subject, subject, seen.sample.template, fmr=body.fmr)
    match = found.match and not attacked([seen.pad])
    if match:
        service.attempts.succeeded(guess)
    else:
        service.attempts.failed(guess)
    answer = VerifyAnswer(
        match=match,
        band=band_of(found.score, limit=found.threshold, measured=gallery.thresholds),
        model=gallery.model_id,
        threshold=found.threshold,
        fmr=found.fmr,
        basis=basis_of(found.basis),
        pad=pad_of(service.engine.detector, [seen.pad], caller),
        faces=[seen.sample.found],
        boxes=[box_of(seen.sample.face)],
        subject_id=subject,
        score=found.score if caller.may("score") else None,
    )
    await _noted(service, caller, answer, gallery=name, subject=service.audit.subject(name, subject))
    return answer


async def _noted(service: Service, caller: Caller, answer: VerifyAnswer, **more: str) -> None:
    outcome = "match" if answer.match else "no_match"
    service.metrics.decisions.labels("verify", outcome).inc()
    pad = answer.pad if isinstance(answer.pad, str) else "attack" if answer.pad.attack else "bona_fide"
    await service.run(
        service.audit.record,
        action="verify",
        model=answer.model,
        threshold=answer.threshold,
        fmr=answer.fmr,
        decision=outcome,
        pad=pad,
        **caller.facts,
        **more,
    )

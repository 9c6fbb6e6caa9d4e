"""What an operator answers with: the review queue, the audit log and the keys."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from vultus.errors import NotFound
from vultus.service.access import Caller, needs, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.chain import verify_log
from vultus.service.keys import ApiKey
from vultus.service.problems import responses
from vultus.service.reviews import Review
from vultus.service.routes.common import HexId
from vultus.service.schemas import (
    AuditPage,
    AuditVerifyAnswer,
    DecisionRequest,
    KeyAnswer,
    KeyPage,
    KeyRequest,
    NewKeyAnswer,
    ReviewAnswer,
    ReviewPage,
    Verdict,
)

router = APIRouter(prefix="/v1", tags=["records"], responses=responses())
Admin = Annotated[Caller, needs("admin")]
Reviewer = Annotated[Caller, needs("identify")]


@router.get("/reviews")
async def reviews(
    request: Request,
    caller: Reviewer,
    state: Annotated[Literal["open", "confirmed", "refuted", "disputed"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ReviewPage:
    """Candidates that two people look at, the oldest first."""
    service = service_of(request)
    return ReviewPage(reviews=[_review(r) for r in await service.run(service.reviews.listed, state=state, limit=limit)])


@router.get("/reviews/{review}")
async def review_(request: Request, review: HexId, caller: Reviewer) -> ReviewAnswer:
    """One review."""
    service = service_of(request)
    return _review(await service.run(service.reviews.get, review))


@router.get("/reviews/{review}/picture", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def review_picture(request: Request, review: HexId, caller: Reviewer) -> Response:
    """The small picture of the probe, where one was kept."""
    service = service_of(request)
    found = await service.run(service.reviews.picture, review)
    if found is None:
        raise NotFound("no picture is kept with this review")
    return Response(found, media_type="image/jpeg")


@router.post("/reviews/{review}/decision", openapi_extra=contract(DecisionRequest, forms=False))
async def decide(request: Request, review: HexId, caller: Reviewer) -> ReviewAnswer:
    """One reviewer's verdict; two different keys that agree settle a review."""
    service = service_of(request)
    body = await read_body(request, DecisionRequest, forms=False)

    def work() -> Review:
        before = service.reviews.get(review)
        subject = service.audit.subject(before.gallery, before.subject_id)
        facts = {"gallery": before.gallery, "subject": subject, "review": review, "threshold": before.threshold}
        with service.audit.change(action="review.decide", **facts, **caller.facts) as entry:
            found = service.reviews.decide(review, caller.key.key_id, body.verdict)
            entry.add(decision=body.verdict, state=found.state)
        return found

    return _review(await service.run(work))


@router.get("/audit")
async def audit(
    request: Request,
    caller: Admin,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditPage:
    """Who did what, the newest first."""
    service = service_of(request)
    found = await service.run(service.audit.page, before=before, limit=limit)
    more = found[-1]["seq"] if found and found[-1]["seq"] > 1 else None
    return AuditPage(entries=found, next=more, head=service.audit.head.digest)


@router.get("/audit/verify")
async def audit_verify(request: Request, caller: Admin) -> AuditVerifyAnswer:
    """Read the whole log: is every entry as it was written, and is none missing?"""
    service = service_of(request)
    found = await service.run(verify_log, service.settings.folder / "audit")
    return AuditVerifyAnswer(ok=found.ok, entries=found.entries, head=found.head, problem=found.problem)


@router.get("/keys")
async def keys(request: Request, caller: Admin) -> KeyPage:
    """All keys, without their secrets."""
    service = service_of(request)
    return KeyPage(keys=[_key(k) for k in await service.run(service.keys.listed)])


@router.post("/keys", status_code=201, openapi_extra=contract(KeyRequest, forms=False))
async def make_key(request: Request, caller: Admin) -> NewKeyAnswer:
    """A new key; its text is shown this once."""
    service = service_of(request)
    body = await read_body(request, KeyRequest, forms=False)

    def work() -> NewKeyAnswer:
        with service.audit.change(action="key.create", scopes=sorted(set(body.scopes)), **caller.facts) as entry:
            key, text = service.keys.create(body.name, body.scopes)
            entry.add(target=key.key_id)
        return NewKeyAnswer(**_key(key).model_dump(), key=text)

    return await service.run(work)


@router.delete("/keys/{key}")
async def revoke_key(request: Request, key: HexId, caller: Admin) -> KeyAnswer:
    """Refuse a key from now on."""
    service = service_of(request)

    def work() -> ApiKey:
        service.keys.get(key)
        with service.audit.change(action="key.revoke", target=key, **caller.facts):
            return service.keys.revoke(key)

    return _key(await service.run(work))


def _review(review: Review) -> ReviewAnswer:
    return ReviewAnswer.model_validate(
        {
            "id": review.review_id,
            "gallery": review.gallery,
            "subject_id": review.subject_id,
            "band": review.band,
            "threshold": review.threshold,
            "state": review.state,
            "created": review.created,
            "picture": review.picture,
            "decisions": [
                Verdict.model_validate({"key": d.key_id, "verdict": d.verdict, "made": d.made})
                for d in review.decisions
            ],
        }
    )


def _key(key: ApiKey) -> KeyAnswer:
    scopes = sorted(key.scopes)
    return KeyAnswer(key_id=key.key_id, name=key.name, scopes=scopes, created=key.created, revoked=key.revoked)

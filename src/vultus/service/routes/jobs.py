"""Long tasks: grouping of unlabelled pictures, purging of what has expired, and how far they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from vultus.service.access import Caller, needs, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.clustering import cluster, enrol_group, face_picture, groups_of
from vultus.service.core import Service
from vultus.service.jobs import Job, Progress, refuse_unless_done
from vultus.service.problems import responses
from vultus.service.routes.common import GalleryName, HexId
from vultus.service.schemas import (
    ClusterRequest,
    EnrolAnswer,
    JobAnswer,
    JobPage,
    NameGroupRequest,
)

router = APIRouter(prefix="/v1", tags=["jobs"], responses=responses())
Number = Annotated[int, Path(ge=0, le=1_000_000)]


@router.post("/galleries/{gallery}/cluster", status_code=202, openapi_extra=contract(ClusterRequest))
async def start_cluster(request: Request, gallery: GalleryName, caller: Annotated[Caller, needs("enrol")]) -> JobAnswer:
    """Group the faces of unlabelled pictures by person. Groups can be named then, which enrols them."""
    service = service_of(request)
    async with service.engine.admitted():
        await service.opened(gallery)
        body = await read_body(request, ClusterRequest)

    def work(progress: Progress) -> dict[str, object]:
        with service.audit.change(action="cluster", gallery=gallery, **caller.facts) as entry:
            result = cluster(service, body.images, body.rate, progress)
            entry.add(photos=result["photos"], faces=result["faces"], groups=result["groups"])
        return result

    job = await service.run(service.jobs.start, "cluster", gallery, caller.key.key_id, work, total=len(body.images))
    return _answer(job)


@router.post("/galleries/{gallery}/purge", status_code=202)
async def start_purge(request: Request, gallery: GalleryName, caller: Annotated[Caller, needs("admin")]) -> JobAnswer:
    """Remove templates that have expired, and subjects whose last ones they were."""
    service = service_of(request)
    await service.opened(gallery)

    def work(_: Progress) -> dict[str, object]:
        with service.audit.change(action="purge", gallery=gallery, **caller.facts) as entry:
            opened = service.gallery(gallery)
            with service.erasing:
                before = {s.subject_id for s in opened.subjects()}
                done = opened.purge()
                gone = before - {s.subject_id for s in opened.subjects()}
                for subject in gone:
                    service.forget(gallery, subject)
            entry.add(templates=done.templates, subjects=len(gone), erased=done.erased)
        service.jobs.expire()
        return {"templates": done.templates, "subjects": len(gone), "erased": done.erased}

    return _answer(await service.run(service.jobs.start, "purge", gallery, caller.key.key_id, work, total=1))


@router.get("/jobs")
async def jobs(request: Request, caller: Annotated[Caller, needs("read")]) -> JobPage:
    """Jobs, the newest first."""
    service = service_of(request)
    return JobPage(jobs=[_answer(job) for job in await service.run(service.jobs.listed)])


@router.get("/jobs/{job}")
async def job_(request: Request, job: HexId, caller: Annotated[Caller, needs("read")]) -> JobAnswer:
    """One job, with its groups where it has some."""
    service = service_of(request)
    found = await service.run(service.jobs.get, job)
    answer = _answer(found)
    if found.kind == "cluster" and found.state == "done":
        answer.groups = await service.run(groups_of, service, job)
    return answer


@router.delete("/jobs/{job}", status_code=204)
async def cancel(request: Request, job: HexId, caller: Annotated[Caller, needs("enrol")]) -> Response:
    """Cancel a job, or remove one that is done with its faces."""
    service = service_of(request)

    def work() -> None:
        service.jobs.get(job)
        with service.audit.change(action="job.remove", job=job, **caller.facts):
            service.jobs.cancel(job)

    await service.run(work)
    return Response(status_code=204)


@router.get(
    "/jobs/{job}/faces/{face}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}}
)
async def face_thumbnail(
    request: Request, job: HexId, face: Number, caller: Annotated[Caller, needs("read")]
) -> Response:
    """The small picture of a face that was grouped."""
    service = service_of(request)
    return Response(await service.run(face_picture, service, job, face), media_type="image/jpeg")


@router.post("/jobs/{job}/groups/{group}/enrol", status_code=201, openapi_extra=contract(NameGroupRequest, forms=False))
async def name_group(
    request: Request, job: HexId, group: Number, caller: Annotated[Caller, needs("enrol")]
) -> EnrolAnswer:
    """Enrol the person of a group; a subject who is enrolled already gets its faces."""
    service = service_of(request)
    body = await read_body(request, NameGroupRequest, forms=False)
    return await service.run(_named, service, caller, job, group, body)


def _named(service: Service, caller: Caller, job_id: str, group: int, body: NameGroupRequest) -> EnrolAnswer:
    job = service.jobs.get(job_id)
    refuse_unless_done(job)
    opened = service.gallery(job.gallery)
    facts = {"gallery": job.gallery, "model": opened.model_id, "job": job_id}
    subject = service.audit.subject(job.gallery, body.subject_id)
    with service.audit.change(action="group.enrol", subject=subject, **facts, **caller.facts) as entry:
        done = enrol_group(service, job_id, group, opened, job.gallery, body)
        entry.add(templates=done.templates, consent=body.consent is not None)
    return EnrolAnswer(
        subject_id=done.subject_id,
        gallery=job.gallery,
        model=opened.model_id,
        templates=done.templates,
        replayed=done.replayed,
        similar=[],
        quality=[],
    )


def _answer(job: Job) -> JobAnswer:
    return JobAnswer.model_validate(
        {
            "id": job.job_id,
            "kind": job.kind,
            "gallery": job.gallery,
            "state": job.state,
            "done": job.done,
            "total": job.total,
            "created": job.created,
            "finished": job.finished,
            "code": job.code,
            "result": job.result,
        }
    )

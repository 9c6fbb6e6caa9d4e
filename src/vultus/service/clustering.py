"""Unlabelled pictures by person, as a job: their faces wait in the service's database until groups are named or expire."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.errors import NotFound, VultusError
from vultus.gallery import Enrolment, Gallery
from vultus.gallery.cluster import group
from vultus.image import open_photo
from vultus.service.jobs import Progress
from vultus.service.schemas import GroupAnswer, GroupFace, NameGroupRequest
from vultus.service.thumbnails import picture_of
from vultus.types import Template

if TYPE_CHECKING:
    from vultus.service.core import Service

_ALIKE_FMR = 1e-3


def cluster(service: Service, contents: Sequence[bytes], rate: float, progress: Progress) -> dict[str, Any]:
    """Find, embed and group the faces of pictures; keeps them with the job and gives numbers.

    Raises:
        VultusError: the faces cannot be grouped. A picture that cannot be read is counted and left out.
    """
    recognizer = service.engine.ready.alone
    rows: list[tuple[Any, ...]] = []
    failures: dict[str, int] = {}
    for number, content in enumerate(contents):
        digest = hashlib.sha256(content).hexdigest()
        try:
            photo = open_photo(service.engine.decoders.decode(content))
            for sample in recognizer.samples(photo, min_face=32):
                box = json.dumps([round(float(v), 2) for v in sample.face.boxes[0]])
                vector = sample.template.vector.astype("<f4").tobytes()
                quality = float(sample.quality.overall[0])
                rows.append((number, box, quality, vector, picture_of(photo, sample.face), digest))
        except VultusError as problem:
            failures[problem.code] = failures.get(problem.code, 0) + 1
        progress(number + 1)
    vectors = np.array([np.frombuffer(r[3], dtype="<f4") for r in rows], dtype=np.float32)
    known = recognizer.calibration
    found = group(
        vectors if len(rows) else np.zeros((0, recognizer.embedder.spec.dimension), dtype=np.float32),
        thresholds=known.thresholds if known else (),
        rate=rate,
        photos=[r[0] for r in rows],
        quality=[r[2] for r in rows],
    )
    progress(len(contents))
    with service.state.writing() as db:
        for face, ((photo_number, box, quality, vector, picture, digest), label) in enumerate(
            zip(rows, found.labels.tolist(), strict=True)
        ):
            values = (progress.job_id, face, photo_number, label, box, quality, vector, picture, digest)
            db.execute("INSERT INTO job_faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    people = len({label for label in found.labels.tolist() if label >= 0})
    return {"photos": len(contents), "faces": len(rows), "groups": people, "failures": failures}


def groups_of(service: Service, job_id: str) -> list[GroupAnswer]:
    """The groups of a job that were not named yet, the largest first; -1 last."""
    query = "SELECT label, face, photo, box, quality FROM job_faces WHERE job = ? ORDER BY face"
    found: dict[int, list[GroupFace]] = {}
    for label, face, photo, box, quality in service.state.rows(query, (job_id,)):
        found.setdefault(label, []).append(
            GroupFace(face=face, photo=photo, box=tuple(json.loads(box)), quality=quality)
        )
    order = sorted(found, key=lambda label: (label < 0, -len(found[label]), label))
    return [GroupAnswer(group=label, faces=found[label]) for label in order]


def face_picture(service: Service, job_id: str, face: int) -> bytes:
    """The small picture of a job's face.

    Raises:
        NotFound: there is no such face.
    """
    row = service.state.row("SELECT picture FROM job_faces WHERE job = ? AND face = ?", (job_id, face))
    if row is None:
        raise NotFound("there is no such face; its group may have been named")
    return bytes(row[0])


def enrol_group(
    service: Service, job_id: str, label: int, opened: Gallery, name: str, body: NameGroupRequest
) -> Enrolment:
    """Enrol the person of a group, or give its faces to one who is enrolled; the job forgets them.

    Raises:
        NotFound: there is no such group.
        GalleryError: nothing was changed.
    """
    query = (
        "SELECT vector, quality, photo_sha256, picture FROM job_faces WHERE job = ? AND label = ? ORDER BY quality DESC"
    )
    rows = service.state.rows(query, (job_id, label))
    if not rows:
        raise NotFound("there is no such group; it may have been named")
    templates = [
        Template(np.frombuffer(bytes(v), dtype="<f4"), opened.model_id, quality=float(q)) for v, q, _, _ in rows
    ]
    digests = [digest for _, _, digest, _ in rows]
    key = f"job {job_id} group {label}"
    if body.subject_id in opened:
        done = opened.add(
            body.subject_id,
            templates,
            consent=body.consent,
            expires=body.expires,
            photo_sha256=digests,
            idempotency_key=f"{key} add",
        )
    else:
        done = opened.enrol(
            body.subject_id,
            templates,
            name=body.name,
            consent=body.consent,
            expires=body.expires,
            photo_sha256=digests,
            idempotency_key=key,
        )
    if service.settings.keep_thumbnails:
        with service.erasing:
            if body.subject_id in opened:
                service.thumbnails.keep(name, body.subject_id, bytes(rows[0][3]))
    service.state.change("DELETE FROM job_faces WHERE job = ? AND label = ?", (job_id, label))
    service.state.erase()
    return done


def forget_alike(service: Service, gallery: str, opened: Gallery, subject_id: str) -> int:
    """Remove faces of a subject who is about to be deleted from the jobs of the gallery; how many there were."""
    own = [t.vector for t in opened.templates(subject_id) if t.vector is not None]
    query = "SELECT job, face, vector FROM job_faces WHERE job IN (SELECT id FROM jobs WHERE gallery = ?)"
    rows = service.state.rows(query, (gallery,))
    if not own or not rows:
        return 0
    usable = [t.value for t in opened.thresholds if t.fmr <= _ALIKE_FMR]
    limit = min(usable, default=1.0 - 1e-6)
    vectors = np.array([np.frombuffer(bytes(r[2]), dtype="<f4") for r in rows])
    alike = (vectors @ np.array(own).T).max(axis=1) >= limit
    with service.state.writing() as db:
        for (job, face, _), same in zip(rows, alike.tolist(), strict=True):
            if same:
                db.execute("DELETE FROM job_faces WHERE job = ? AND face = ?", (job, face))
    return int(alike.sum())

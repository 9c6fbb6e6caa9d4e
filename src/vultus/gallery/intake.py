"""From what a caller hands in to what the store takes: templates checked, words checked, requests recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, BadTemplate, ModelMismatch
from vultus.gallery.records import NewTemplate, Request
from vultus.gallery.text import checked_expiry, checked_sha256, checked_text
from vultus.types import FloatArray, Template


@export("vultus.gallery.NewSubject")
@dataclass(frozen=True, slots=True, eq=False)
class NewSubject:
    """One subject of an enrolment of many.

    Args:
        subject_id: opaque identifier, unique in the gallery.
        templates: of the subject, one or several.
        name: for people to read.
        consent: reference to the consent that the templates are kept under.
        expires: from when on they must not be used.
        photo_sha256: of each template's photo, where known.
    """

    subject_id: str
    templates: Sequence[Template]
    name: str | None = None
    consent: str | None = None
    expires: datetime | None = None
    photo_sha256: Sequence[str | None] | None = None


def checked_probe(probe: Template, *, model_id: str, dimension: int | None, gallery: str) -> FloatArray:
    """The vector of a template that belongs to the gallery's model.

    Raises:
        BadArgument: it is no template.
        ModelMismatch: it is of another model.
        BadTemplate: it has another dimension.
    """
    if not isinstance(probe, Template):
        raise BadArgument(f"a template was expected, not {type(probe).__name__}; make one with Recognizer.template")
    if probe.model_id != model_id:
        raise ModelMismatch(
            f"a template of {probe.model_id!r} cannot be used with gallery {gallery}, which holds templates of {model_id!r}"
        )
    if dimension is not None and len(probe.vector) != dimension:
        raise BadTemplate(f"a template of {len(probe.vector)} numbers; the gallery {gallery} holds rows of {dimension}")
    return np.ascontiguousarray(probe.vector, dtype=np.float32)


def new_templates(
    templates: Template | Sequence[Template],
    *,
    model_id: str,
    gallery: str,
    consent: str | None,
    expires: datetime | None,
    photo_sha256: str | Sequence[str | None] | None,
) -> list[NewTemplate]:
    """Templates as the store takes them.

    Raises:
        BadArgument: none, words that are refused, or another number of digests than of templates.
        ModelMismatch, BadTemplate: a template of another model, or one that is damaged.
    """
    several = [templates] if isinstance(templates, Template) else list(templates)
    if not several:
        raise BadArgument("an enrolment without templates; use enrol_blank for one that failed")
    digests = [photo_sha256] if photo_sha256 is None or isinstance(photo_sha256, str) else list(photo_sha256)
    if photo_sha256 is None:
        digests *= len(several)
    if len(digests) != len(several):
        raise BadArgument(f"{len(digests)} photo_sha256 for {len(several)} templates; expected one of each template")
    reference, until = _shared(consent, expires)
    found = []
    for template, digest in zip(several, digests, strict=True):
        vector = checked_probe(template, model_id=model_id, dimension=None, gallery=gallery)
        if template.quality is not None and not np.isfinite(template.quality):
            raise BadTemplate(f"a template's quality is {template.quality!r}; expected a number or None")
        found.append(
            NewTemplate(
                vector.astype("<f4").tobytes(),
                int(template.samples),
                None if template.quality is None else float(template.quality),
                None if digest is None else checked_sha256(digest),
                reference,
                until,
            )
        )
    return found


def blank_template(*, consent: str | None, expires: datetime | None, photo_sha256: str | None) -> NewTemplate:
    """The record of an enrolment that gave no template."""
    reference, until = _shared(consent, expires)
    return NewTemplate(
        None,
        photo_sha256=None if photo_sha256 is None else checked_sha256(photo_sha256),
        consent=reference,
        expires=until,
    )


def _shared(consent: str | None, expires: datetime | None) -> tuple[str | None, int | None]:
    return (
        None if consent is None else checked_text(consent, what="consent"),
        None if expires is None else checked_expiry(expires),
    )


def request_of(
    key: str | None, kind: str, subject_id: str, name: str | None, templates: Sequence[NewTemplate]
) -> Request | None:
    """The key of a request with a digest of everything that was asked for; None without a key."""
    if key is None:
        return None
    words = [[t.samples, t.quality, t.photo_sha256, t.consent, t.expires, t.vector is None] for t in templates]
    digest = hashlib.sha256(json.dumps([kind, subject_id, name, words]).encode())
    for template in templates:
        digest.update(template.vector or b"")
    return Request(checked_text(key, what="idempotency_key"), digest.digest())

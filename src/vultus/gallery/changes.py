"""The changes that can be made to a gallery. Each is on the disk when its call returns, or was not made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from vultus.gallery.decide import Limit
from vultus.gallery.intake import NewSubject, blank_template, new_templates, request_of
from vultus.gallery.opened import Opened
from vultus.gallery.records import Deletion, Enrolment, NewTemplate, Written
from vultus.gallery.text import checked_text
from vultus.types import Candidate, Template

_SIMILAR = 5


class Changes(Opened):
    """A gallery that can be changed."""

    def enrol(
        self,
        subject_id: str,
        templates: Template | Sequence[Template],
        *,
        name: str | None = None,
        consent: str | None = None,
        expires: datetime | None = None,
        photo_sha256: str | Sequence[str | None] | None = None,
        idempotency_key: str | None = None,
    ) -> Enrolment:
        """Make a subject with one or several templates.

        Args:
            subject_id: opaque identifier, unique in the gallery.
            templates: of the gallery's model.
            name: for people to read; data, never a path.
            consent: reference to the consent that the templates are kept under.
            expires: from when on they are not used any more; `purge` removes them.
            photo_sha256: of each template's photo.
            idempotency_key: a repetition with the same key is recognised and not done again.

        Raises:
            BadArgument, BadTemplate, ModelMismatch: what was handed in is refused.
            SubjectExists: the id is taken.
            RequestConflict: the key was used for another request.
            GalleryError: it could not be made durable; nothing was changed.
        """
        made = self._checked(templates, consent, expires, photo_sha256)
        return self._enrol(subject_id, name, made, idempotency_key)

    def enrol_blank(
        self,
        subject_id: str,
        *,
        name: str | None = None,
        consent: str | None = None,
        expires: datetime | None = None,
        photo_sha256: str | None = None,
        idempotency_key: str | None = None,
    ) -> Enrolment:
        """Record a subject whose photos gave no template: it is counted and listed, and never matches.

        Raises:
            BadArgument, SubjectExists, RequestConflict, GalleryError: as for `enrol`.
        """
        blank = blank_template(consent=consent, expires=expires, photo_sha256=photo_sha256)
        return self._enrol(subject_id, name, [blank], idempotency_key)

    def enrol_many(self, subjects: Sequence[NewSubject]) -> list[Enrolment]:
        """Enrol many subjects in one transaction: all of them, or none. Looks for no near duplicates.

        Raises:
            BadArgument, BadTemplate, ModelMismatch, SubjectExists, GalleryError: as for `enrol`; nothing was changed.
        """
        ready = [
            (
                checked_text(s.subject_id, what="subject_id"),
                None if s.name is None else checked_text(s.name, what="name"),
                self._checked(s.templates, s.consent, s.expires, s.photo_sha256),
            )
            for s in subjects
        ]
        done = self._engine.write(
            lambda w: [w.enrol(subject, made, name=name, request=None) for subject, name, made in ready]
        )
        return [Enrolment(s, w.templates, w.revision) for (s, _, _), w in zip(ready, done, strict=True)]

    def add(
        self,
        subject_id: str,
        templates: Template | Sequence[Template],
        *,
        consent: str | None = None,
        expires: datetime | None = None,
        photo_sha256: str | Sequence[str | None] | None = None,
        idempotency_key: str | None = None,
    ) -> Enrolment:
        """Give an enrolled subject more templates.

        Raises:
            SubjectUnknown: it is not enrolled.
            BadArgument, BadTemplate, ModelMismatch, RequestConflict, GalleryError: as for `enrol`.
        """
        made = self._checked(templates, consent, expires, photo_sha256)
        subject = checked_text(subject_id, what="subject_id")
        request = request_of(idempotency_key, "add", subject, None, made)
        similar = self._similar(made, subject)
        done = self._engine.write(lambda w: w.add(subject, made, request=request))
        return Enrolment(subject, done.templates, done.revision, done.replayed, similar)

    def delete(self, subject_id: str) -> Deletion:
        """Remove a subject with all templates, and erase their bytes from the gallery's files.

        Raises:
            SubjectUnknown: it is not enrolled.
            GalleryError: it could not be made durable; nothing was changed.
        """
        subject = checked_text(subject_id, what="subject_id")
        return self._deleted(self._engine.write(lambda w: w.delete(subject)))

    def delete_template(self, subject_id: str, number: int) -> Deletion:
        """Remove one template of a subject, who stays enrolled; `templates` lists the numbers.

        Raises:
            SubjectUnknown, BadArgument: there is no such subject or template.
            GalleryError: it could not be made durable; nothing was changed.
        """
        subject = checked_text(subject_id, what="subject_id")
        return self._deleted(self._engine.write(lambda w: w.delete_template(subject, number)))

    def purge(self) -> Deletion:
        """Remove the templates that have expired, and the subjects whose last ones they were.

        Raises:
            GalleryError: it could not be made durable; nothing was changed.
        """
        return self._deleted(self._engine.write(lambda w: w.purge()))

    def merge(self, subject_id: str, other_id: str) -> int:
        """Give all templates of the other subject to the first, and remove the other; how many there were.

        Raises:
            SubjectUnknown, BadArgument: there are no two such subjects.
            GalleryError: it could not be made durable; nothing was changed.
        """
        one, other = checked_text(subject_id, what="subject_id"), checked_text(other_id, what="other_id")
        merged = self._engine.write(lambda w: w.merge(one, other))
        self._engine.erase(merged)
        return merged.templates

    def rename(self, subject_id: str, name: str | None) -> None:
        """Change the name of a subject; its id stays.

        Raises:
            SubjectUnknown, BadArgument: there is no such subject, or the name is refused.
            GalleryError: it could not be made durable; nothing was changed.
        """
        subject = checked_text(subject_id, what="subject_id")
        new = None if name is None else checked_text(name, what="name")
        self._engine.write(lambda w: w.rename(subject, new))

    def _enrol(
        self, subject_id: str, name: str | None, templates: Sequence[NewTemplate], idempotency_key: str | None
    ) -> Enrolment:
        subject = checked_text(subject_id, what="subject_id")
        words = None if name is None else checked_text(name, what="name")
        request = request_of(idempotency_key, "enrol", subject, words, templates)
        similar = self._similar(templates, subject)
        done = self._engine.write(lambda w: w.enrol(subject, templates, name=words, request=request))
        return Enrolment(subject, done.templates, done.revision, done.replayed, similar)

    def _checked(
        self,
        templates: Template | Sequence[Template],
        consent: str | None,
        expires: datetime | None,
        photo_sha256: str | Sequence[str | None] | None,
    ) -> list[NewTemplate]:
        return new_templates(
            templates,
            model_id=self.model_id,
            gallery=self.name,
            consent=consent,
            expires=expires,
            photo_sha256=photo_sha256,
        )

    def _similar(self, templates: Sequence[NewTemplate], subject_id: str) -> tuple[Candidate, ...]:
        """Other subjects who look like this one: perhaps the same person under another name."""
        if self.near_duplicate is None:
            return ()
        limit = Limit(self.near_duplicate)
        best: dict[str, float] = {}
        for template in templates:
            if template.vector is not None:
                row = np.frombuffer(template.vector, dtype="<f4")
                for candidate in self._search_row(row, lambda _, __: limit, _SIMILAR + 1)[0]:
                    if candidate.subject_id != subject_id:
                        best[candidate.subject_id] = max(candidate.score, best.get(candidate.subject_id, -1.0))
        order = sorted(best.items(), key=lambda entry: -entry[1])[:_SIMILAR]
        return tuple(Candidate(i, subject, score) for i, (subject, score) in enumerate(order, start=1))

    def _deleted(self, written: Written) -> Deletion:
        """An acknowledged deletion, after what it has left behind was erased where the engine can do so."""
        return Deletion(written.templates, written.revision, self._engine.erase(written))

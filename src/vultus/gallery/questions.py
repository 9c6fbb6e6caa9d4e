"""The questions that a gallery answers: who is it, is it this subject, and what is enrolled?"""

from __future__ import annotations

from collections.abc import Iterator

from vultus.errors import BadArgument, SubjectUnknown
from vultus.gallery.decide import Limit, checked_limit, limit_for_fmr, limit_for_fpir
from vultus.gallery.engine import Snapshot
from vultus.gallery.intake import checked_probe
from vultus.gallery.opened import Opened
from vultus.gallery.records import StoredTemplate, Subject
from vultus.gallery.results import Identification, SubjectVerification
from vultus.gallery.rows import row_scores
from vultus.gallery.text import checked_text
from vultus.types import Candidate, Template, Threshold

_PAGE = 1000
_FPIR = 1e-2


class Questions(Opened):
    """A gallery that can be asked."""

    def identify(
        self,
        probe: Template,
        *,
        fpir: float | None = None,
        fmr: float | None = None,
        threshold: float | None = None,
        max_rank: int = 5,
    ) -> Identification:
        """Who is it? The candidates that reach the threshold, best first; none for "nobody".

        Args:
            probe: of the gallery's model.
            fpir: how often a search for a stranger may name somebody; the threshold is scaled to the gallery's size.
                1e-2 unless another of the three is given.
            fmr: the false match rate of a single comparison.
            threshold: a score of your own; the answer then states no rate.
            max_rank: how many candidates at most.

        Raises:
            BadArgument, BadTemplate, ModelMismatch: what was handed in is refused.
            NoThreshold: nothing was measured that supports the rate at this size.
            GalleryError: the gallery cannot be read.
        """
        if sum(v is not None for v in (fpir, fmr, threshold)) > 1:
            raise BadArgument("fpir, fmr and threshold exclude each other; give one of them")
        candidates, limit, compared, revision = self._search(
            probe, lambda reads, size: self._limit(reads, size, fpir, fmr, threshold), max_rank
        )
        return Identification(candidates, limit.value, limit.fpir, limit.basis, compared, revision)

    def search(self, probe: Template, *, max_rank: int = 10) -> tuple[Candidate, ...]:
        """The most similar subjects, best first, whether or not they are alike enough to be one person.

        Raises:
            BadArgument, BadTemplate, ModelMismatch, GalleryError: as for `identify`.
        """
        return self._search(probe, lambda _, __: Limit(-1.0), max_rank)[0]

    def verify_subject(
        self, subject_id: str, probe: Template, *, fmr: float = 1e-4, threshold: float | None = None
    ) -> SubjectVerification:
        """Is it this subject?

        Args:
            subject_id: an enrolled subject.
            probe: of the gallery's model.
            fmr: the false match rate to decide at.
            threshold: decide at this score instead; the answer then states no rate.

        Raises:
            SubjectUnknown: it is not enrolled.
            BadArgument, BadTemplate, ModelMismatch, NoThreshold, GalleryError: as for `identify`.
        """
        subject = checked_text(subject_id, what="subject_id")
        limit = limit_for_fmr(fmr, size=1, measured=self.thresholds) if threshold is None else checked_limit(threshold)
        now = self._clock()
        with self._engine.reading() as reads:
            vector = checked_probe(probe, model_id=self.model_id, dimension=reads.dimension(), gallery=self.name)
            known = list(reads.templates(reads.subject_number(subject)))
        usable = [
            t.vector for t in known if t.vector is not None and (t.expires is None or t.expires.timestamp() > now)
        ]
        scores = [float(row_scores(row[None], vector)[0]) for row in usable]
        score = -1.0 if not scores else max(scores) if self.by == "max" else sum(scores) / len(scores)
        basis = limit.basis if isinstance(limit.basis, Threshold) else None
        match = bool(scores) and score >= limit.value
        return SubjectVerification(match, score, limit.value, basis.fmr if basis else None, subject, basis)

    def subject(self, subject_id: str) -> Subject:
        """What is known of a subject.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        with self._engine.reading() as reads:
            return reads.subject(checked_text(subject_id, what="subject_id"))

    def templates(self, subject_id: str) -> list[StoredTemplate]:
        """The templates of a subject, in the order in which they were added.

        Raises:
            SubjectUnknown: it is not enrolled.
        """
        with self._engine.reading() as reads:
            return list(reads.templates(reads.subject_number(checked_text(subject_id, what="subject_id"))))

    def subjects(self, *, after: str = "") -> Iterator[Subject]:
        """All subjects in the order of their ids; read in portions, between which changes may come.

        Args:
            after: begin with the first id that comes after this one.
        """
        while True:
            with self._engine.reading() as reads:
                page = list(reads.subjects(after=after, limit=_PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].subject_id

    def __len__(self) -> int:
        with self._engine.reading() as reads:
            return reads.totals().subjects

    def __contains__(self, subject_id: object) -> bool:
        if not isinstance(subject_id, str):
            return False
        try:
            self.subject(subject_id)
        except (SubjectUnknown, BadArgument):
            return False
        return True

    def _limit(
        self, reads: Snapshot, size: int, fpir: float | None, fmr: float | None, threshold: float | None
    ) -> Limit:
        if threshold is not None:
            return checked_limit(threshold)
        if fmr is not None:
            return limit_for_fmr(fmr, size=size, measured=self.thresholds)
        rate = _FPIR if fpir is None else fpir
        return limit_for_fpir(
            rate, size=size, measured=self.thresholds, searched=(reads.search_thresholds(), self.searches)
        )

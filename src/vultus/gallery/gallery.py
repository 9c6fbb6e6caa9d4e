"""The gallery: who is enrolled, and which of them, if anybody, does a template show?"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from vultus._export import export
from vultus.calibrate import threshold_at_fmr
from vultus.calibrate.comparisons import require_support
from vultus.errors import BadArgument
from vultus.gallery import archive
from vultus.gallery.changes import Changes
from vultus.gallery.decide import Limit, checked_limit, measured_for, share_interval
from vultus.gallery.index import COMPRESS_FROM
from vultus.gallery.intake import checked_probe
from vultus.gallery.opening import open_engine
from vultus.gallery.questions import Questions
from vultus.gallery.rank import By
from vultus.gallery.recall import Recall, measure_recall
from vultus.gallery.results import Integrity, Stats
from vultus.gallery.text import checked_text
from vultus.types import SearchThreshold, Template, Threshold


@export("vultus.Gallery")
class Gallery(Changes, Questions):
    """Enrolled subjects in one file or on a server, searched by template. Use `Gallery.open`, best in a `with` block.

    Every change is on the disk when its call returns, and every search sees all changes that were acknowledged before
    it started, whichever process made them. One gallery can be used from many threads at once.
    """

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        thresholds: Sequence[Threshold] | None = None,
        searches: Sequence[SearchThreshold] | None = None,
        by: By = "max",
        near_duplicate: float | Literal["auto"] | None = "auto",
        compress_from: int | None = COMPRESS_FROM,
        read_only: bool = False,
        busy_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        key: bytes | str | None = None,
    ) -> Gallery:
        """Open a gallery, or make one where there is none and a model is named.

        Args:
            path: the database file; its log and its index lie beside it. Or the address of a gallery that a server keeps:
                `postgresql://host/database?gallery=staff` (see `vultus.gallery.postgres`) or `qdrant://host/staff` (see
                `vultus.gallery.qdrant`).
            model: `Recognizer.model_id` of the system that its templates are of, or will be.
            thresholds: measured for that system on comparisons; those of the built-in manifests unless told otherwise.
            searches: measured for that system on searches; those of the built-in manifests unless told otherwise.
            by: a subject's score is the highest, or the mean, of its templates' scores.
            near_duplicate: from which score on an enrolment reports other subjects who look alike; "auto" for the
                strictest of the thresholds, None for no such look.
            compress_from: from how many templates on a search looks at codes of two bits a number first; answers are the same
                (see `vultus.gallery.codes`). None to read all rows in every search. Of galleries in files only.
            read_only: never write.
            busy_seconds: how long to wait for another process's change.
            clock: seconds since 1970, for expiry.
            key: 32 random bytes, or a passphrase, of a file that is encrypted; a new file is encrypted with it. No index
                file is kept beside one. `vultus.gallery.rekey` changes it.

        Raises:
            GalleryMissing: there is none, and no model was named to make one for.
            GalleryLocked: the key does not fit, or there should be one, or none.
            ModelMismatch: it holds templates of another model.
            GalleryCorrupt, GalleryTooNew, GalleryBusy, GalleryUnavailable: it cannot be opened.
        """
        if by not in ("max", "mean"):
            raise BadArgument(f"by is {by!r}; expected 'max' or 'mean'")
        if isinstance(near_duplicate, float | int):
            checked_limit(near_duplicate)
        engine = open_engine(
            path,
            model=model,
            read_only=read_only,
            busy_seconds=busy_seconds,
            clock=clock,
            compress_from=compress_from,
            key=key,
        )
        built_in = measured_for(engine.model_id)
        known = built_in[0] if thresholds is None else tuple(thresholds)
        searched = built_in[1] if searches is None else tuple(searches)
        alike = max((t.value for t in known), default=None) if near_duplicate == "auto" else near_duplicate
        return cls(
            engine,
            thresholds=known,
            searches=searched,
            by=by,
            near_duplicate=alike,
            clock=clock,
        )

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back; the index file is brought up to date first."""
        self._engine.close()

    def calibrate(self, probes: Sequence[Template], *, fpir: float, data: str) -> SearchThreshold:
        """Measure the threshold at an FPIR on searches for strangers, and keep it in the gallery.

        Args:
            probes: templates of people who are not enrolled, one a person; at least 30 / fpir of them.
            fpir: the rate to measure at.
            data: name of the data, to stand beside the figure.

        Raises:
            TooFewComparisons: the probes cannot support the rate.
            BadArgument, BadTemplate, ModelMismatch, GalleryError: as for `identify`.
        """
        words = checked_text(data, what="data")
        require_support(fpir, len(probes), what="non-mated searches")
        best, compared = [], 0
        for probe in probes:
            candidates, _, compared, _ = self._search(probe, lambda _, __: Limit(-1.0), 1)
            best.append(candidates[0].score if candidates else -1.0)
        if not compared:
            raise BadArgument(f"gallery {self.name} is empty; enrol the subjects first")
        value = threshold_at_fmr(best, fmr=fpir)
        low, high = share_interval(sum(score >= value for score in best), len(best))
        measured = SearchThreshold(min(1.0, value), fpir, compared, len(best), low, high, words)
        self._engine.write(lambda w: w.set_search_threshold(measured))
        return measured

    def export_archive(self, path: str | os.PathLike[str]) -> int:
        """Write everything into one archive, which `import_archive` reads; how many subjects it holds.

        Raises:
            GalleryError: the gallery cannot be read, or the archive cannot be written.
        """
        return archive.export_archive(self._engine, Path(path))

    def import_archive(self, path: str | os.PathLike[str], *, max_bytes: int = archive.MAX_BYTES) -> int:
        """Enrol all subjects of an archive in one transaction, or none; how many there were.

        Args:
            path: an archive that `export_archive` wrote. Nothing in it is run or written anywhere else.
            max_bytes: what it may unpack to.

        Raises:
            ArchiveRefused: it is damaged, unsafe or too large.
            ModelMismatch: it holds templates of another model.
            SubjectExists: a subject is enrolled already.
            GalleryError: it could not be made durable; nothing was changed.
        """
        return archive.import_archive(self._engine, Path(path), max_bytes=max_bytes)

    def stats(self) -> Stats:
        """The gallery in numbers."""
        with self._engine.reading() as reads:
            totals, revision, dimension = reads.totals(), reads.revision(), reads.dimension()
            searched = tuple(reads.search_thresholds())
        counts = (totals.subjects, totals.templates, totals.blanks)
        return Stats(self.model_id, dimension, *counts, revision, *self._engine.sizes(), searched)

    def recall(self, probes: Sequence[Template], *, max_rank: int = 1) -> Recall:
        """Measure how many of the candidates of an exact search the gallery's own search finds.

        Only where an operator has chosen an approximate index can it be fewer than all, and then mated probes and
        strangers differ: measure both. Nobody should change the gallery meanwhile.

        Args:
            probes: of the gallery's model.
            max_rank: how many candidates count.

        Raises:
            BadArgument, BadTemplate, ModelMismatch, GalleryError: as for `identify`.
        """
        rows = [checked_probe(p, model_id=self.model_id, dimension=None, gallery=self.name) for p in probes]
        return measure_recall(self._engine, rows, max_rank=max_rank, by=self.by, now=self._clock())

    def erase(self) -> bool:
        """Erase the bytes of everything that was deleted and could not be erased at once; whether none is left.

        A file's log is emptied. A server's tables are written anew, which everybody waits for. What a server keeps
        beside its tables, its write-ahead log, replicas and backups, is for its administrator to erase.

        Raises:
            GalleryReadOnly: the gallery was opened to read.
            GalleryError: the storage failed.
        """
        return self._engine.erase(None)

    def verify_integrity(self) -> Integrity:
        """Read everything: the database's own structure, each template, and the index's copy of it."""
        return self._engine.verify()

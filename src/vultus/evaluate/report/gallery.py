"""Where people look first: the pairs that went wrong most, and the photos that gave no template, as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vultus.evaluate.protocol import Pairs
from vultus.evaluate.report.figures import SystemFigures
from vultus.evaluate.report.markup import Markup, element, paragraph, section
from vultus.evaluate.report.pictures import data_uri, short_name, thumbnail
from vultus.evaluate.report.words import count, rate
from vultus.types import Float64Array, IntArray

_FAILURES = 24
PRIVACY = (
    "This page shows photos of the evaluated data and belongs to whoever ran the evaluation. Before it is passed on, the "
    "terms of the data and the rights of the people shown have to allow it; the same page can be written without pictures."
)


class Album:
    """Small pictures of files, each made once."""

    def __init__(self, *, pictures: bool) -> None:
        self.pictures = pictures
        self._made: dict[str, bytes | str] = {}

    def image(self, path: str) -> Markup:
        """The picture of a file, or a box that says why there is none."""
        if path not in self._made:
            self._made[path] = thumbnail(path)
        made = self._made[path]
        if isinstance(made, str):
            return element("div", made, class_="none")
        return element("img", src=data_uri(made, "image/jpeg"), alt=f"photo {short_name(path)}", loading="lazy")


@dataclass(frozen=True, slots=True, eq=False)
class WorstPairs:
    """Pairs of files, (k,) each side, with the (k,) scores of the first system."""

    first: IntArray
    second: IntArray
    scores: Float64Array


def worst_section(
    pairs: Pairs, systems: Sequence[SystemFigures], worst: Mapping[str, WorstPairs], *, album: Album
) -> Markup:
    """The worst pairs of the first system, with what the second one says of them."""
    system = systems[0]
    parts: list[str] = [
        paragraph(
            "Look here for wrong labels, for photos that show another face than the one that is meant, and for what the "
            "system cannot cope with. Comparisons without a score are not here but among the failures to enrol."
        )
    ]
    headings = {"mated": "One person, lowest scores", "non_mated": "Two people, highest scores"}
    if system.cross is not None:
        headings["cross_pairs"] = f"Two people, highest of {system.cross.curve.n_non_mated:,} cross-subject pairs"
    for kind, heading in headings.items():
        chosen = worst[kind]
        also = [(s.label, s.system.extraction.scores(chosen.first, chosen.second)) for s in systems[1:]]
        items = []
        for i, (one, two, score) in enumerate(
            zip(chosen.first.tolist(), chosen.second.tolist(), chosen.scores.tolist(), strict=True)
        ):
            scores = [f"score {score:.3f}", *(f"{name} {_score(values[i])}" for name, values in also)]
            verdict = _verdict(system, score, mated=kind == "mated")
            items.append(_pair((pairs.files[one], pairs.files[two]), scores, verdict, album))
        nothing = paragraph("There is no such comparison with a score.")
        parts += [element("h3", f"{heading} ({system.label})"), _list(items) if items else nothing]
    return section("worst", "The worst pairs", *parts)


def _list(items: Iterable[Markup]) -> Markup:
    return element("ul", *items, class_="pairs")


def _pair(files: tuple[str, str], scores: Sequence[str], verdict: str, album: Album) -> Markup:
    sides = element("div", *(album.image(f) for f in files), class_="sides") if album.pictures else ""
    return element(
        "li",
        sides,
        element("p", " · ".join(scores), class_="score"),
        element("p", verdict, class_="names"),
        *(element("p", short_name(f), class_="names") for f in files),
    )


def _score(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "no score"


def _verdict(system: SystemFigures, score: float, *, mated: bool) -> str:
    """At which of the measured rates the pair is decided wrongly."""
    points = [p for p in system.system.result.points if np.isfinite(p.threshold)]
    wrong = [p.fmr for p in points if (score < p.threshold) == mated]
    if not points:
        return "no threshold was measured"
    if not wrong:
        return "decided rightly at every rate of the table"
    return f"missed at FMR {rate(max(wrong))} and below" if mated else f"matches at FMR {rate(min(wrong))} and above"


def failures_section(systems: Sequence[SystemFigures], *, album: Album) -> Markup:
    """Photos that gave no template, with the reason."""
    parts: list[str] = []
    for figures in systems:
        extraction = figures.system.extraction
        failed = sorted(extraction.failures.items())
        if len(systems) > 1:
            parts.append(element("h3", figures.label))
        if not failed:
            parts.append(paragraph("Every photo gave a template."))
            continue
        affected = int(np.count_nonzero(np.isneginf(figures.scores)))
        parts.append(
            paragraph(
                f"{count(len(failed), 'photo')} gave no template; {count(affected, 'comparison')} failed with "
                f"{'it' if len(failed) == 1 else 'them'} and count as not matching."
            )
        )
        items = [_failure(extraction.files[i], why, album) for i, why in failed[:_FAILURES]]
        parts.append(_list(items))
        if len(failed) > _FAILURES:
            parts.append(paragraph(f"{len(failed) - _FAILURES:,} more are listed in report.json."))
    return section("failures", "Failures to enrol", *parts)


def _failure(path: str, why: str, album: Album) -> Markup:
    code, _, message = why.partition(": ")
    picture = element("div", album.image(path), class_="single") if album.pictures else ""
    return element(
        "li",
        picture,
        element("p", code, class_="score"),
        element("p", message, class_="names"),
        element("p", short_name(path), class_="names"),
    )

"""What was found, in words: the sentences and the large figures at the top of a page."""

from __future__ import annotations

from collections.abc import Sequence

from vultus.evaluate.comparison import PairedFigure, SystemComparison
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.report.figures import SystemFigures
from vultus.evaluate.report.markup import Markup, element, join, paragraph
from vultus.evaluate.report.record import DataIdentity
from vultus.evaluate.report.words import bounds, count, measured, one_in, percent, rate, signed


def cards(figures: SystemFigures) -> Markup:
    """The figures that are looked at first, each with its bounds."""
    shown = []
    if figures.accuracy is not None:
        shown.append(("Accuracy over folds", figures.accuracy))
    shown.append(("Equal error rate", figures.eer))
    boxes = [_card(name, percent(m.value), _bounds(m.interval, m.value, m.reason)) for name, m in shown]
    points = figures.system.result.points
    if points:
        lowest = min(points, key=lambda p: p.fmr)
        name = f"FNMR at FMR {rate(lowest.fmr)}"
        boxes.append(_card(name, percent(lowest.fnmr), _bounds(lowest.interval, lowest.fnmr, "")))
    searches = figures.system.searches
    if searches is not None and searches.points:
        point = min(searches.points, key=lambda p: p.fpir)
        name = f"FNIR at FPIR {rate(point.fpir)}, N = {searches.gallery_size:,}"
        boxes.append(_card(name, percent(point.fnir), _bounds(point.fnir_interval, point.fnir, "")))
    failed = figures.enrolment
    boxes.append(
        _card("Photos without a template", percent(failed.value), _bounds(failed.interval, failed.value, failed.reason))
    )
    return element("div", *boxes, class_="cards")


def _card(name: str, value: str, interval: str) -> Markup:
    return element("div", element("span", name), element("b", value), element("span", interval), class_="card")


def _bounds(interval: Interval | None, value: float, reason: str) -> str:
    return f"no interval: {reason}" if interval is None else bounds(interval, like=value)


def summary(
    pairs: Pairs, data: DataIdentity, systems: Sequence[SystemFigures], comparison: SystemComparison | None
) -> Markup:
    """The findings as sentences."""
    result = systems[0].system.result
    parts = [
        paragraph(
            f"{pairs.name} has {count(result.n_mated + result.n_non_mated, 'comparison')}, {result.n_mated:,} mated and "
            f"{result.n_non_mated:,} non-mated, of {count(data.files, 'photo')} of {count(data.subjects, 'subject')}.",
            "Ranges in parentheses are 95 % intervals: what other subjects of the same kind would be expected to give.",
        )
    ]
    for figures in systems:
        parts += [paragraph(element("strong", f"{figures.label}."), *_sentences(figures)), cards(figures)]
    if comparison is not None:
        parts.append(paragraph(element("strong", "The difference."), *_verdicts(systems, comparison)))
    return join(parts)


def _sentences(figures: SystemFigures) -> list[str]:
    result, sentences = figures.system.result, []
    if figures.accuracy is not None:
        sentences.append(
            f"It decides {measured(figures.accuracy)} of the comparisons rightly, in each fold with the threshold that "
            "the other folds chose."
        )
    sentences.append(
        f"Where both kinds of error are equally frequent, each happens in {measured(figures.eer)} of cases."
    )
    if result.points:
        point = min(result.points, key=lambda p: p.fmr)
        sentences.append(
            f"With one false match allowed in {1 / point.fmr:,.0f} comparisons of two people, it misses "
            f"{percent(point.fnmr)} ({bounds(point.interval, like=point.fnmr)}) of the comparisons of one person; that "
            f"threshold rests on {count(point.comparisons, 'non-mated comparison')}."
        )
    searches = figures.system.searches
    if searches is not None:
        first = searches.cmc[0]
        sentences.append(
            f"Searching {searches.gallery_size:,} enrolled subjects puts the right one first in {percent(first)} "
            f"({bounds(searches.rank_one_interval, like=first)}) of the searches for someone who is enrolled."
        )
    sentences.append(_failures(figures))
    if result.refused:
        sentences.append(
            f"{count(len(result.refused), 'rate was', 'rates were')} refused, because the data cannot support "
            f"{'it' if len(result.refused) == 1 else 'them'}: see below the table."
        )
    return sentences


def _failures(figures: SystemFigures) -> str:
    extraction, interval = figures.system.extraction, figures.enrolment.interval
    text = "" if interval is None else f" ({bounds(interval, like=figures.enrolment.value)})"
    if not extraction.failures:
        return f"Every photo gave a template: failures to enrol {percent(0.0)}{text}."
    failed = len(extraction.failures)
    return (
        f"{failed:,} of {count(len(extraction.files), 'photo')} gave no template, {percent(figures.enrolment.value)}{text}; "
        "their comparisons count as not matching and stay in every denominator."
    )


def _verdicts(systems: Sequence[SystemFigures], comparison: SystemComparison) -> list[str]:
    """One sentence for what is decided, and one for what is not."""
    one, other = systems[0].label, systems[1].label
    sentences = []
    for winner, name in (("one", one), ("other", other)):
        won = [_change(f) for f in comparison.figures if f.better == winner]
        if won:
            sentences.append(f"{name} is better by more than the choice of subjects explains: {'; '.join(won)}.")
    open_ = [f.name for f in comparison.figures if f.better is None]
    if open_:
        sentences.append(f"These data do not tell the two apart in {', '.join(open_)}.")
    return sentences


def _change(figure: PairedFigure) -> str:
    interval = figure.difference.interval
    value, between = signed(figure.difference.value, interval.low, interval.high)
    return f"{figure.name} {value} percentage points ({between})"


def refused(systems: Sequence[SystemFigures]) -> Markup:
    """What was asked for and is not in the tables, and why; what all systems share is said once."""
    whom: dict[tuple[float, str], list[str]] = {}
    for figures in systems:
        for value, why in figures.system.result.refused.items():
            whom.setdefault((value, why), []).append(figures.label)
    items = []
    for (value, why), labels in sorted(whom.items(), key=lambda entry: -entry[0][0]):
        name = "" if len(labels) == len(systems) else f"{labels[0]}, "
        items.append(element("li", element("strong", f"{name}FMR {rate(value)} ({one_in(value)}): "), why))
    if not items:
        return Markup("")
    return join([element("h3", "Refused"), element("ul", *items)])

"""The report: everything known about an evaluation, on one page that needs nothing else and in one JSON document."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable, TooFewComparisons
from vultus.evaluate.comparison import SystemComparison, compare_systems, require_same_files
from vultus.evaluate.protocol import Pairs
from vultus.evaluate.ratio_check import RatioCheck, likelihood_ratio_check
from vultus.evaluate.report import record
from vultus.evaluate.report.figures import SystemFigures, figures_of, worst_pairs
from vultus.evaluate.report.gallery import PRIVACY, Album, WorstPairs, failures_section, worst_section
from vultus.evaluate.report.markup import Markup, element, page, paragraph, section
from vultus.evaluate.report.sections import (
    comparison_section,
    curve_drawings,
    identity_section,
    quality_section,
    rates_section,
    ratios_section,
    searches_section,
)
from vultus.evaluate.report.summary import summary
from vultus.evaluate.report.system import Evaluated, labels
from vultus.evaluate.report.theme import require_matplotlib


@export("vultus.evaluate.write_report")
def write_report(
    folder: str | os.PathLike[str],
    *,
    pairs: Pairs,
    system: Evaluated,
    command: str,
    other: Evaluated | None = None,
    title: str | None = None,
    cross_pairs: bool = False,
    pictures: bool = True,
    worst: int = 12,
    created: datetime | None = None,
    replicates: int = 1_000,
    seed: int = 0,
) -> Path:
    """Write `index.html`, the plots as PNG files and `report.json` into a folder.

    The page holds its pictures and its style, has no script and refers to nothing outside itself.

    Args:
        folder: made where it is missing; files of these names are replaced.
        pairs: the protocol.
        system: what was evaluated.
        command: what the user typed, for whoever repeats it.
        other: a second system on the same files, to compare the first with.
        title: of the page; the protocol's name unless told otherwise.
        cross_pairs: also show all cross-subject pairs of the files, one photo a subject.
        pictures: show the worst pairs and the failures to enrol as pictures.
        worst: how many pairs of each kind are shown.
        created: the date of the report; now unless told otherwise.
        replicates, seed: of the bootstrap over subjects.

    Returns:
        the path of the page.

    Raises:
        BadArgument: templates of other files than the protocol's.
        TooFewComparisons: one kind of comparison is missing.
        SourceUnavailable: the folder cannot be written.
        VultusError: matplotlib is not installed.
    """
    require_matplotlib()
    if worst < 0:
        raise BadArgument(f"worst is {worst}; expected 0 or more")
    evaluated = [system] if other is None else [system, other]
    for one in evaluated:
        require_same_files(pairs, one.extraction)
    figures = [
        figures_of(pairs, one, label, cross_pairs=cross_pairs, replicates=replicates, seed=seed)
        for one, label in zip(evaluated, labels(evaluated), strict=True)
    ]
    checks = [(f.label, _ratios(pairs, f, replicates, seed)) for f in figures]
    comparison = None
    if other is not None:
        rates = sorted({p.fmr for one in evaluated for p in one.result.points}, reverse=True)
        comparison = compare_systems(
            pairs,
            system.extraction,
            other.extraction,
            rates=rates,
            cross_pairs=cross_pairs,
            replicates=replicates,
            seed=seed,
        )
    contents = _Contents(
        title=title or pairs.name,
        command=command,
        created=created or datetime.now(UTC),
        pairs=pairs,
        figures=figures,
        checks=checks,
        comparison=comparison,
        data=record.identify_data(pairs),
        versions=record.software(),
        worst=_worst(pairs, figures[0], worst),
        pictures=pictures,
        replicates=replicates,
    )
    files = _files(contents)
    where = Path(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (where / name).write_bytes(content)
    except OSError as problem:
        raise SourceUnavailable(f"cannot write the report into {str(where)!r}: {problem}") from problem
    return where / "index.html"


@dataclass(frozen=True, slots=True, eq=False)
class _Contents:
    """What a report is made of; `worst` holds (first, second, score) by kind of pair."""

    title: str
    command: str
    created: datetime
    pairs: Pairs
    figures: list[SystemFigures]
    checks: list[tuple[str, RatioCheck | str]]
    comparison: SystemComparison | None
    data: record.DataIdentity
    versions: dict[str, str]
    worst: dict[str, WorstPairs]
    pictures: bool
    replicates: int


def _ratios(pairs: Pairs, figures: SystemFigures, replicates: int, seed: int) -> RatioCheck | str:
    try:
        return likelihood_ratio_check(pairs, figures.system.extraction, replicates=replicates, seed=seed)
    except (TooFewComparisons, BadArgument) as problem:
        return str(problem)


def _worst(pairs: Pairs, system: SystemFigures, count: int) -> dict[str, WorstPairs]:
    chosen = dict(zip(("mated", "non_mated"), worst_pairs(pairs, system.scores, count=count), strict=True))
    found = {kind: WorstPairs(pairs.first[i], pairs.second[i], system.scores[i]) for kind, i in chosen.items()}
    if system.cross is not None:
        top, cross = slice(0, count), system.cross
        found["cross_pairs"] = WorstPairs(cross.first[top], cross.second[top], cross.scores[top])
    return found


def _files(contents: _Contents) -> dict[str, bytes]:
    """The files by name, the page last: where there is a page, the rest is there too."""
    figures, comparison = contents.figures, contents.comparison
    curves = curve_drawings(figures, replicates=contents.replicates)
    searches, search_plots = searches_section(figures)
    ratios, ratio_plots = ratios_section(contents.checks)
    quality, quality_plots = quality_section(figures)
    files = {d.file: d.content for d in curves + search_plots + ratio_plots + quality_plots}
    album = Album(pictures=contents.pictures)
    names = [f.label for f in figures]
    main = element(
        "main",
        section("summary", "Summary", summary(contents.pairs, contents.data, figures, comparison)),
        comparison_section(comparison, names) if comparison is not None else Markup(""),
        rates_section(figures),
        section("curves", "Curves", element("div", *(d.markup for d in curves), class_="plots")),
        searches,
        worst_section(contents.pairs, figures, contents.worst, album=album),
        failures_section(figures, album=album),
        ratios,
        quality,
        identity_section(contents.pairs, contents.data, figures, contents.versions, contents.command),
    )
    document = json.dumps(_record(contents, sorted(files)), indent=1, allow_nan=False) + "\n"
    files["report.json"] = document.encode("ascii")
    files["index.html"] = page(contents.title, _header(contents), main, _footer(contents)).encode("utf-8")
    return files


def _header(contents: _Contents) -> Markup:
    systems = " against ".join(f.system.extraction.model_id for f in contents.figures)
    anchors = {"summary": "Summary"}
    anchors |= {"comparison": "Comparison"} if contents.comparison is not None else {}
    anchors |= {"rates": "Error rates", "curves": "Curves"}
    anchors |= {"searches": "Identification"} if any(f.system.searches for f in contents.figures) else {}
    anchors |= {"worst": "Worst pairs", "failures": "Failures to enrol", "ratios": "Likelihood ratios"}
    anchors |= {"quality": "Quality", "identity": "Data, model, command"}
    when = contents.created
    return element(
        "header",
        element("h1", contents.title),
        paragraph(systems, class_="sub"),
        paragraph(f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip(), class_="sub"),
        element("nav", *(element("a", name, href=f"#{at}") for at, name in anchors.items()), aria_label="Contents"),
        paragraph(PRIVACY, class_="note") if contents.pictures else Markup(""),
    )


def _footer(contents: _Contents) -> Markup:
    return element(
        "footer",
        paragraph(
            f"Written by vultus {contents.versions['vultus']}. Terms follow ISO/IEC 19795-1. Every figure with more digits "
            "stands in report.json beside this page."
        ),
    )


def _record(contents: _Contents, plots: list[str]) -> object:
    systems = [record.system_record(f, c) for f, (_, c) in zip(contents.figures, contents.checks, strict=True)]
    files = contents.pairs.files
    return record.plain(
        {
            "format": record.FORMAT,
            "title": contents.title,
            "created": contents.created.isoformat(),
            "command": contents.command,
            "software": contents.versions,
            "data": contents.data.to_dict(),
            "systems": systems,
            "comparison": None if contents.comparison is None else contents.comparison.to_dict(),
            "worst": {k: record.pairs_record(files, w.first, w.second, w.scores) for k, w in contents.worst.items()},
            "pictures": contents.pictures,
            "plots": plots,
        }
    )

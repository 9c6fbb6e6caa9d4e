"""How figures of an evaluation look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vultus.cli.output import console, table, warn

if TYPE_CHECKING:
    from vultus.evaluate import (
        DetectionResult,
        GroupRate,
        GroupResult,
        IdentificationResult,
        Interval,
        SeverityResult,
        TransferResult,
        VerificationResult,
    )


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.3%} to {interval.high:.3%}"


def show_verification(result: VerificationResult, *, asked: list[float] | None) -> None:
    """The figures of pairs; rates that were asked for by name and refused go to the error stream."""
    console.print(f"[bold]{result.protocol}[/bold], {result.model_id}")
    console.print(
        f"{result.n_mated + result.n_non_mated:,} pairs ({result.n_mated:,} mated), "
        f"{len(result.failures)} photos without a template"
    )
    if result.accuracy is not None:
        console.print(
            f"accuracy {result.accuracy:.3%}, standard deviation over folds {result.accuracy_std:.3%}, "
            f"standard error {result.accuracy_standard_error:.3%}"
        )
    eer = f" ({_bounds(result.eer_interval)})" if result.eer_interval else ""
    console.print(f"EER {result.eer:.3%}{eer}, AUC {result.auc:.5f}")
    table(
        ["FMR", "FNMR", "95 % interval", "threshold", "non-mated comparisons"],
        [
            [f"{p.fmr:g}", f"{p.fnmr:.3%}", _bounds(p.interval), f"{p.threshold:.4f}", f"{p.comparisons:,}"]
            for p in result.points
        ],
    )
    _notes(result.notes, result.failures)
    for rate, why in result.refused.items():
        if asked:
            warn(f"FMR {rate:g} is refused: {why}")


def show_identification(result: IdentificationResult, *, asked: list[float] | None) -> None:
    """The figures of searches."""
    console.print(f"[bold]{result.protocol}[/bold], identification, {result.model_id}")
    console.print(
        f"{result.galleries} galleries of {result.gallery_size:,} subjects; {result.n_mated:,} mated and "
        f"{result.n_non_mated:,} non-mated searches"
    )
    if result.cmc:
        console.print(f"rank 1 without a threshold {result.cmc[0]:.3%} ({_bounds(result.rank_one_interval)})")
    table(
        ["FPIR", "FNIR", "95 % interval", "threshold", "95 % interval of the FPIR", "pairs of subjects behind it"],
        [
            [
                f"{p.fpir:g}",
                f"{p.fnir:.3%}",
                _bounds(p.fnir_interval),
                f"{p.threshold:.4f}",
                _bounds(p.fpir_interval),
                f"{p.subject_pairs:,}{'' if p.supported else ' (too few)'}",
            ]
            for p in result.points
        ],
    )
    _notes(result.notes, ())
    for rate, why in result.refused.items():
        if asked:
            warn(f"FPIR {rate:g} is refused: {why}")


def show_transfer(result: TransferResult) -> None:
    """What became of a threshold that was chosen on other people."""
    console.print(
        f"threshold {result.threshold:.4f} for FPIR {result.fpir:g} from one half of the people, N = {result.gallery_size:,}: "
        f"FPIR {result.realised:.3%} ({_bounds(result.realised_interval)}) on the other half"
    )


def show_severity(result: SeverityResult) -> None:
    """FNMR and failures by factor and severity."""
    rates = list(result.thresholds)
    console.print(f"[bold]{result.protocol}[/bold], {result.pairs:,} mated pairs, {result.model_id}")
    table(
        ["factor", "severity", "no template", *(f"FNMR at FMR {r:g}" for r in rates), "95 % interval of the last"],
        [
            [
                c.factor,
                str(c.severity),
                f"{c.failure_rate:.1%}",
                *(f"{c.fnmr[r]:.2%}" for r in rates),
                _bounds(c.fnmr_intervals[rates[-1]]) if rates else "",
            ]
            for c in result.cells
        ],
    )
    _notes(result.notes, result.failures)


def show_groups(result: GroupResult) -> None:
    """Rates by group; what is withheld says why."""
    console.print(f"[bold]{result.protocol}[/bold], {result.model_id}, threshold {result.threshold:.4f}")
    table(
        ["group", "subjects", "photos", "FMR", "FNMR", "no template"],
        [
            [g.label, f"{g.subjects:,}", f"{g.files:,}", _rate(g.fmr), _rate(g.fnmr), _rate(g.fte)]
            for g in (*result.groups, result.overall)
        ],
    )
    console.print(f"withheld: a rate that fewer than {result.least_errors} errors stand behind")
    _notes(result.notes, ())


def _rate(rate: GroupRate) -> str:
    if rate.rate is None or rate.interval is None:
        return "withheld"
    return f"{rate.rate:.3%} ({_bounds(rate.interval)})"


def show_detection(result: DetectionResult, *, overlap: float) -> None:
    """The figures of detection."""
    console.print(
        f"{result.detector}: {result.photos} photos, {result.faces} faces of {result.smallest:g} pixels or more"
    )
    console.print(f"AP{overlap * 100:.0f} {result.average_precision:.4f}")
    console.print(
        f"recall {result.recall:.4f}, {result.false_positives} false positives at score {result.score:g} and above"
    )
    _notes((), result.failures)


def _notes(notes: tuple[str, ...], failures: tuple[str, ...]) -> None:
    for note in notes:
        console.print(note, markup=False)
    for failure in failures:
        warn(failure)

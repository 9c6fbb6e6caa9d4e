"""Evaluation: protocols, metrics, intervals, thresholds and reports. Every figure says what it rests on."""

from vultus.evaluate.bootstrap import (
    Difference,
    bootstrap_all_pairs,
    bootstrap_all_pairs_difference,
    bootstrap_difference,
    bootstrap_subjects,
)
from vultus.evaluate.bootstrap_figures import bootstrap_fnmr_at_fmr, bootstrap_metric
from vultus.evaluate.clustering_metrics import ClusteringScore, bcubed, pairwise
from vultus.evaluate.detection import DetectionResult, MarkedPhoto, measure_detection, read_marked_photos
from vultus.evaluate.discard import Discard, error_versus_discard
from vultus.evaluate.dyadic import dyadic_interval, dyadic_interval_all_pairs
from vultus.evaluate.extraction import Extraction, extract
from vultus.evaluate.failures import GeneralisedPoint, failure_rate, generalised_at_threshold, gfar, gfrr
from vultus.evaluate.folds import FoldAccuracy, accuracy_by_fold
from vultus.evaluate.histogram import ScoreHistogram, roc_of_histograms
from vultus.evaluate.identification import (
    Searches,
    SearchPoint,
    cmc,
    fnir,
    fnir_at_fpir,
    fpir,
    missed_searches,
    searches,
)
from vultus.evaluate.intervals import Interval, clopper_pearson, rate_interval, rule_of_three, wilson
from vultus.evaluate.likelihood import Reliability, brier_score, cllr, min_cllr, reliability
from vultus.evaluate.metrics import (
    OperatingPoint,
    Roc,
    at_threshold,
    auc,
    det_points,
    eer,
    fmr,
    fnmr,
    fnmr_at_fmr,
    probit,
    roc,
)
from vultus.evaluate.protocol import Pairs, People, read_people
from vultus.evaluate.protocols.lfw import read_lfw
from vultus.evaluate.run import lfw
from vultus.evaluate.streams import AllPairs, all_pairs, all_pairs_tail, mated_pairs
from vultus.evaluate.tail import Tail, TailKeeper
from vultus.evaluate.thresholds import measure_calibration
from vultus.evaluate.verification import RatePoint, VerificationResult, measure_verification

__all__ = [
    "AllPairs",
    "ClusteringScore",
    "DetectionResult",
    "Difference",
    "Discard",
    "Extraction",
    "FoldAccuracy",
    "GeneralisedPoint",
    "Interval",
    "MarkedPhoto",
    "OperatingPoint",
    "Pairs",
    "People",
    "RatePoint",
    "Reliability",
    "Roc",
    "ScoreHistogram",
    "SearchPoint",
    "Searches",
    "Tail",
    "TailKeeper",
    "VerificationResult",
    "accuracy_by_fold",
    "all_pairs",
    "all_pairs_tail",
    "at_threshold",
    "auc",
    "bcubed",
    "bootstrap_all_pairs",
    "bootstrap_all_pairs_difference",
    "bootstrap_difference",
    "bootstrap_fnmr_at_fmr",
    "bootstrap_metric",
    "bootstrap_subjects",
    "brier_score",
    "cllr",
    "clopper_pearson",
    "cmc",
    "det_points",
    "dyadic_interval",
    "dyadic_interval_all_pairs",
    "eer",
    "error_versus_discard",
    "extract",
    "failure_rate",
    "fmr",
    "fnir",
    "fnir_at_fpir",
    "fnmr",
    "fnmr_at_fmr",
    "fpir",
    "generalised_at_threshold",
    "gfar",
    "gfrr",
    "lfw",
    "mated_pairs",
    "measure_calibration",
    "measure_detection",
    "measure_verification",
    "min_cllr",
    "missed_searches",
    "pairwise",
    "probit",
    "rate_interval",
    "read_lfw",
    "read_marked_photos",
    "read_people",
    "reliability",
    "roc",
    "roc_of_histograms",
    "rule_of_three",
    "searches",
    "wilson",
]

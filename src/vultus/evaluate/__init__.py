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
from vultus.evaluate.comparison import PairedFigure, SystemComparison, compare_systems
from vultus.evaluate.conformance.run import ConformanceCheck, ConformanceResult, run_conformance
from vultus.evaluate.detection import DetectionResult, MarkedPhoto, measure_detection, read_marked_photos
from vultus.evaluate.discard import Discard, error_versus_discard
from vultus.evaluate.dyadic import dyadic_interval, dyadic_interval_all_pairs
from vultus.evaluate.extraction import Extraction, extract
from vultus.evaluate.failures import GeneralisedPoint, failure_rate, generalised_at_threshold, gfar, gfrr
from vultus.evaluate.folds import FoldAccuracy, accuracy_by_fold
from vultus.evaluate.groups import Group, GroupRate, GroupResult, measure_groups
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
from vultus.evaluate.labels import Labels, read_labels
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
from vultus.evaluate.open_set import IdentificationResult, measure_open_set, measure_search_lists
from vultus.evaluate.open_set_thresholds import GalleryGrowth, TransferResult, measure_gallery_growth, measure_transfer
from vultus.evaluate.presentation_attack import AttackDetection, AttackRate, attack_detection
from vultus.evaluate.protocol import Pairs, People, read_people
from vultus.evaluate.protocols.bins import PackedPairs, PackedPhotos, extract_crops, read_bin
from vultus.evaluate.protocols.cfp import read_cfp
from vultus.evaluate.protocols.ijb import (
    SearchLists,
    Templates,
    pool_templates,
    read_search_lists,
    read_template_pairs,
    read_templates,
)
from vultus.evaluate.protocols.lfw import read_lfw
from vultus.evaluate.protocols.pair_lists import read_pair_list
from vultus.evaluate.protocols.pairs_csv import read_pairs_csv
from vultus.evaluate.ratio_check import RatioBins, RatioCheck, RatioFit, likelihood_ratio_check
from vultus.evaluate.report.people import pairs_of_people
from vultus.evaluate.report.severity_plot import plot_severity
from vultus.evaluate.report.system import Evaluated, system_facts
from vultus.evaluate.report.write import write_report
from vultus.evaluate.restoration import RestorationCell, RestorationResult, measure_restoration
from vultus.evaluate.run import lfw
from vultus.evaluate.search_rates import SearchRate
from vultus.evaluate.severity import SeverityCell, SeverityResult, measure_severity
from vultus.evaluate.streams import AllPairs, all_pairs, all_pairs_tail, mated_pairs
from vultus.evaluate.tail import Tail, TailKeeper
from vultus.evaluate.thresholds import measure_calibration
from vultus.evaluate.verification import RatePoint, VerificationResult, measure_verification

__all__ = [
    "AllPairs",
    "AttackDetection",
    "AttackRate",
    "ClusteringScore",
    "ConformanceCheck",
    "ConformanceResult",
    "DetectionResult",
    "Difference",
    "Discard",
    "Evaluated",
    "Extraction",
    "FoldAccuracy",
    "GalleryGrowth",
    "GeneralisedPoint",
    "Group",
    "GroupRate",
    "GroupResult",
    "IdentificationResult",
    "Interval",
    "Labels",
    "MarkedPhoto",
    "OperatingPoint",
    "PackedPairs",
    "PackedPhotos",
    "PairedFigure",
    "Pairs",
    "People",
    "RatePoint",
    "RatioBins",
    "RatioCheck",
    "RatioFit",
    "Reliability",
    "RestorationCell",
    "RestorationResult",
    "Roc",
    "ScoreHistogram",
    "SearchLists",
    "SearchPoint",
    "SearchRate",
    "Searches",
    "SeverityCell",
    "SeverityResult",
    "SystemComparison",
    "Tail",
    "TailKeeper",
    "Templates",
    "TransferResult",
    "VerificationResult",
    "accuracy_by_fold",
    "all_pairs",
    "all_pairs_tail",
    "at_threshold",
    "attack_detection",
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
    "compare_systems",
    "det_points",
    "dyadic_interval",
    "dyadic_interval_all_pairs",
    "eer",
    "error_versus_discard",
    "extract",
    "extract_crops",
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
    "likelihood_ratio_check",
    "mated_pairs",
    "measure_calibration",
    "measure_detection",
    "measure_gallery_growth",
    "measure_groups",
    "measure_open_set",
    "measure_restoration",
    "measure_search_lists",
    "measure_severity",
    "measure_transfer",
    "measure_verification",
    "min_cllr",
    "missed_searches",
    "pairs_of_people",
    "pairwise",
    "plot_severity",
    "pool_templates",
    "probit",
    "rate_interval",
    "read_bin",
    "read_cfp",
    "read_labels",
    "read_lfw",
    "read_marked_photos",
    "read_pair_list",
    "read_pairs_csv",
    "read_people",
    "read_search_lists",
    "read_template_pairs",
    "read_templates",
    "reliability",
    "roc",
    "roc_of_histograms",
    "rule_of_three",
    "run_conformance",
    "searches",
    "system_facts",
    "wilson",
    "write_report",
]

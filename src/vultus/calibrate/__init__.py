"""From scores to decisions: the threshold that keeps a false match rate, and the likelihood ratio behind a score.

A match is always `score >= threshold`. A likelihood ratio says how much more probable a score is for two samples of
one subject than for samples of two; it needs no prior and so can be handed to whoever has one.
"""

from vultus.calibrate.comparisons import require_support, required_comparisons, supports
from vultus.calibrate.pooling import pool_adjacent_violators
from vultus.calibrate.ratios import (
    Calibration,
    IsotonicCalibration,
    LogisticCalibration,
    calibration_from_dict,
    fit_isotonic,
    fit_logistic,
)
from vultus.calibrate.thresholds import threshold_at_fmr

__all__ = [
    "Calibration",
    "IsotonicCalibration",
    "LogisticCalibration",
    "calibration_from_dict",
    "fit_isotonic",
    "fit_logistic",
    "pool_adjacent_violators",
    "require_support",
    "required_comparisons",
    "supports",
    "threshold_at_fmr",
]

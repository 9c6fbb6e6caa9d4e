"""Decision boundaries and margins of the losses: from their own logits, by formula, and in features trained in the plane."""

from vultus.analyze.boundaries.closed import closed_boundary
from vultus.analyze.boundaries.curves import slope_curve, target_curve
from vultus.analyze.boundaries.features import TrainedFeatures, train_features
from vultus.analyze.boundaries.margin import angular_margin, boundary_difference, reach
from vultus.analyze.boundaries.numeric import lead, loss_logits, numeric_boundary
from vultus.analyze.boundaries.pair import Pair
from vultus.analyze.boundaries.samples import Samples, digits, faces
from vultus.analyze.boundaries.write import write_features, write_margins

__all__ = [
    "Pair",
    "Samples",
    "TrainedFeatures",
    "angular_margin",
    "boundary_difference",
    "closed_boundary",
    "digits",
    "faces",
    "lead",
    "loss_logits",
    "numeric_boundary",
    "reach",
    "slope_curve",
    "target_curve",
    "train_features",
    "write_features",
    "write_margins",
]

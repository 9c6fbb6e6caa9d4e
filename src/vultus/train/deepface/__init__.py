"""DeepFace (2014): a network of locally connected layers on faces aligned in three dimensions, the ways in which its features
are compared, and the ensemble.
"""

from vultus.train.backbones.deepface.local import LocallyConnected2d, locally_connected2d
from vultus.train.backbones.deepface.network import DeepFace, gradient_view
from vultus.train.deepface.aligning import Aligned3D, align3d, recut
from vultus.train.deepface.comparing import (
    MaxNormalise,
    WeightedChi2,
    WeightedL1,
    fit_weights,
    max_normalise,
    weighted_chi2,
    weighted_l1,
)
from vultus.train.deepface.ensemble import Fusion, equal_fusion, learned_fusion
from vultus.train.deepface.siamese import Siamese, fit_siamese

__all__ = [
    "Aligned3D",
    "DeepFace",
    "Fusion",
    "LocallyConnected2d",
    "MaxNormalise",
    "Siamese",
    "WeightedChi2",
    "WeightedL1",
    "align3d",
    "equal_fusion",
    "fit_siamese",
    "fit_weights",
    "gradient_view",
    "learned_fusion",
    "locally_connected2d",
    "max_normalise",
    "recut",
    "weighted_chi2",
    "weighted_l1",
]

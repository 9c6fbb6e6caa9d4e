"""Losses of face recognition as modules: they hold hyper-parameters, learned numbers, running state and schedules.

A `vultus.train.loss.Loss` may be given to a head, which brings the class centres; a `BatchLoss` is called with
(features, labels) and added to a head's loss. `forward` takes what the function of the same name takes, without what
the module holds. Running state moves in training mode only.
"""

from __future__ import annotations

from vultus.train.nn.adaptive import AdaFace, CurricularFace, MagFace
from vultus.train.nn.batch import BatchLoss, Center, Contrastive, Triplet
from vultus.train.nn.binary import SphereFace2, UniFace
from vultus.train.nn.build import build
from vultus.train.nn.elastic import ElasticArcFace, ElasticArcFacePlus, ElasticCosFace, ElasticCosFacePlus
from vultus.train.nn.extended import UNPG, Ring, UPLoss
from vultus.train.nn.layers import CentredCoordinates, SubcenterMax
from vultus.train.nn.margins import AMSoftmax, ArcFace, CombinedMargin, CosFace
from vultus.train.nn.multiplicative import LSoftmax, SphereFace, SphereFaceR
from vultus.train.nn.plain import COCO, L2Softmax, ModifiedSoftmax, NormFace, Softmax

__all__ = [
    "COCO",
    "UNPG",
    "AMSoftmax",
    "AdaFace",
    "ArcFace",
    "BatchLoss",
    "Center",
    "CentredCoordinates",
    "CombinedMargin",
    "Contrastive",
    "CosFace",
    "CurricularFace",
    "ElasticArcFace",
    "ElasticArcFacePlus",
    "ElasticCosFace",
    "ElasticCosFacePlus",
    "L2Softmax",
    "LSoftmax",
    "MagFace",
    "ModifiedSoftmax",
    "NormFace",
    "Ring",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "SphereFaceR",
    "SubcenterMax",
    "Triplet",
    "UPLoss",
    "UniFace",
    "build",
]

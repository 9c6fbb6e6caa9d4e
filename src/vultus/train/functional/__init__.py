"""Losses of face recognition as functions: tensors in, tensors out, no state.

One rule for all that train class centres. Arguments that hold data come first, in this order, each only where the loss
needs it; hyper-parameters are keyword-only and have the same names and defaults in the class of `vultus.train.nn`.

    cosine, or products     (n, C): unit features times unit class centres, or times the centres as they are
    labels                  (n,): the class of each row, -1 where it is held elsewhere: that row keeps no target
    norms                   (n,): lengths of the features
    centre_norms            (C,): lengths of the class centres
    bias                    (C,)
    running state           what the class holds as a buffer or a learned number

The result is (n, C) logits, for `softmax_loss`, or `binary_loss` where the docstring says so. Half-precision inputs
are computed in float32. Arguments are never written to and may be expanded.
"""

from __future__ import annotations

from vultus.train.functional.adaptive import adaface, adaface_statistics, magface, magface_regulariser
from vultus.train.functional.binary import sphereface2, sphereface2_offset, uniface, uniface_threshold
from vultus.train.functional.bounds import coco_scale, cosface_scale, l2_softmax_scale, normface_floor
from vultus.train.functional.centres import center, center_update, class_centroids, coco, far_from_centre, subcenter_max
from vultus.train.functional.curricular import curricularface, curricularface_t
from vultus.train.functional.elastic import (
    elastic_arcface,
    elastic_arcface_plus,
    elastic_cosface,
    elastic_cosface_plus,
    elastic_draws,
)
from vultus.train.functional.margins import am_softmax, arcface, combined_margin, cosface
from vultus.train.functional.multiplicative import annealed_lambda, l_softmax, psi, sphereface, sphereface_r
from vultus.train.functional.pairs import contrastive, triplet
from vultus.train.functional.plain import l2_softmax, modified_softmax, normface, softmax
from vultus.train.functional.reduce import binary_loss, softmax_loss
from vultus.train.functional.regularise import (
    centred_coordinates,
    centred_statistics,
    ring,
    unpg,
    uploss,
    uploss_regulariser,
)

__all__ = [
    "adaface",
    "adaface_statistics",
    "am_softmax",
    "annealed_lambda",
    "arcface",
    "binary_loss",
    "center",
    "center_update",
    "centred_coordinates",
    "centred_statistics",
    "class_centroids",
    "coco",
    "coco_scale",
    "combined_margin",
    "contrastive",
    "cosface",
    "cosface_scale",
    "curricularface",
    "curricularface_t",
    "elastic_arcface",
    "elastic_arcface_plus",
    "elastic_cosface",
    "elastic_cosface_plus",
    "elastic_draws",
    "far_from_centre",
    "l2_softmax",
    "l2_softmax_scale",
    "l_softmax",
    "magface",
    "magface_regulariser",
    "modified_softmax",
    "normface",
    "normface_floor",
    "psi",
    "ring",
    "softmax",
    "softmax_loss",
    "sphereface",
    "sphereface2",
    "sphereface2_offset",
    "sphereface_r",
    "subcenter_max",
    "triplet",
    "uniface",
    "uniface_threshold",
    "unpg",
    "uploss",
    "uploss_regulariser",
]

"""What a scale must at least be, and what a loss can at best become."""

from __future__ import annotations

import math

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.functional._batch import checked_number


@export("vultus.train.functional.normface_floor")
def normface_floor(classes: int, *, length: float = 1.0) -> float:
    """The least that softmax can become over features and centres of one length: log(1 + (C - 1) exp(-C l^2 / (C - 1))).

    With C = 4,030 and l = 1 that is 7.30, hardly less than log C = 8.30: unit vectors alone cannot be learned.

    Args:
        classes: C, at least 2.
        length: l of features and centres; a scale s on cosines is l^2 = s.

    Raises:
        BadArgument: fewer than two classes, or a length that is not above 0.

    Wang et al., NormFace, ACM MM 2017 (arXiv:1704.06369), proposition 2. It counts as many features of each class.
    """
    _two_classes(classes)
    checked_number(length, name="length", above=0.0)
    exponent = math.log(classes - 1) - classes * length**2 / (classes - 1)
    return max(exponent, 0.0) + math.log1p(math.exp(-abs(exponent)))


@export("vultus.train.functional.l2_softmax_scale")
def l2_softmax_scale(classes: int, *, probability: float = 0.9) -> float:
    """The least alpha with which a share of `probability` can be reached: log(p (C - 2) / (1 - p)).

    With C = 4,030 and p = 0.9 that is 10.5.

    Args:
        classes: C, at least 3.
        probability: p, between 0 and 1.

    Raises:
        BadArgument: fewer than three classes, or a p outside (0, 1).

    Ranjan et al., L2-constrained softmax loss, 2017 (arXiv:1703.09507), the lower bound of alpha. It takes features to
    lie on the centres, and one other centre opposite.
    """
    if classes < 3:
        raise BadArgument(f"classes is {classes}, expected at least 3")
    _probability(probability)
    return math.log(probability * (classes - 2) / (1 - probability))


@export("vultus.train.functional.cosface_scale")
def cosface_scale(classes: int, *, probability: float = 0.9) -> float:
    """The least s with which a share of `probability` can be expected: (C - 1) / C log((C - 1) p / (1 - p)).

    Args:
        classes: C, at least 2.
        probability: p, between 0 and 1.

    Raises:
        BadArgument: fewer than two classes, or a p outside (0, 1).

    Wang et al., CosFace, CVPR 2018 (arXiv:1801.09414), the lower bound of s.
    """
    _two_classes(classes)
    _probability(probability)
    return (classes - 1) / classes * math.log((classes - 1) * probability / (1 - probability))


@export("vultus.train.functional.coco_scale")
def coco_scale(classes: int, *, loss: float) -> float:
    """The least scale with which `coco` can fall to `loss`: 1/2 log((C - 1) / (e^loss - 1)).

    Args:
        classes: C, at least 2.
        loss: what is to be reached, above 0.

    Raises:
        BadArgument: fewer than two classes, or a loss that is not above 0.

    Liu, Li and Wang, Rethinking feature discrimination and polymerization, 2017 (arXiv:1710.00870). It takes the
    cosine of the target to be 1 and all others -1, the most that one could hope for.
    """
    _two_classes(classes)
    checked_number(loss, name="loss", above=0.0)
    return 0.5 * math.log((classes - 1) / math.expm1(loss))


def _two_classes(classes: int) -> None:
    if classes < 2:
        raise BadArgument(f"classes is {classes}, expected at least 2")


def _probability(value: float) -> None:
    if not 0 < value < 1:
        raise BadArgument(f"probability is {value:g}, expected a number between 0 and 1")

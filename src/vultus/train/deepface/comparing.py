"""How DeepFace compares two features: normalised by their maxima, then by a weighted chi-squared or absolute difference.

Taigman et al. 2014, sections 3.2 and 4. Weights are learned from pairs by a linear classifier; scores are higher for pairs
that are more alike.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.errors import BadArgument

_TINY = 1e-12
_ROUNDS = 500


@export("vultus.train.deepface.max_normalise")
def max_normalise(features: Tensor, largest: Tensor) -> Tensor:
    """Each number divided by its largest value over the training set, then each row to length 1.

    Args:
        features: (n, d), none below 0.
        largest: (d,) over the training set; where it is 0 the number is left out.

    Returns:
        (n, d) rows of length 1; a row without a number above 0 stays 0.

    Raises:
        BadArgument: shapes that do not belong together.
    """
    if features.ndim != 2 or largest.shape != features.shape[1:]:
        raise BadArgument(
            f"features have shape {tuple(features.shape)} and largest {tuple(largest.shape)}; expected (d,)"
        )
    scaled = torch.where(largest > 0, features / largest.clamp_min(_TINY), torch.zeros_like(features))
    unit: Tensor = scaled / scaled.norm(dim=1, keepdim=True).clamp_min(_TINY)
    return unit


@export("vultus.train.deepface.MaxNormalise", form_of="vultus.train.deepface.max_normalise")
class MaxNormalise(nn.Module):
    """The class form of `vultus.train.deepface.max_normalise`: holds the largest values.

    Args:
        largest: (d,) over the training set.
    """

    largest: Tensor

    def __init__(self, largest: Tensor) -> None:
        super().__init__()
        self.register_buffer("largest", largest.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """(n, d) to (n, d) rows of length 1."""
        return max_normalise(features, self.largest)


@export("vultus.train.deepface.weighted_chi2")
def weighted_chi2(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """bias - sum of weight (one - other)^2 / (one + other), over the numbers of a feature (section 4.1).

    Args:
        one, other: (n, d), none below 0.
        weight: (d,).
        bias: ().

    Returns:
        (n,) scores; above 0 the classifier that gave the weights says "the same".

    Raises:
        BadArgument: shapes that do not belong together.
    """
    _checked(one, other, weight)
    return bias - chi2_terms(one, other) @ weight


@export("vultus.train.deepface.WeightedChi2", form_of="vultus.train.deepface.weighted_chi2")
class WeightedChi2(nn.Module):
    """The class form of `vultus.train.deepface.weighted_chi2`: holds weights and bias.

    Args:
        weight: (d,).
        bias: ().
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(n,) scores."""
        return weighted_chi2(one, other, self.weight, self.bias)


@export("vultus.train.deepface.weighted_l1")
def weighted_l1(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """bias - sum of weight |one - other|, over the numbers of a feature: the Siamese distance of section 4.2.

    Args:
        one, other: (n, d).
        weight: (d,).
        bias: ().

    Returns:
        (n,) scores; a logistic function of them is the chance of "the same" where they were trained so.

    Raises:
        BadArgument: shapes that do not belong together.
    """
    _checked(one, other, weight)
    return bias - (one - other).abs() @ weight


@export("vultus.train.deepface.WeightedL1", form_of="vultus.train.deepface.weighted_l1")
class WeightedL1(nn.Module):
    """The class form of `vultus.train.deepface.weighted_l1`: holds weights and bias, which can be trained.

    Args:
        weight: (d,).
        bias: ().
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(n,) scores."""
        return weighted_l1(one, other, self.weight, self.bias)


def chi2_terms(one: Tensor, other: Tensor) -> Tensor:
    """(n, d) (one - other)^2 / (one + other), 0 where both are 0."""
    total = one + other
    return torch.where(total > 0, (one - other) ** 2 / total.clamp_min(_TINY), torch.zeros_like(total))


@export("vultus.train.deepface.fit_weights")
def fit_weights(
    terms: Tensor, mated: Tensor, *, loss: Literal["hinge", "logistic"] = "hinge", cost: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The weights and bias of bias - terms @ weight that tell mated pairs from others best.

    Minimises |weight|^2 / 2 + cost * sum of losses, by L-BFGS in float64: the squared hinge of a linear support vector
    machine, or the logistic loss. The bias is not drawn to 0.

    Args:
        terms: (n, d) what grows where two features differ: chi-squared terms, or absolute differences.
        mated: (n,) True where both show one person.
        loss: which.
        cost: of an error against large weights, above 0.

    Returns:
        (d,) weight and () bias.

    Raises:
        BadArgument: shapes that do not belong together, one kind of pair alone, or an option out of range.
    """
    same = torch.as_tensor(mated, dtype=torch.bool)
    if terms.ndim != 2 or same.shape != terms.shape[:1] or not bool(torch.isfinite(terms).all()):
        raise BadArgument(
            f"terms have shape {tuple(terms.shape)} and mated {tuple(same.shape)}; expected finite (n, d) and (n,)"
        )
    if bool(same.all()) or not bool(same.any()):
        raise BadArgument("all pairs are of one kind; weights need mated and non-mated ones")
    if loss not in ("hinge", "logistic") or not cost > 0:
        raise BadArgument(f"loss is {loss!r} and cost {cost!r}; expected 'hinge' or 'logistic', and a cost above 0")
    x = terms.detach().double()
    sign = same.double() * 2 - 1
    spread = (
        x.pow(2).mean(dim=0).sqrt().clamp_min(_TINY)
    )  # the same problem in numbers of one size, which settles sooner
    v = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scaled = x / spread
    solver = torch.optim.LBFGS(
        [v, bias],
        max_iter=_ROUNDS,
        history_size=20,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        solver.zero_grad()
        margin = sign * (bias - scaled @ v)
        each = functional.relu(1 - margin) ** 2 if loss == "hinge" else functional.softplus(-margin)
        total = (v / spread).pow(2).sum() / 2 + cost * each.sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(objective)  # type: ignore[no-untyped-call]
    return (v.detach() / spread).to(terms.dtype), bias.detach().to(terms.dtype)


def _checked(one: Tensor, other: Tensor, weight: Tensor) -> None:
    if one.ndim != 2 or one.shape != other.shape or weight.shape != one.shape[1:]:
        raise BadArgument(
            f"features have shapes {tuple(one.shape)} and {tuple(other.shape)} and weight {tuple(weight.shape)}; expected "
            "(n, d) twice and (d,)"
        )

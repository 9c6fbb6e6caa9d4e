"""The Siamese comparison: the network's top, trained anew on pairs together with the weights of the difference.

Taigman et al. 2014, section 4.2: both photos pass the same network, the absolute difference of their features goes into one
logistic unit, and only the two topmost layers are trained, so that few pairs do not overfit.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.deepface.comparing import WeightedL1


@export("vultus.train.deepface.Siamese")
class Siamese(nn.Module):
    """One top for both photos, and a weighted absolute difference.

    Args:
        top: (n, m) to (n, d): what is trained of the network, such as its last layer. A copy is kept.
        dim: d.
    """

    def __init__(self, top: nn.Module, dim: int) -> None:
        super().__init__()
        self.top = copy.deepcopy(top)
        self.difference = WeightedL1(torch.full((dim,), 1.0 / dim), torch.zeros(()))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(n,) scores of (n, m) and (n, m) inputs of the top; their logistic function is the chance of "the same"."""
        scores: Tensor = self.difference(self.top(one), self.top(other))
        return scores


@export("vultus.train.deepface.fit_siamese")
def fit_siamese(
    top: nn.Module,
    one: Tensor,
    other: Tensor,
    mated: Tensor,
    *,
    epochs: int = 20,
    batch: int = 64,
    rate: float = 0.01,
    decay: float = 1e-4,
    seed: int = 0,
) -> Siamese:
    """Train a Siamese comparison by the cross entropy of pairs.

    Args:
        top: what is trained of the network; it is copied and not changed.
        one, other: (n, m) inputs of the top, by the part of the network below, which stays as it is.
        mated: (n,) True where both show one person.
        epochs: passes over the pairs.
        batch: pairs at once.
        rate: of Adam.
        decay: of the weights.
        seed: of the order of the pairs.

    Raises:
        BadArgument: shapes that do not belong together, or one kind of pair alone.
    """
    same = torch.as_tensor(mated, dtype=torch.bool)
    if one.ndim != 2 or one.shape != other.shape or same.shape != one.shape[:1]:
        raise BadArgument(
            f"inputs have shapes {tuple(one.shape)} and {tuple(other.shape)} and mated {tuple(same.shape)}; expected (n, m) "
            "twice and (n,)"
        )
    if bool(same.all()) or not bool(same.any()):
        raise BadArgument("all pairs are of one kind; a comparison is trained on mated and non-mated ones")
    with torch.no_grad():
        start = top(one[:1])
    siamese = Siamese(top, start.shape[1])
    with torch.no_grad():
        apart = (siamese.top(one) - siamese.top(other)).abs().mean()
        siamese.difference.weight.fill_(1.0 / max(float(apart) * start.shape[1], 1e-12))
        siamese.difference.bias.fill_(1.0)
    solver = torch.optim.AdamW(siamese.parameters(), lr=rate, weight_decay=decay)
    draw = torch.Generator().manual_seed(seed)
    siamese.train()
    for _ in range(epochs):
        for part in torch.split(torch.randperm(len(one), generator=draw), batch):
            solver.zero_grad()
            scores = siamese(one[part], other[part])
            functional.binary_cross_entropy_with_logits(scores, same[part].to(scores)).backward()  # type: ignore[no-untyped-call]
            solver.step()
    return siamese.eval()

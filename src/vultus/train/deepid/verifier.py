"""Features of several networks, joined, reduced by PCA and compared by Joint Bayesian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vultus._export import export
from vultus.errors import BadArgument
from vultus.subspace import PCA, JointBayesian
from vultus.train.data import to_input
from vultus.types import Float64Array, UInt8Array


@export("vultus.train.deepid.extract")
@torch.no_grad()
def extract(
    members: Sequence[nn.Module], crops: UInt8Array, *, mirrored: bool = True, batch: int = 256
) -> Float64Array:
    """The features of all members on all crops, side by side.

    Args:
        members: k networks from (n, 3, 112, 112) in [-1, 1] to (n, d). Their mode is put back afterwards.
        crops: (n, 112, 112, 3) uint8 RGB.
        mirrored: add each member's feature of the mirrored crop, as the paper does.
        batch: crops at once.

    Returns:
        (n, 2 k d), or (n, k d) without the mirrored ones; a member's numbers lie together.

    Raises:
        BadArgument: no member, or crops of another shape.
    """
    if not members:
        raise BadArgument("no members; expected one network or more")
    if crops.ndim != 4 or crops.shape[1:] != (112, 112, 3) or crops.dtype != np.uint8:
        raise BadArgument(f"crops have shape {crops.shape} and type {crops.dtype}; expected (n, 112, 112, 3) uint8")
    modes = [{name: module.training for name, module in member.named_modules()} for member in members]
    parts: list[Float64Array] = []
    try:
        for member in members:
            member.eval()
        for begin in range(0, len(crops), batch):
            pixels = np.ascontiguousarray(crops[begin : begin + batch].transpose(0, 3, 1, 2))
            images = to_input(torch.from_numpy(pixels))
            views = (images, images.flip(3)) if mirrored else (images,)
            parts.append(np.hstack([member(view).double().numpy() for member in members for view in views]))
    finally:
        for member, mode in zip(members, modes, strict=True):
            for name, module in member.named_modules():
                module.training = mode[name]
    return np.concatenate(parts) if parts else np.zeros((0, 0))


@export("vultus.train.deepid.Verifier")
@dataclass(frozen=True, slots=True, eq=False)
class Verifier:
    """Scores features: PCA, then the log likelihood ratio of Joint Bayesian.

    Args:
        pca: fitted.
        joint: fitted to what `pca` gives.
    """

    pca: PCA
    joint: JointBayesian

    def score_pairs(self, one: npt.ArrayLike, other: npt.ArrayLike) -> Float64Array:
        """(n,) natural log likelihood ratio of each row of (n, d) with the same row of another (n, d).

        Raises:
            BadArgument: features that are not (n, d) finite numbers, or of different numbers.
        """
        return self.joint.score_pairs(self.pca.transform(one), self.pca.transform(other))

    def score_matrix(self, probes: npt.ArrayLike, references: npt.ArrayLike) -> Float64Array:
        """(n, m) natural log likelihood ratio of every one of (n, d) with every one of (m, d).

        Raises:
            BadArgument: features that are not (n, d) finite numbers.
        """
        return self.joint.score_matrix(self.pca.transform(probes), self.pca.transform(references))


@export("vultus.train.deepid.fit_verifier")
def fit_verifier(features: npt.ArrayLike, people: npt.ArrayLike, *, components: int = 150) -> Verifier:
    """Fit PCA and Joint Bayesian to the features of people whom the networks were not trained on.

    Networks know the people they were trained on too well: their photos lie closer together than those of strangers.

    Args:
        features: (n, d), as `extract` gives them.
        people: (n,) who is on each.
        components: of the PCA, 150 in the paper; fewer where n or d is smaller.

    Raises:
        BadArgument, TooFewComparisons: as `JointBayesian.fit`.
    """
    rows = np.asarray(features, dtype=np.float64)
    pca = PCA(min(components, *rows.shape)).fit(rows)
    return Verifier(pca, JointBayesian().fit(pca.transform(rows), people))

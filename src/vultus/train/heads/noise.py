"""Which samples are probably mislabelled? Those far from the sub-centre that most samples of their class are nearest to.

A head with several centres for each class gives the clean samples one of them and leaves the others to what does not belong
there (Deng et al. 2020, "Sub-center ArcFace: boosting face recognition by large-scale noisy web faces", section 3.4). Train
with subcenters=3, drop what `label_noise` tells to drop, and train again with one centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.heads.base import Head
from vultus.train.heads.batch import checked_batch, unit
from vultus.train.heads.ranks import Ranks

_AT_ONCE = 4_096


@export("vultus.train.heads.LabelNoise")
@dataclass(frozen=True, slots=True, eq=False)
class LabelNoise:
    """Where the samples of a set lie among the centres of their classes.

    Args:
        keep: (n,) True for samples within the angle.
        angles: (n,) degrees from the class's dominant sub-centre.
        nearest: (n,) number of the nearest sub-centre of the class.
        dominant: (classes,) number of the sub-centre that most samples of the class are nearest to, the first of several;
            -1 for a class without samples.
    """

    keep: Tensor
    angles: Tensor
    nearest: Tensor
    dominant: Tensor

    def __str__(self) -> str:
        dropped = int((~self.keep).sum())
        share = dropped / max(1, len(self.keep))
        return (
            f"{dropped} of {len(self.keep)} samples ({share:.2%}) are too far from the dominant centre of their class; "
            f"median angle {float(self.angles.median()) if len(self.angles) else 0.0:.1f} degrees"
        )


@export("vultus.train.heads.label_noise")
@torch.no_grad()
def label_noise(head: Head, features: Tensor, labels: Tensor, *, max_degrees: float = 75.0) -> LabelNoise:
    """Judge samples by their angle to the dominant sub-centre of their class.

    Args:
        head: trained; with one centre for each class, that one is the dominant one. If it is shared by ranks, all of them
            call this with the same samples.
        features: (n, dim) of samples without augmentation, by the backbone in evaluation.
        labels: (n,) their classes.
        max_degrees: the angle beyond which a sample is to be dropped, in (0, 180].

    Raises:
        BadArgument: an angle out of range.
        BadBatch: see `Chunked`.
    """
    if not 0 < max_degrees <= 180:
        raise BadArgument(f"max_degrees is {max_degrees!r}; expected an angle above 0 and at most 180")
    batch = checked_batch(features, labels, dim=head.dim, classes=head.classes, ranks=Ranks(alone=True))
    k = head.subcenters
    cosines = torch.zeros(len(batch.labels), k, dtype=torch.float64, device=features.device)
    here = ((batch.labels >= head.start) & (batch.labels < head.stop)).nonzero().squeeze(1)
    for rows in torch.split(here, _AT_ONCE):
        centres = head.weight.view(-1, k, head.dim)[batch.labels[rows] - head.start]
        x, _ = unit(batch.features[rows], torch.float64)
        y, _ = unit(centres.flatten(0, 1), torch.float64)
        cosines[rows] = (y.view(len(rows), k, -1) @ x[:, :, None]).squeeze(2)
    head.ranks.summed(cosines)
    nearest = cosines.argmax(dim=1)
    votes = torch.bincount(batch.labels * k + nearest, minlength=head.classes * k).view(head.classes, k)
    dominant = torch.where(votes.any(dim=1), votes.argmax(dim=1), -1)
    cosine = cosines.gather(1, dominant[batch.labels][:, None]).squeeze(1)
    angles = torch.rad2deg(cosine.clamp(-1, 1).acos())
    return LabelNoise(angles <= max_degrees, angles, nearest, dominant)

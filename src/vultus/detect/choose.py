"""Which face of a photo is meant."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, ManyFaces, NoFace
from vultus.types import Faces

Policy = Literal["all", "largest", "central", "one"]


@export("vultus.choose")
def choose(faces: Faces, policy: Policy, *, width: int, height: int) -> Faces:
    """The faces that a policy means.

    Args:
        faces: of one photo.
        policy: "all"; "largest" by area; "central", the one whose box lies nearest to the middle of the photo; or
            "one", which insists that there is exactly one.
        width, height: of the photo.

    Raises:
        NoFace: there is none.
        ManyFaces: several, and the policy is "one".
        BadArgument: no such policy.
    """
    if policy not in get_args(Policy):
        raise BadArgument(f"no policy {policy!r}; expected one of {', '.join(get_args(Policy))}")
    if not len(faces):
        raise NoFace("no face was found; use a sharper or larger photo, or lower the score that detection asks for")
    if policy == "all":
        return faces
    if policy == "one":
        if len(faces) > 1:
            raise ManyFaces(
                f"{len(faces)} faces were found and one was expected; crop the photo, or use policy 'largest'"
            )
        return faces
    boxes = faces.boxes
    if policy == "largest":
        return faces[int(np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))]
    away = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width / 2, height / 2])
    return faces[int(np.argmin(np.hypot(away[:, 0], away[:, 1])))]

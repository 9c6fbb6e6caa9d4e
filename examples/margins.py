"""Boundaries and margins of losses, by root finding and by formula. Run: python examples/margins.py [folder for pictures]"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch

from vultus.analyze.boundaries import (
    Pair,
    angular_margin,
    closed_boundary,
    numeric_boundary,
    slope_curve,
    write_margins,
)
from vultus.train import functional, nn


def main() -> dict[str, object]:
    # 1. The derivation of A-Softmax, step by step. Softmax: where both logits are equal lies a line.
    pair = Pair(math.radians(90), lengths=(1.2, 0.8), biases=(0.3, -0.3))
    (one, two), (b1, b2) = pair.centres, pair.biases
    (u,) = numeric_boundary(nn.Softmax(), pair, norm=2.0)
    x = 2.0 * pair.places([u])[0]
    line = float((one - two) @ x + b1 - b2)
    print(f"softmax: boundary {math.degrees(u):.2f} degrees from W1 at |x| = 2; (W1 - W2) x + b1 - b2 = {line:.1e}")

    # 2. Centres of length 1 and no bias: the boundary lies in the middle, whatever the lengths were.
    (middle,) = numeric_boundary(nn.ModifiedSoftmax(), pair)
    print(f"modified softmax: cos t1 = cos t2 at {math.degrees(middle):.2f} degrees")

    # 3. cos(m t1) = cos(t2): each class keeps 1 / (m + 1) of the angle, and (m - 1) / (m + 1) is margin.
    shares = {}
    for m in (1, 2, 3, 4):
        loss = nn.SphereFace(margin=m, base=0, least=0)
        margin = angular_margin(loss, pair)
        shares[m] = math.nan if margin is None else margin / pair.angle
        print(f"A-Softmax, m = {m}: margin {shares[m]:.6f} of the angle, (m - 1) / (m + 1) = {(m - 1) / (m + 1):.6f}")
    blended = angular_margin(nn.SphereFace(base=0, least=5), pair)
    print(
        f"A-Softmax, m = 4, as trained with lambda = 5: {0 if blended is None else blended / pair.angle:.3f} of the angle"
    )

    # 4. Others, from their own logits and by formula.
    worst = 0.0
    for name, added in (("CosFace", nn.CosFace()), ("ArcFace", nn.ArcFace()), ("combined", nn.CombinedMargin())):
        found, formula = numeric_boundary(added, pair), closed_boundary(added, pair)
        worst = max(worst, float(np.abs(found - formula).max()))
        print(f"{name}: {np.degrees(found)} degrees from W1 by its logits, {np.degrees(formula)} by formula")

    # 5. psi falls from 1 to 1 - 2 m without a step; the slope of ArcFace grows without bound towards its centre.
    theta = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    falls = bool((functional.psi(theta, margin=4).diff() <= 0).all())
    slopes = slope_curve(nn.ArcFace(), [0.1, 0.3, 1.0])
    detached = slope_curve(nn.ArcFace(margin_gradient="detached"), [0.1, 0.3, 1.0])
    print(f"psi falls: {falls}; slope of ArcFace at 0.1, 0.3 and 1: {slopes.round(2)}, detached {detached}")
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        write_margins(sys.argv[1])
        print(f"drawn in {sys.argv[1]}")
    return {"line": line, "middle": middle, "shares": shares, "worst": worst, "falls": falls, "slopes": slopes.tolist()}


if __name__ == "__main__":
    main()

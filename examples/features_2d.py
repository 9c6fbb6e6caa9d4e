"""Features of two numbers under several losses. Run: python examples/features_2d.py [folder for the picture]"""

from __future__ import annotations

import math
import sys

from vultus.analyze.boundaries import digits, train_features, write_features
from vultus.train import nn


def main(epochs: int = 30) -> dict[str, dict[str, float]]:
    samples = digits()
    figures = {}
    for name, loss in (
        ("softmax", nn.Softmax()),
        ("softmax + Ring", nn.Ring(weight=0.1)),
        ("A-Softmax", nn.SphereFace(base=100, gamma=0.5, least=1)),
    ):
        trained = train_features(samples, loss, epochs=epochs)
        figures[name] = {
            "accuracy": trained.accuracy,
            "spread": math.degrees(trained.spread),
            "apart": math.degrees(trained.separation),
            "lengths": trained.length_variation,
        }
        told = figures[name]
        print(
            f"{name:15} {told['accuracy']:.1%} of the held-out digits right; spread {told['spread']:.1f} degrees, nearest "
            f"class {told['apart']:.0f} degrees away, lengths vary by {told['lengths']:.0%}"
        )
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        write_features(sys.argv[1], samples, what="digits of scikit-learn", epochs=epochs)
        print(f"drawn in {sys.argv[1]}")
    return figures


if __name__ == "__main__":
    main()

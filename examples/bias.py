"""The bias of a perceptron is a threshold that is learned; behind a BatchNorm it is nothing. Run: python examples/bias.py"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vultus.analyze.bias import audit_biases, fold_batch_norm
from vultus.calibrate import fit_logistic
from vultus.train.backbones import conv_bn
from vultus.weights import find_weights, load_manifest


def perceptron(scores: torch.Tensor, mated: torch.Tensor, *, steps: int = 400) -> tuple[float, float]:
    """Weight and bias of one neuron, sigmoid(w * s + b), learned by gradient descent; both classes count alike."""
    neuron = nn.Linear(1, 1, dtype=torch.float64)
    optimiser = torch.optim.LBFGS(neuron.parameters(), max_iter=steps, line_search_fn="strong_wolfe")
    share = torch.where(mated, 0.5 / mated.sum(), 0.5 / (~mated).sum())

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        answer = neuron(scores[:, None])[:, 0]
        total = nn.functional.binary_cross_entropy_with_logits(answer, mated.double(), weight=share, reduction="sum")
        total.backward()
        return total

    optimiser.step(loss)
    return neuron.weight.item(), neuron.bias.item()


def main() -> dict[str, float]:
    # 1. A threshold by hand, one that a perceptron learns, and the one of vultus' calibration.
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.55, 0.12, 400), rng.normal(0.05, 0.10, 4000)])
    mated = np.arange(len(scores)) < 400
    weight, bias = perceptron(torch.from_numpy(scores), torch.from_numpy(mated))
    calibrated = fit_logistic(scores, mated)

    def errors(threshold: float) -> str:
        missed, taken = np.mean(scores[mated] < threshold), np.mean(scores[~mated] >= threshold)
        return f"misses {missed:.2%} of the mated pairs and takes {taken:.2%} of the others"

    print("4,400 generated scores: mated N(0.55, 0.12), others N(0.05, 0.10)")
    print(f"  by hand 0.5:                        {errors(0.5)}")
    print(f"  perceptron {weight:.2f} * s {bias:+.2f}, -b / w = {-bias / weight:.4f}: {errors(-bias / weight)}")
    print(f"  vultus.calibrate, -b / w = {calibrated.threshold:.4f}:         {errors(calibrated.threshold)}")

    # 2. A constant before a BatchNorm goes away, whatever it is, and so it learns nothing.
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
    x = torch.randn(4, 3, 16, 16)
    y = norm(layer(x))
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias += 10
    difference = float((norm(layer(x)) - y).detach().abs().max())
    (gradient,) = torch.autograd.grad(norm(layer(x)).pow(3).sum(), layer.bias)
    steepest = gradient.abs().max().item()
    print(f"bias + 10 before a BatchNorm changes the result by {difference:.1e}; its gradient is {steepest:.1e}")

    # 3. So the builder of vultus' backbones makes none, and an audit finds those of other networks.
    print(f"conv_bn(3, 8): bias {conv_bn(3, 8)[0].bias}")
    audit = audit_biases(find_weights(load_manifest("sface-2021dec")).read_bytes())
    named = ", ".join(f"{b.name} ({b.size})" for b in audit.cancelled)
    print(f"SFace: {audit.cancelled_numbers:,} of {audit.numbers:,} numbers in biases do nothing: {named}")

    # 4. After training the norm goes into the convolution, which then has a bias that counts.
    trained = conv_bn(3, 8).eval()
    nn.init.normal_(trained[1].running_mean)  # type: ignore[arg-type]
    folded = fold_batch_norm(trained, (3, 16, 16))
    with torch.no_grad():
        parity = float((folded(x) - trained(x)).abs().max())
    print(f"folded: {folded}, which differs by {parity:.1e}")
    return {
        "perceptron": -bias / weight,
        "calibrated": calibrated.threshold,
        "difference": difference,
        "gradient": steepest,
        "cancelled": audit.cancelled_numbers,
        "parity": parity,
    }


if __name__ == "__main__":
    main()

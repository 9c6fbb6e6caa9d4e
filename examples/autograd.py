"""Gradients of torch in four small steps. Run: python examples/autograd.py"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Quadratic(torch.autograd.Function):
    """3 (x + 2)^2 with a derivative of one's own, 6 (x + 2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 3 * (x + 2) ** 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * 6 * (x + 2)


def main() -> dict[str, Any]:
    # 1. The graph is written while the numbers are computed, and read backwards: d mean(z) / dx = 6 (x + 2) / 4 = 4.5.
    x = torch.ones(2, 2, requires_grad=True)
    z = 3 * (x + 2) ** 2
    z.mean().backward()
    print(f"x = ones(2, 2), z = 3 (x + 2)^2 = {z.flatten().tolist()}, mean {z.mean().item()}")
    print(f"gradient of the mean: {None if x.grad is None else x.grad.flatten().tolist()}")

    # 2. Without a graph: nothing is kept for a way back.
    with torch.no_grad():
        still = 3 * (x + 2) ** 2
    print(f"under no_grad: grad_fn {still.grad_fn}, requires_grad {still.requires_grad}; with a graph: {z.grad_fn}")

    # 3. A function with a derivative of its own, checked against finite differences; large heads compute theirs this way.
    checked = torch.autograd.gradcheck(Quadratic.apply, torch.rand(2, 3, dtype=torch.float64, requires_grad=True))
    own = torch.ones(2, 2, requires_grad=True)
    Quadratic.apply(own).mean().backward()  # type: ignore[no-untyped-call]
    print(
        f"own derivative: {None if own.grad is None else own.grad.flatten().tolist()}, finite differences agree: {checked}"
    )

    # 4. The gradient with respect to the picture shows what a unit looks at.
    picture = torch.zeros(1, 1, 7, 7, requires_grad=True)
    layer = torch.nn.Conv2d(1, 1, 3, padding=1)
    torch.nn.init.ones_(layer.weight)
    (seen,) = torch.autograd.grad(layer(layer(picture))[0, 0, 3, 3], picture)
    print("two 3 x 3 convolutions of ones, the middle unit:")
    for row in seen[0, 0].int().tolist():
        print("  " + " ".join(f"{v:2}" for v in row))
    return {
        "gradient": None if x.grad is None else x.grad.tolist(),
        "own": None if own.grad is None else own.grad.tolist(),
        "kept": still.grad_fn,
        "seen": int((seen > 0).sum()),
    }


if __name__ == "__main__":
    main()

"""Five ways to make a map of features larger, and the checkerboard that some begin with. Run: python examples/upsampling.py"""

from __future__ import annotations

import torch

from vultus.train import upsample


def main() -> dict[str, float]:
    # 1. The values in between: areas side by side, or grid points with the corners kept.
    square = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    for name, larger in (
        ("nearest", upsample.nearest(square)),
        ("bilinear", upsample.bilinear(square)),
        ("bilinear, aligned corners", upsample.bilinear(square, align_corners=True)),
    ):
        print(f"{name + ', first row':38s}", [round(v, 3) for v in larger[0, 0, 0].tolist()])

    # 2. Pooling remembers where its maxima were, and unpooling puts them back.
    x = torch.tensor([[[[1.0, 5, 2, 0], [3, 4, 9, 1], [0, 0, 1, 1], [7, 0, 1, 8]]]])
    maxima, places = upsample.pool(x)
    print(f"{'maxima and their places':38s}", maxima.flatten().tolist(), places.flatten().tolist())
    print(f"{'unpooled, first two rows':38s}", upsample.unpool(maxima, places)[0, 0, :2].tolist())

    # 3. The transposed convolution is the adjoint: <conv(x), y> = <x, transposed(y)>.
    torch.manual_seed(0)
    weight, a, b = torch.randn(3, 2, 2, 2), torch.randn(1, 2, 8, 8), torch.randn(1, 3, 4, 4)
    one = float((torch.nn.functional.conv2d(a, weight, stride=2) * b).sum())
    other = float((a * upsample.transposed(b, weight)).sum())
    print(f"{'<conv(x), y> and <x, transposed(y)>':38s} {one:.5f} {other:.5f}")

    # 4. What each way makes of a constant before it has learned anything.
    constant, figures = torch.ones(1, 8, 64, 64), {}
    places = upsample.pool(torch.rand(1, 8, 128, 128))[1]
    blocks = {way: upsample.Upsample(8, 8, way=way) for way in upsample.WAYS}
    for name, block in (
        *blocks.items(),
        ("pixel_shuffle, random start", upsample.PixelShuffle(8, 8, start="random")),
        ("transposed, random start", upsample.Transposed(8, 8, start="random")),
    ):
        y = block(constant, places) if isinstance(block, upsample.Upsample) else block(constant)
        figures[name] = upsample.checkerboard(y)
        print(f"{'checkerboard of ' + name:46s} {figures[name]:.4f}")
    return figures


if __name__ == "__main__":
    main()

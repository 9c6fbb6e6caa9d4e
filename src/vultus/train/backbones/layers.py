"""Layers that end in a BatchNorm, and therefore carry no bias: the norm takes off whatever constant a bias adds."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vultus._export import export

Activation = Callable[[int], nn.Module]


@export("vultus.train.backbones.conv_bn")
def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = None,
    activation: Activation | None = None,
) -> nn.Sequential:
    """A convolution without bias, its BatchNorm, and an activation where one is asked for.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel.
        stride: step in both directions.
        groups: `inputs` makes the convolution depthwise.
        padding: on each side; half the kernel unless told otherwise, which keeps the size at stride 1.
        activation: makes the activation for a number of channels, such as `nn.PReLU`.
    """
    around = kernel // 2 if padding is None else padding
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=around, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if activation is not None:
        layers.append(activation(outputs))
    return nn.Sequential(*layers)


@export("vultus.train.backbones.linear_bn")
def linear_bn(inputs: int, outputs: int, *, affine: bool = True) -> nn.Sequential:
    """A linear layer without bias and its BatchNorm.

    Args:
        inputs, outputs: features.
        affine: whether the norm learns a scale and a shift.
    """
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, affine=affine))


def fan_out(module: nn.Module) -> None:
    """Start every convolution and linear layer at the variance of He et al. (2015), by the number of outputs."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")

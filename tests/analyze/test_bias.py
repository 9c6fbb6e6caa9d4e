"""Cancelled biases: found, counted and removed with nothing changed; norms folded away with parity."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from vultus.analyze.bias import (
    audit_biases,
    fold_batch_norm,
    remove_cancelled_biases,
    remove_cancelled_biases_of_graph,
)
from vultus.errors import BadArgument
from vultus.train.backbones import build, conv_bn
from vultus.weights import find_weights, load_manifest

SIZE = (3, 10, 12)
Norm = nn.modules.batchnorm._BatchNorm


def lived(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with biases and statistics as if it had been trained, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, Norm):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.normal_(generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
                if part.affine:
                    part.weight.uniform_(0.5, 2, generator=generator)
            bias = getattr(part, "bias", None)
            if isinstance(bias, nn.Parameter):
                bias.normal_(generator=generator)
    return network.eval()


def cancelled(network: nn.Module, size: tuple[int, int, int] = SIZE) -> dict[str, bool]:
    return {b.name: b.cancelled for b in audit_biases(network, size).biases}


def assert_same(one: nn.Module, other: nn.Module, *, tolerance: float = 1e-5) -> None:
    x = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = one(x), other(x)
    assert a.abs().max() > 0.1
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(a.abs().max()))


# --- what is cancelled ------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A sum that goes on to a norm and, past it, to another one."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.norm, self.then = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.last = nn.BatchNorm2d(4) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        total = self.one(x) + self.two(x)
        result: Tensor = self.last(total + torch.relu(self.then(self.norm(total))))
        return result


def sequence(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *layers)


CASES: dict[str, tuple[nn.Module, bool]] = {
    "directly": (sequence(nn.BatchNorm2d(4)), True),
    "no norm": (sequence(nn.ReLU()), False),
    "behind an activation": (sequence(nn.ReLU(), nn.BatchNorm2d(4)), False),
    "through a convolution without padding": (sequence(nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)), True),
    "through a convolution with padding": (
        sequence(nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)),
        False,
    ),
    "through a padded 1 x 1": (sequence(nn.ZeroPad2d(1), nn.BatchNorm2d(4)), False),
    "through mirrored padding": (sequence(nn.ReflectionPad2d(1), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2)), True),
    "through a mean": (sequence(nn.AvgPool2d(2), nn.BatchNorm2d(4)), True),
    "through a mean over padding": (sequence(nn.AvgPool2d(3, 1, padding=1), nn.BatchNorm2d(4)), False),
    "through a maximum": (sequence(nn.MaxPool2d(3, 2, padding=1), nn.BatchNorm2d(4)), True),
    "through resizing": (sequence(nn.Upsample(scale_factor=2, mode="bilinear"), nn.BatchNorm2d(4)), True),
    "through flattening and a linear layer": (sequence(nn.Flatten(), nn.Linear(480, 6), nn.BatchNorm1d(6)), True),
    "through the mean of each map": (sequence(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)), True),
    "an instance norm": (sequence(nn.InstanceNorm2d(4)), True),
    "a group norm": (sequence(nn.GroupNorm(2, 4)), False),
    "dropout in use": (sequence(nn.Dropout(0.5), nn.BatchNorm2d(4)), False),
    "dropout of nothing": (sequence(nn.Dropout(0.0), nn.BatchNorm2d(4)), True),
    "a residual with a norm behind it": (Residual(last=True), True),
    "a residual that comes out": (Residual(last=False), False),
}


def first_bias(network: nn.Module) -> str:
    return "one.bias" if isinstance(network, Residual) else "0.bias"


@pytest.mark.parametrize("case", CASES)
def test_what_is_cancelled_by_gradient_and_by_audit(case: str) -> None:
    network, expected = CASES[case]
    network = lived(copy.deepcopy(network))
    name = first_bias(network)
    assert cancelled(network)[name] is expected
    # in training with the batch's statistics, the gradient of a cancelled bias is zero for any loss
    network.double().train()
    torch.manual_seed(3)
    x = torch.randn(4, *SIZE, dtype=torch.float64)
    y = network(x)
    loss = (y * torch.randn_like(y)).sum() + y.square().mul(torch.randn_like(y)).sum()
    gradients = torch.autograd.grad(loss, [network.get_parameter(name), network.get_parameter(name[:-4] + "weight")])
    share = float(gradients[0].abs().max() / gradients[1].abs().max())
    assert (share < 1e-9) is expected


@pytest.mark.parametrize("case", [case for case, (_, expected) in CASES.items() if expected])
def test_removal_changes_nothing_in_evaluation_and_in_training(case: str) -> None:
    network = lived(copy.deepcopy(CASES[case][0]))
    before = copy.deepcopy(network.state_dict())
    slim = remove_cancelled_biases(network, SIZE)
    assert slim.get_submodule(first_bias(network)[:-5]).bias is None
    assert all(torch.equal(network.state_dict()[k], v) for k, v in before.items())
    assert_same(network, slim)
    assert_same(copy.deepcopy(network).train(), copy.deepcopy(slim).train())
    assert not any(b.cancelled for b in audit_biases(slim, SIZE).biases if b.operator != "batch_norm")


def test_a_shift_before_a_norm_becomes_zero_and_fixed() -> None:
    network = lived(sequence(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)))
    audit = audit_biases(network, SIZE)
    assert [(b.name, b.cancelled, b.cancelled_by) for b in audit.biases] == [
        ("0.bias", True, ("1",)),
        ("1.bias", True, ("3",)),
        ("2.bias", True, ("3",)),
        ("3.bias", False, ()),
    ]
    assert (audit.numbers, audit.cancelled_numbers, len(audit.cancelled)) == (4 + 4 + 2 + 2, 10, 3)
    assert audit.biases[3].why == "it reaches the output"
    assert audit.to_dict()["biases"][3]["why"] == "it reaches the output"
    slim = remove_cancelled_biases(network, SIZE)
    shift = slim.get_parameter("1.bias")
    assert not shift.any()
    assert not shift.requires_grad
    assert_same(network, slim)


def test_a_layer_that_runs_twice_counts_where_one_of_its_results_does() -> None:
    class Twice(nn.Module):
        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.layer, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), norm

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.layer(x))
            result: Tensor = self.other(self.layer(torch.relu(y)))
            return result

    assert cancelled(lived(Twice(nn.BatchNorm2d(3))))["layer.bias"]
    assert not cancelled(lived(Twice(nn.ReLU())))["layer.bias"]
    network = lived(Twice(nn.BatchNorm2d(3)))
    assert_same(network, remove_cancelled_biases(network, SIZE))


def test_a_norm_that_runs_twice_and_meets_two_constants_keeps_them() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            result: Tensor = self.norm(y) + self.norm(2 * y)
            return result

    (found, _) = audit_biases(lived(Shared()), SIZE).biases
    assert "runs twice" in found.why


def test_the_builder_and_the_backbones_have_no_cancelled_bias_of_a_layer() -> None:
    assert set(cancelled(conv_bn(3, 4), SIZE)) == {"1.bias"}
    audit = audit_biases(build("iresnet18", dim=8), (3, 112, 112))
    assert {b.operator for b in audit.biases} == {"batch_norm"}
    # what is left are shifts of norms that run, through sums, into further norms
    assert [b.name for b in audit.cancelled][-2:] == ["blocks.7.residual.5.bias", "norm.bias"]


def test_a_module_needs_a_size() -> None:
    with pytest.raises(BadArgument, match="pass input_size"):
        audit_biases(nn.Conv2d(3, 4, 3))


# --- ONNX -------------------------------------------------------------------------------------------------------------


def run(content: bytes, x: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def test_sface_has_two_biases_that_do_nothing() -> None:
    content = find_weights(load_manifest("sface-2021dec")).read_bytes()
    audit = audit_biases(content)
    assert [(b.name, b.operator, b.size) for b in audit.cancelled] == [
        ("bn1_beta", "BatchNormalization", 1024),
        ("pre_fc1_bias_dequantized", "Gemm", 128),
    ]
    slim = remove_cancelled_biases_of_graph(content)
    from vultus.analyze.onnx_graph import exposing

    x = np.random.default_rng(0).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)
    before, after = run(exposing(content, "pre_fc1", (3, 112, 112)), x)[0], run(slim, x)[0]
    assert np.abs(before).max() > 0.1
    np.testing.assert_allclose(after, before, atol=2e-5 * np.abs(before).max())
    assert [b.name for b in audit_biases(slim).cancelled] == ["bn1_beta_zero"]  # whose numbers are zeros now
    last = [n for n in onnx.load_model_from_string(slim).graph.node if n.op_type == "Gemm"]
    assert [len(n.input) for n in last] == [2]


def test_an_onnx_graph_with_branches() -> None:
    rng = np.random.default_rng(5)

    def array(*shape: int) -> Any:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    constants = {
        "w": array(4, 3, 3, 3),
        "v": array(4, 3, 1, 1),
        **{k: array(4) for k in ("b", "c", "g1", "s1", "m1", "v1", "g2", "s2", "m2", "v2")},
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["p"], pads=[1, 1, 1, 1]),
        node("Conv", ["x", "v", "c"], ["q"]),
        node("Add", ["p", "q"], ["s"]),
        node("BatchNormalization", ["s", "g1", "s1", "m1", "v1"], ["t"]),
        node("MaxPool", ["p"], ["u"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["t", "u"], ["k"]),
        node("BatchNormalization", ["k", "g2", "s2", "m2", "v2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, *SIZE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, *SIZE[1:]))],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    audit = audit_biases(content)
    assert {b.name: b.cancelled_by for b in audit.biases if b.cancelled} == {"b": ("t", "y"), "c": ("t",), "s1": ("y",)}
    x = rng.standard_normal((1, *SIZE)).astype(np.float32)
    before, after = run(content, x)[0], run(remove_cancelled_biases_of_graph(content), x)[0]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


# --- folding ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=16)
@given(
    kind=st.sampled_from(["conv", "turned", "linear", "one"]),
    bias=st.booleans(),
    affine=st.booleans(),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_folded_equals_unfolded(kind: str, bias: bool, affine: bool, groups: int, seed: int) -> None:
    torch.manual_seed(seed)
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(4, 6, 3, groups=groups, bias=bias),
        "turned": nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups, bias=bias),
        "linear": nn.Linear(480, 6, bias=bias),
        "one": nn.Conv1d(4, 6, 3, groups=groups, bias=bias),
    }
    norm = nn.BatchNorm2d(6, affine=affine) if kind in {"conv", "turned"} else nn.BatchNorm1d(6, affine=affine)
    between = {"linear": [nn.Flatten()], "one": [nn.Flatten(2)]}.get(kind, [])
    network = lived(nn.Sequential(nn.Conv2d(3, 4, 1), *between, layers[kind], norm, nn.Identity()), seed)
    folded: Any = fold_batch_norm(network, SIZE)
    assert sum(isinstance(p, Norm) for p in folded.modules()) == 0
    assert sum(isinstance(p, Norm) for p in network.modules()) == 1
    assert_same(network, folded)
    if affine and not (kind == "turned" and groups == 2):  # the two cases that torch's own does not take
        fuse: Any = fuse_linear_bn_eval if kind == "linear" else fuse_conv_bn_eval
        fused = fuse(copy.deepcopy(layers[kind]), norm, **({"transpose": True} if kind == "turned" else {}))
        torch.testing.assert_close(folded[-3].weight, fused.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(folded[-3].bias, fused.bias, rtol=1e-5, atol=1e-5)


def test_folding_leaves_what_cannot_be_folded() -> None:
    class Read(nn.Module):
        """The layer's result is read by something else too."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            result: Tensor = self.norm(y) + y
            return result

    class Twice(Read):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.norm(self.layer(torch.relu(self.norm(self.layer(x)))))
            return result

    for network in (lived(Read()), lived(Twice()), lived(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3)))):
        folded = fold_batch_norm(network, SIZE)
        assert sum(isinstance(p, Norm) for p in folded.modules()) == 1
        assert_same(network, folded)


def test_backbones_fold_with_parity() -> None:
    network = lived(build("mobilefacenet", dim=8))
    folded = fold_batch_norm(network, (3, 112, 112))
    assert sum(isinstance(p, Norm) for p in folded.modules()) == 0
    x = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        y, z = network(x), folded(x)
    torch.testing.assert_close(z, y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))

"""`Chunked` computes what `Dense` defines, for every loss, and both have the right derivatives."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from vultus.errors import TrainingError
from vultus.train import heads, nn

NAMES = (  # noqa: SIM905
    "AMSoftmax AdaFace ArcFace COCO CombinedMargin CosFace CurricularFace ElasticArcFace ElasticArcFacePlus ElasticCosFace "
    "ElasticCosFacePlus L2Softmax LSoftmax MagFace ModifiedSoftmax NormFace Ring Softmax SphereFace SphereFace2 SphereFaceR "
    "UNPG UPLoss UniFace"
).split()


def off(found: Tensor | None, expected: Tensor) -> float:
    """Relative distance."""
    assert found is not None
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


def gradient(of: Tensor | None) -> Tensor:
    """What backward left with a tensor."""
    assert of is not None
    assert of.grad is not None
    return of.grad


def test_the_list_of_losses_is_that_of_the_namespace(cases: ModuleType) -> None:
    assert sorted(cases.losses()) == sorted(NAMES)
    assert len(NAMES) == 24


@pytest.mark.parametrize("subcenters", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_chunked_equals_dense(cases: ModuleType, name: str, subcenters: int) -> None:
    make = cases.losses()[name]
    sizes = {"subcenters": subcenters, "deviation": 0.3, "seed": 3}

    def result(kind: Any, dtype: torch.dtype, **options: Any) -> dict[str, Tensor]:
        head = kind(cases.DIM, cases.CLASSES, make().to(dtype), **sizes, **options).to(dtype)
        found: dict[str, Tensor] = cases.gradients(head, *cases.batch(dtype))
        return found | {k: v.clone() for k, v in head.loss.named_buffers()}

    oracle = result(heads.Dense, torch.float64)
    for keep in (0, 9 * cases.ROWS * 8, 10**6):  # nothing, one chunk, everything
        exact = result(heads.Chunked, torch.float64, chunk=9, keep=keep)
        assert exact.keys() == oracle.keys()
        assert max(off(exact[k], oracle[k]) for k in oracle) < 1e-10
    for options in ({"chunk": 9, "keep": 0}, {"chunk": 9}, {"chunk": 1}, {}):
        single = result(heads.Chunked, torch.float32, **options)
        for key, value in oracle.items():
            assert off(single[key], value) <= 2e-6, key


@pytest.mark.parametrize(
    "name", ["ArcFace", "CurricularFace", "L2Softmax", "LSoftmax", "MagFace", "NormFace", "SphereFace2"]
)
def test_derivatives_by_finite_differences(cases: ModuleType, name: str) -> None:
    head = heads.Chunked(4, 7, cases.made(name, 7), deviation=1.0, chunk=3).double().eval()
    features, labels = cases.batch(torch.float64, rows=5, dim=4, classes=7)
    features = features / features.norm(dim=1, keepdim=True) * torch.linspace(0.5, 15, 5)[:, None]
    inputs = dict(head.named_parameters())

    def loss(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = functional_call(head, dict(zip(inputs, values, strict=True)), (x, labels))
        return found

    values = [v.detach().clone().requires_grad_() for v in inputs.values()]
    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), *values), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_derivatives_with_subcenters_by_finite_differences(cases: ModuleType) -> None:
    head = heads.Chunked(4, 7, nn.CosFace(), subcenters=2, deviation=1.0, chunk=3).double()
    features, labels = cases.batch(torch.float64, rows=5, dim=4, classes=7)

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = functional_call(head, {"weight": weight}, (x, labels))
        return found

    weight = head.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), weight), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_dense_arcface_is_cross_entropy_of_the_loss_as_a_module(cases: ModuleType) -> None:
    """The definition itself, written down a second time with what users call directly."""
    features, labels = cases.batch(torch.float64)
    head = heads.Dense(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0).double()
    cosine = torch.nn.functional.normalize(features) @ torch.nn.functional.normalize(head.weight).T
    expected = torch.nn.functional.cross_entropy(nn.ArcFace()(cosine, labels), labels)
    assert off(head(features, labels), expected) < 1e-14


def test_bias_and_weight_switches_follow_from_the_loss() -> None:
    assert heads.Chunked(3, 4, nn.ArcFace()).bias is None
    with_bias = heads.Chunked(3, 4, nn.Softmax())
    assert with_bias.bias is not None
    assert with_bias.bias.shape == (4,)
    for loss, free in ((nn.Softmax(), True), (nn.ModifiedSoftmax(), False)):
        head = heads.Chunked(3, 4, loss, deviation=1.0)
        features, labels = torch.ones(2, 3), torch.tensor([0, 1])
        with torch.no_grad():
            before = head(features, labels)
            head.weight.mul_(2)
            assert (abs(float(head(features, labels) - before)) > 1e-3) is free


# --- types and memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features(cases: ModuleType, dtype: torch.dtype) -> None:
    features, labels = cases.batch(dtype)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0)
    found = cases.gradients(head, features, labels)
    assert found["features"].dtype == dtype
    assert found["loss"].dtype == found["weight"].dtype == torch.float32
    exact = cases.gradients(
        heads.Dense(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0), features.float(), labels
    )
    assert off(found["loss"], exact["loss"]) < 2e-6
    assert off(found["weight"], exact["weight"]) < 2e-6
    assert off(found["features"], exact["features"]) < torch.finfo(dtype).eps


def test_logits_stay_in_float32_under_autocast(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    for kind in (heads.Dense, heads.Chunked):
        head = kind(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0)
        plain = cases.gradients(head, features, labels)
        head.zero_grad()
        inputs = features.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = head(inputs, labels)
            if kind is heads.Chunked:  # plain autograd would compute in bfloat16 here; torch advises against it
                loss.backward(retain_graph=True)
                assert torch.equal(gradient(inputs), plain["features"])
                inputs.grad, head.weight.grad = None, None
        loss.backward()
        assert torch.equal(loss, plain["loss"])
        assert torch.equal(gradient(inputs), plain["features"])
        assert torch.equal(gradient(head.weight), plain["weight"])


def test_features_may_have_another_precision_than_the_centres(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0)
    found = cases.gradients(head, features, labels)
    assert found["features"].dtype == torch.float64
    assert found["loss"].dtype == torch.float32


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the numbers of elements of everything that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for found in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(found, Tensor):
                self.sizes.add(found.numel())
        return result


@pytest.mark.parametrize("options", [{}, {"sample_rate": 0.5}, {"subcenters": 3}, {"optimizer": heads.SGD(0.1, 0.9)}])
def test_no_tensor_has_a_number_for_each_row_and_class(options: Any) -> None:
    rows, dim, classes = 160, 8, 3_000
    features = torch.randn(rows, dim, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows)
    budget = rows * 256 * 4 * 3  # three chunks
    head = heads.Chunked(dim, classes, nn.ArcFace(), chunk=256, keep=budget, **options)
    with Largest() as seen:
        head(features.requires_grad_(), labels).backward()
    assert max(seen.sizes) == max(head.weight.numel(), rows * 256) < rows * classes // 6
    with Largest() as seen:
        heads.Dense(dim, classes, nn.ArcFace())(features, labels).backward()
    assert rows * classes in seen.sizes  # the measure sees what it is to see


@pytest.mark.parametrize("options", [{}, {"sample_rate": 0.5}, {"optimizer": heads.SGD(0.1, 0.9)}])
def test_the_workspace_does_not_grow_with_the_classes(options: Any) -> None:
    sizes = []
    for classes in (2_560, 25_600):
        head = heads.Chunked(8, classes, nn.ArcFace(), chunk=256, keep=2 * 16 * 256 * 4, **options)
        head(torch.ones(16, 8).requires_grad_(), torch.arange(16)).backward()
        sizes.append(head.space.bytes)
    assert sizes[0] == sizes[1] > 0


# --- numbers ------------------------------------------------------------------------------------------------------------


def test_a_loss_of_128_is_not_hidden() -> None:
    """A fault seen in public code: a probability clamped at 1e-30 shows a loss of 126 as 69."""
    centres = torch.eye(2).repeat_interleave(2, dim=0)
    centres[1::2] *= -1  # 0: +x, 1: -x, 2: +y, 3: -y
    head = heads.Chunked(2, 4, nn.CosFace(margin=0.0, scale=64.0))
    head.weight.data.copy_(centres)
    assert head(torch.tensor([[-5.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(128.0, abs=1e-4)


def test_low_cosines_do_not_underflow() -> None:
    """A fault seen in public code: under a constant offset of s = 64 the sum is 0 where every cosine is -1."""
    head = heads.Chunked(2, 3, nn.CosFace(margin=0.0, scale=640.0))
    head.weight.data.copy_(torch.tensor([[1.0, 0.0], [1.0, 1e-3], [1.0, -1e-3]]))
    features = torch.tensor([[-1.0, 0.0]], requires_grad=True)
    loss = head(features, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(1.0986, abs=1e-3)
    assert torch.isfinite(gradient(head.weight)).all()


def test_all_three_margins_act_at_once(cases: ModuleType) -> None:
    """A fault seen in public code: the angular margin is dropped where the additive one is set."""
    features, labels = cases.batch(torch.float64)
    losses = [
        heads.Chunked(cases.DIM, cases.CLASSES, loss, deviation=1.0).double()(features, labels).item()
        for loss in (nn.CombinedMargin(m1=1.0, m2=0.3, m3=0.2), nn.CombinedMargin(m1=1.0, m2=0.0, m3=0.2))
    ]
    assert losses[0] > losses[1] + 1


def test_features_of_length_0_give_no_gradient() -> None:
    for kind in (heads.Dense, heads.Chunked):
        head = kind(3, 5, nn.ArcFace(), deviation=1.0)
        features = torch.zeros(2, 3)
        features[1] = 1
        features.requires_grad_()
        head(features, torch.tensor([0, 1])).backward()
        assert not gradient(features)[0].any()
        assert gradient(features)[1].any()
        assert torch.isfinite(gradient(head.weight)).all()


@pytest.mark.parametrize("angle", [0.0, 1e-8, 3.1415926])
def test_gradients_are_finite_at_the_ends_of_the_cosine(angle: float) -> None:
    head = heads.Chunked(2, 3, nn.ArcFace(), deviation=1.0)
    head.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    features = torch.tensor([[1.0, angle]] if angle < 1 else [[-1.0, 0.0]], requires_grad=True)
    head(features, torch.tensor([0])).backward()
    assert torch.isfinite(gradient(features)).all()
    assert torch.isfinite(gradient(head.weight)).all()


# --- the graph ----------------------------------------------------------------------------------------------------------


def test_two_forward_passes_before_their_backward_passes(cases: ModuleType) -> None:
    """Accumulated micro-batches, divided, are the gradient of the whole batch, though the second pass reuses the memory."""
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0).double()
    whole = cases.gradients(head, features, labels)
    head.zero_grad()
    halves = [head(features[i : i + 9].clone().requires_grad_(), labels[i : i + 9]) / 2 for i in (0, 9)]
    for half in halves:
        half.backward()
    assert off(head.weight.grad, whole["weight"]) < 1e-13
    head.zero_grad()
    (head(features[:9], labels[:9]) / 2 + head(features[9:], labels[9:]) / 2).backward()
    assert off(head.weight.grad, whole["weight"]) < 1e-13


def test_backward_may_be_repeated_and_scaled(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.NormFace(), deviation=1.0).double()
    features.requires_grad_()
    loss = head(features, labels)
    once = torch.autograd.grad(loss, [features, *head.parameters()], retain_graph=True)
    again = torch.autograd.grad(loss * 3, [features, *head.parameters()])
    for one, three in zip(once, again, strict=True):
        assert off(three, 3 * one) < 1e-13


def test_there_is_no_second_derivative(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace()).double()
    features.requires_grad_()
    with pytest.raises(TrainingError, match=r"no second derivatives; use heads\.Dense"):
        torch.autograd.grad(head(features, labels), features, create_graph=True)


def test_only_what_needs_a_gradient_has_one(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax(), deviation=1.0)
    whole = cases.gradients(head, features, labels)
    head.zero_grad()
    head(features, labels).backward()  # features need none
    assert torch.equal(gradient(head.weight), whole["weight"])
    head.zero_grad()
    head.requires_grad_(False)
    fixed = cases.gradients(head, features, labels)
    assert torch.equal(fixed["features"], whole["features"])
    assert head.weight.grad is None
    with torch.no_grad():
        assert torch.equal(head(features, labels), whole["loss"])


def test_the_compiler_leaves_the_head_alone(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=1.0, sample_rate=0.5)
    expected = head(features, labels)
    head.step = 0
    compiled = torch.compile(lambda x: head(x * 1.0, labels), backend="eager")
    assert torch.equal(compiled(features), expected)

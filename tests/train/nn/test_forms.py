"""One test over all pairs of a function and the module that calls it, and one over all losses that a head can train with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus._export import Entry, forms
from vultus.errors import BadBatch
from vultus.train import functional, nn
from vultus.train.loss import Loss, Rows


def parameters(call: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(call).parameters)


PAIRS = [pair for pair in forms() if pair[1].name.startswith("vultus.train.nn.")]
LOSSES: list[Any] = [
    entry.target for _, entry in PAIRS if isinstance(entry.target, type) and issubclass(entry.target, Loss)
]
# Ring's function gives a regulariser and UNPG's further negatives; all others of these give logits.
LOGITS = [pair for pair in PAIRS if pair[1].target in LOSSES and pair[1].target not in (nn.Ring, nn.UNPG)]
ANGULAR = [pair for pair in LOGITS if "margin_gradient" in parameters(pair[0].target)]

N, C, D, K = 6, 7, 5, 3

# Data that no gradient flows into, as the docstrings say.
NO_GRADIENT = {"t", "mean", "deviation", "draws", "centres", "adaface norms"}
WITHOUT_MARGIN: dict[str, tuple[dict[str, float], Callable[..., Tensor]]] = {
    "am_softmax": ({"margin": 0.0, "scale": 20.0}, functional.normface),
    "adaface": ({"margin": 0.0, "scale": 20.0}, functional.normface),
    "arcface": ({"margin": 0.0, "scale": 20.0}, functional.normface),
    "coco": ({"scale": 20.0}, functional.normface),
    "combined_margin": ({"m1": 1.0, "m2": 0.0, "m3": 0.0, "scale": 20.0}, functional.normface),
    "cosface": ({"margin": 0.0, "scale": 20.0}, functional.normface),
    "elastic_arcface": ({"margin": 0.0, "sigma": 0.0, "scale": 20.0}, functional.normface),
    "elastic_arcface_plus": ({"margin": 0.0, "sigma": 0.0, "scale": 20.0}, functional.normface),
    "elastic_cosface": ({"margin": 0.0, "sigma": 0.0, "scale": 20.0}, functional.normface),
    "elastic_cosface_plus": ({"margin": 0.0, "sigma": 0.0, "scale": 20.0}, functional.normface),
    "l_softmax": ({"margin": 1.0}, functional.softmax),
    "magface": ({"low_margin": 0.0, "high_margin": 0.0, "scale": 20.0}, functional.normface),
    "sphereface": ({"margin": 1.0}, functional.modified_softmax),
    "sphereface_r": ({"margin": 1.0, "scale": 20.0}, functional.normface),
    "uploss": ({}, functional.softmax),
}


def short(pair: tuple[Entry, Entry]) -> str:
    return pair[0].name.rpartition(".")[2]


every_pair = pytest.mark.parametrize("pair", PAIRS, ids=short)
every_logits = pytest.mark.parametrize("pair", LOGITS, ids=short)
every_loss = pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)


def made(kind: Any, **options: Any) -> Any:
    wanted = parameters(kind)
    options |= {key: value for key, value in (("classes", C), ("dim", D)) if key in wanted}
    if kind is nn.UPLoss:
        options.setdefault("promoted", [1, 4])
    if kind is nn.Ring:
        options.setdefault("radius", 30.0)
    return kind(**options).eval()


def positional(call: Any) -> list[str]:
    return [x.name for x in parameters(call).values() if x.kind is x.POSITIONAL_OR_KEYWORD]


def hyper(call: Any) -> dict[str, Any]:
    return {x.name: x.default for x in parameters(call).values() if x.kind is x.KEYWORD_ONLY}


def data(dtype: torch.dtype = torch.float64, seed: int = 0, *, subcenters: int = 1) -> dict[str, Tensor]:
    """One of everything that a forward may ask for. No cosine lies near a kink."""
    drawn = torch.Generator().manual_seed(seed)
    features = torch.randn(N, D, generator=drawn, dtype=torch.float64) * 8
    weight = torch.randn(C * subcenters, D, generator=drawn, dtype=torch.float64)
    unit = features / features.norm(dim=1, keepdim=True)
    given = {
        "cosine": unit @ (weight / weight.norm(dim=1, keepdim=True)).T,
        "products": unit @ weight.T,
        "norms": features.norm(dim=1),
        "centre_norms": weight.norm(dim=1),
        "bias": torch.randn(C, generator=drawn, dtype=torch.float64),
        "features": features,
    }
    return {key: value.to(dtype) for key, value in given.items()} | {"labels": torch.tensor([0, 1, 2, 6, 1, 4])}


def arguments(module: Any, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Any]:
    """What the function takes: data of the batch, and state of the module."""
    given = data(dtype, seed, subcenters=K if isinstance(module, nn.SubcenterMax) else 1)
    asked = positional(functional_of(module))
    own = positional(module.forward)
    return {x: given[x] if x in own else state(module, x, given) for x in asked}


def state(module: Any, name: str, given: dict[str, Tensor]) -> Any:
    if name == "draws":
        return module.draws(len(given["labels"]))
    return getattr(module, name)


def functional_of(module: Any) -> Callable[..., Tensor]:
    (found,) = [function.target for function, entry in PAIRS if entry.target is type(module)]
    return found  # type: ignore[return-value]


def forward(module: Any, given: dict[str, Any]) -> Tensor:
    result: Tensor = module(*[given[x] for x in positional(module.forward)])
    return result


def options_of(module: Any) -> dict[str, Any]:
    return {x: getattr(module, x) for x in hyper(functional_of(module))}


# --- the pairs --------------------------------------------------------------------------------------------------------


def test_all_pairs_are_here() -> None:
    assert len(PAIRS) == 29
    assert len(LOSSES) == 24
    assert len(LOGITS) == 22
    # What is not here is plain, additive in the cosine, or tested by its own formula.
    rest = {"softmax", "modified_softmax", "l2_softmax", "normface", "curricularface", "sphereface2", "uniface"}
    assert {short(pair) for pair in LOGITS} - set(WITHOUT_MARGIN) == rest
    assert len(ANGULAR) == 11
    assert len({module.name for _, module in PAIRS}) == 29
    paired = {module.name.rpartition(".")[2] for _, module in PAIRS}
    assert paired | {"BatchLoss", "build"} == set(nn.__all__)


@every_pair
def test_names_and_defaults_are_the_same(pair: tuple[Entry, Entry]) -> None:
    function, kind = pair[0].target, pair[1].target
    constructor = parameters(kind)
    for name, default in hyper(function).items():
        assert constructor[name].default == default, name
    asked, own = positional(function), positional(made(kind).forward)
    assert own == [x for x in asked if x in own]
    held = [x for x in asked if x not in own]
    assert all(hasattr(made(kind), x if x != "draws" else "draws") for x in held)
    assert asked[: len(own)] == own


@every_pair
def test_outputs_and_gradients_are_the_same(pair: tuple[Entry, Entry]) -> None:
    module = made(pair[1].target)
    given = arguments(module)
    for x in given.values():
        if isinstance(x, Tensor) and x.is_leaf and x.is_floating_point():
            x.requires_grad_()
    function: Any = pair[0].target
    results = []
    for result in (forward(module, given), function(**given, **options_of(module))):
        leaves = [x for x in given.values() if isinstance(x, Tensor) and x.requires_grad and x.is_leaf]
        total = result.masked_fill(result == -torch.inf, 0).square().sum()
        results.append([result.detach(), *torch.autograd.grad(total, leaves, allow_unused=True)])
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][0].isfinite().any()


@every_pair
def test_inputs_are_left_alone_and_may_be_expanded(pair: tuple[Entry, Entry]) -> None:
    module = made(pair[1].target)
    given = arguments(module)
    before = {key: x.clone() for key, x in given.items() if isinstance(x, Tensor)}
    forward(module.train(), given)
    module = made(pair[1].target)
    forward(module, given)
    assert all(torch.equal(given[key], x) for key, x in before.items() if key not in dict(module.named_buffers()))

    narrow = {key: x[:1] if key in positional(module.forward) and len(x) == N else x for key, x in given.items()}
    spread = {
        key: x.expand(N, *x.shape[1:]) if key in positional(module.forward) and len(x) == 1 else x
        for key, x in narrow.items()
    }
    copied = {key: x.clone() if isinstance(x, Tensor) else x for key, x in spread.items()}
    assert any(isinstance(x, Tensor) and 0 in x.stride() for x in spread.values())
    assert torch.equal(forward(module, spread), forward(module, copied))


@every_pair
def test_gradients_equal_finite_differences(pair: tuple[Entry, Entry]) -> None:
    module = made(pair[1].target)
    function: Any = pair[0].target
    options = options_of(module)
    if "margin_gradient" in options:
        options["margin_gradient"] = "exact"
    given = arguments(module)
    floating = [x for x, v in given.items() if isinstance(v, Tensor) and v.is_floating_point()]
    moving = [x for x in floating if not {x, f"{short(pair)} {x}"} & NO_GRADIENT]
    leaves = [given[x].detach().double().clone().requires_grad_() for x in moving]
    fixed = {key: x for key, x in given.items() if key not in moving}

    def call(*tensors: Tensor) -> Tensor:
        result: Tensor = function(**dict(zip(moving, tensors, strict=True)), **fixed, **options)
        return result.masked_fill(result == -torch.inf, 0)

    for name in set(floating) - set(moving):
        still = given | {name: given[name].detach().clone().requires_grad_()}
        assert not function(**still, **options).requires_grad
    assert leaves
    assert torch.autograd.gradcheck(call, leaves, eps=1e-6, atol=1e-5, rtol=1e-4)


@every_pair
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_single(pair: tuple[Entry, Entry], dtype: torch.dtype) -> None:
    module = made(pair[1].target).float()
    halves = arguments(module, dtype)
    own = positional(module.forward)
    singles = {k: x.float() if k in own and x.is_floating_point() else x for k, x in halves.items()}
    result = forward(module, halves)
    assert result.dtype == torch.float32
    assert torch.equal(result, forward(module, singles))


@every_pair
def test_bad_input_is_refused_and_changes_no_state(pair: tuple[Entry, Entry]) -> None:
    module = made(pair[1].target).train()
    before = {key: x.clone() for key, x in module.state_dict().items()}
    given = arguments(module)
    first = positional(module.forward)[0]
    for value in (float("nan"), float("inf")):
        broken = given[first].clone()
        broken.view(-1)[3] = value
        with pytest.raises(BadBatch, match=rf"{first}.*expected finite"):
            forward(module, given | {first: broken})
    with pytest.raises(BadBatch, match=first):
        forward(module, given | {first: given[first].unsqueeze(0)})
    if "labels" in given:
        with pytest.raises(BadBatch, match="labels are"):
            forward(module, given | {"labels": given["labels"][:-1]})
        with pytest.raises(BadBatch, match="labels are"):
            forward(module, given | {"labels": given["labels"].double()})
        with pytest.raises(BadBatch, match=r"labels\[2\] is -2"):
            forward(module, given | {"labels": given["labels"].index_fill(0, torch.tensor(2), -2)})
    if {"cosine", "products"} & set(given) and "labels" in given:
        with pytest.raises(BadBatch, match=rf"labels\[2\] is {C}, expected 0 to {C - 1}"):
            forward(module, given | {"labels": given["labels"].index_fill(0, torch.tensor(2), C)})
    if "cosine" in given:
        with pytest.raises(BadBatch, match=r"expected \[-1, 1\]"):
            forward(module, given | {"cosine": given["cosine"] * 2})
    for name in ("norms", "centre_norms", "bias"):
        if name in positional(module.forward)[1:]:
            with pytest.raises(BadBatch, match=name):
                forward(module, given | {name: given[name][:-1]})
    assert all(torch.equal(before[key], x) for key, x in module.state_dict().items())


def test_eval_freezes_state_and_training_moves_it() -> None:
    moved = set()
    for _, entry in PAIRS:
        module: Any = made(entry.target, **({"radius": None} if entry.target is nn.Ring else {}))
        before = {key: x.clone() for key, x in module.state_dict().items()}
        given = arguments(module)
        forward(module, given)
        assert all(torch.equal(before[key], x) for key, x in module.state_dict().items())
        forward(module.train(), given)
        if any(not torch.equal(before[key], x) for key, x in module.state_dict().items()):
            moved.add(entry.name.rpartition(".")[2])
    assert moved == {
        "AdaFace",
        "Center",
        "CentredCoordinates",
        "CurricularFace",
        "ElasticArcFace",
        "ElasticArcFacePlus",
        "ElasticCosFace",
        "ElasticCosFacePlus",
        "LSoftmax",
        "Ring",
        "SphereFace",
    }


# --- the logits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [pair for pair in LOGITS if short(pair) in WITHOUT_MARGIN], ids=short)
def test_without_margin_the_base_loss_remains(pair: tuple[Entry, Entry]) -> None:
    zero, base = WITHOUT_MARGIN[short(pair)]
    module = made(pair[1].target)
    given = arguments(module)
    function: Any = pair[0].target
    own = {key: x for key, x in given.items() if key in positional(base)}
    scale = {"scale": 20.0} if "scale" in hyper(base) else {}
    torch.testing.assert_close(
        function(**given, **zero),
        base(**own, **scale),
        rtol=1e-12,
        atol=1e-12,
    )


@every_logits
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_finite_at_the_ends(pair: tuple[Entry, Entry], dtype: torch.dtype) -> None:
    """Every cosine +-1, or beyond by rounding, or where theta + m > pi; every `far`."""
    module = made(pair[1].target)
    function: Any = pair[0].target
    ends = torch.tensor([1.0, -1.0, 1 + 1e-6, -1 - 1e-6, -0.9999, -0.95], dtype=dtype)
    tables = hyper(function)
    for far in ("linear", "easy", "cosine", "psi") if "far" in tables else ("",):
        if far in {"linear", "easy"} and short(pair) == "combined_margin":
            continue
        given = arguments(module, dtype)
        first = positional(function)[0]
        matrix = ends.unsqueeze(1).expand(N, C).clone()
        if first == "products":
            matrix = matrix * given["centre_norms"] if "centre_norms" in given else matrix
        given[first] = matrix.requires_grad_()
        logits = function(**given, **({"far": far} if far else {}))
        assert logits.isfinite().all()
        assert logits.dtype == dtype
        (slope,) = torch.autograd.grad(logits.sum(), given[first])
        assert slope.isfinite().all()


@every_logits
def test_a_row_without_its_class_keeps_the_other_logits(pair: tuple[Entry, Entry]) -> None:
    module = made(pair[1].target, **({"far": "linear"} if pair[1].target is nn.MagFace else {}))
    given = arguments(module)
    whole = forward(module, given)
    labels = given["labels"].clone()
    labels[3] = -1
    split = forward(module, given | {"labels": labels})
    rest = [0, 1, 2, 4, 5]
    assert torch.equal(split[rest], whole[rest])
    # Column 6 is that of the missing class; as another class's it has the map of the others.
    other = forward(module, given | {"labels": torch.full((N,), 2)})
    if isinstance(module, nn.CurricularFace):
        other = functional.normface(given["cosine"], given["labels"], scale=module.scale)
    columns = [0, 1, 3, 4, 5, 6]
    assert torch.equal(split[3, columns], other[3, columns])
    assert whole[3, 6] != split[3, 6] or isinstance(
        module, nn.Softmax | nn.ModifiedSoftmax | nn.L2Softmax | nn.NormFace | nn.COCO | nn.UPLoss
    )


@pytest.mark.parametrize("pair", ANGULAR, ids=short)
def test_margin_gradient_detached_has_the_slope_of_the_scale(pair: tuple[Entry, Entry]) -> None:
    function: Any = pair[0].target
    module = made(pair[1].target)
    given = arguments(module)
    first = positional(function)[0]
    given[first].requires_grad_()
    values, slopes = [], []
    for choice in ("exact", "detached"):
        logits = function(**given, margin_gradient=choice)
        own = logits.gather(1, given["labels"].unsqueeze(1)).sum()
        (slope,) = torch.autograd.grad(own, given[first])
        values.append(logits.detach())
        slopes.append(slope.gather(1, given["labels"].unsqueeze(1)).squeeze(1))
    torch.testing.assert_close(values[0], values[1], rtol=1e-14, atol=1e-13)
    expected = given["norms"] if "norms" in positional(function) and "scale" not in hyper(function) else module.scale
    torch.testing.assert_close(slopes[1], torch.as_tensor(expected, dtype=torch.float64).expand(N))
    assert (slopes[0] - slopes[1]).abs().max() > 1e-3


# --- the same losses for heads ----------------------------------------------------------------------------------------


def shown(given: dict[str, Tensor], loss: Loss) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Products, and the arguments of `Loss.rows`."""
    labels = given["labels"]
    products = given["cosine" if loss.unit_weights else "products"]
    held = labels >= 0
    target = torch.where(held, products.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1), 0.0)
    own_norms = torch.where(held, given["centre_norms"][labels.clamp(min=0)], 1.0)
    return products, target, given["norms"], own_norms, labels


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@every_logits
def test_rows_and_others_give_the_logits(pair: tuple[Entry, Entry], training: bool) -> None:
    loss, twin = made(pair[1].target).train(training), made(pair[1].target).train(training)
    assert isinstance(loss, Loss)
    given = data()
    given["labels"][4] = -1
    for _ in range(3):
        products, *rest = shown(given, loss)
        rows = loss.rows(*rest)
        logits = rows.scale.unsqueeze(1) * loss.others(products, rows) + rows.offset.unsqueeze(1)
        held = (given["labels"] >= 0).nonzero().squeeze(1)
        logits = logits.index_put((held, given["labels"][held]), rows.target[held])
        if loss.bias:
            logits = logits + given["bias"]
        torch.testing.assert_close(logits, forward(twin, given), rtol=1e-12, atol=1e-12)
    for key, x in loss.state_dict().items():
        assert torch.equal(x, twin.state_dict()[key])


@every_loss
def test_others_slope_is_the_derivative(kind: Any) -> None:
    loss = made(kind)
    given = data()
    products, *rest = shown(given, loss)
    rows = loss.rows(*rest)
    products = products.clone().requires_grad_()
    mapped = loss.others(products, rows)
    slope = loss.others_slope(products.detach(), rows)
    if slope is None:
        assert mapped is products
        return
    (expected,) = torch.autograd.grad(mapped.sum(), products)
    torch.testing.assert_close(slope, expected)


@every_loss
def test_rows_have_the_shape_of_the_batch(kind: Any) -> None:
    loss = made(kind)
    _, *rest = shown(data(torch.float32), loss)
    rows = loss.float().rows(*rest)
    assert isinstance(rows, Rows)
    for x in (rows.target, rows.scale, rows.offset, rows.regulariser):
        assert x.shape == (N,)
        assert x.dtype == torch.float32
    assert rows.state is None or not rows.state.requires_grad


@pytest.mark.parametrize("kind", [nn.SphereFace2, nn.CurricularFace], ids=lambda kind: kind.__name__)
def test_a_detached_slope_of_the_others(kind: Any) -> None:
    loss = made(kind, margin_gradient="detached")
    products, *rest = shown(data(), loss)
    rows = loss.rows(*rest)
    products = products.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss.others(products, rows).sum(), products)
    torch.testing.assert_close(loss.others_slope(products.detach(), rows), expected)

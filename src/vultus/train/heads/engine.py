"""The loss of a batch as one autograd function: what is small by torch's own differentiation, what is large by the sweep.

Everything that has one number a row, such as targets, margins, scales and regularisers, is recorded by autograd while the
loss says it, and asked for its derivatives once the sums over the classes are known. The sums themselves, and whatever has
the size of the class centres, go chunk by chunk (`vultus.train.heads.sweep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vultus.errors import TrainingError
from vultus.train.heads.batch import inverse
from vultus.train.heads.optimizer import FormedGradient, Stepper
from vultus.train.heads.pages import zeros
from vultus.train.heads.ranks import Ranks
from vultus.train.heads.reductions import Binary, Reduction, Slopes, Softmax
from vultus.train.heads.sweep import Moved, Owed, Sink, Sparse, Sweep, Whole
from vultus.train.heads.workspace import Workspace
from vultus.train.loss import Loss, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a head computes one batch.

    Args:
        loss: see `Loss`.
        ranks: who share the classes.
        sizes: rows of every rank.
        labels: (n,) classes of the rows of all ranks.
        start: id of this rank's first class.
        classes: number of this rank's classes.
        chosen: ascending local ids of the classes that take part; None for all.
        subcenters: rows of the weight for each class.
        at_once: classes in a chunk.
        keep: bytes of products kept for the way back.
        space: memory to use.
        moves: what moves the weight and the bias in the backward pass; empty where gradients are given instead.
        sparse: give the weight's gradient for the rows that take part only.
        full_decay: the rows that do not take part move too.
    """

    loss: Loss
    ranks: Ranks
    sizes: tuple[int, ...]
    labels: Tensor
    start: int
    classes: int
    chosen: Tensor | None
    subcenters: int
    at_once: int
    keep: int
    space: Workspace
    moves: Sequence[Stepper] = ()
    sparse: bool = False
    full_decay: bool = False


@dataclass(slots=True, eq=False)
class _Own:
    """Products of rows with their own classes, for those classes that this rank holds.

    Args:
        at: (k,) rows of the batch, in ascending order of `row`.
        row: (k,) rows of the weight.
        weight: (k, d) those rows.
        inverse: (k,) 1 / length of them, or 1 where they are taken as they are.
        lengths: (k,) their lengths.
        product: (k,) products.
    """

    at: Tensor
    row: Tensor
    weight: Tensor
    inverse: Tensor
    lengths: Tensor
    product: Tensor


@dataclass(slots=True, eq=False)
class _Tape:
    """What autograd recorded: leaves, the loss's answer, and negatives."""

    leaves: list[Tensor]
    rows: Rows
    target: Tensor
    negatives: Tensor | None = None


@dataclass(slots=True, eq=False)
class _Pass:
    """What the backward pass needs of the forward pass."""

    plan: Plan
    features: Tensor
    weight: Tensor
    bias: Tensor | None
    own: _Own
    held: Tensor
    sweep: Sweep
    reduction: Reduction
    slopes: Slopes
    tape: _Tape
    version: int
    moment: bool
    parameters: list[Tensor] = field(default_factory=list)


class _HeadLoss(torch.autograd.Function):
    """Mean loss over the rows of all ranks. See `head_loss`."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, features: Tensor, norms: Tensor, weight: Tensor, bias: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        needed = any(ctx.needs_input_grad)
        loss, done = _forward(plan, features, norms, weight, bias, needed=needed)
        done.parameters = list(parameters)
        ctx.done = done
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if (
            torch.is_grad_enabled()
        ):  # create_graph=True; what came out would silently be a part of the second derivative
            raise TrainingError("a chunked head has no second derivatives; use heads.Dense where they are needed")
        _, features, norms, weight, bias, *parameters = ctx.needs_input_grad
        with torch.autocast(grad.device.type, enabled=False):
            return (None, *_backward(ctx.done, grad, features or norms, weight, bias, parameters))


def head_loss(plan: Plan, features: Tensor, norms: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The mean loss over the rows of all ranks, 0-d, differentiable once.

    Args:
        plan: see `Plan`.
        features: (n, d) unit features of this rank.
        norms: (n,) their lengths before they were made unit.
        weight: (classes * subcenters, d).
        bias: (classes,) or None.
    """
    with torch.autocast(features.device.type, enabled=False):
        result: Tensor = _HeadLoss.apply(  # type: ignore[no-untyped-call]
            plan, features, norms, weight, bias, *plan.loss.parameters()
        )
    return result


# --- forwards -----------------------------------------------------------------------------------------------------------


def _forward(
    plan: Plan, features: Tensor, norms: Tensor, weight: Tensor, bias: Tensor | None, *, needed: bool
) -> tuple[Tensor, _Pass]:
    told = plan.ranks.gathered(torch.cat([features, norms[:, None]], dim=1), plan.sizes)
    features, norms = told[:, :-1].contiguous(), told[:, -1].contiguous()
    local = plan.labels - plan.start
    held = (local >= 0) & (local < plan.classes)
    own = _own_products(plan, features, weight, local, held)
    tape = _record(plan, features, norms, bias, own, local, held)
    rows = tape.rows
    loss, n = plan.loss, len(features)
    moment = needed and rows.scale.requires_grad
    reduction: Reduction
    if loss.reduction == "softmax":
        reduction = Softmax(n, features, moment=moment)
    else:
        reduction = Binary(n, features, moment=moment, positive=loss.positive, negative=loss.negative)
    place = torch.where(held, local, -1)
    if plan.chosen is not None:
        place = torch.where(held, torch.searchsorted(plan.chosen, local.clamp_min(0)), -1)
    sweep = Sweep(
        loss=loss,
        weight=weight,
        bias=bias,
        subcenters=plan.subcenters,
        chosen=plan.chosen,
        place=place,
        features=features,
        at_once=plan.at_once,
        space=plan.space,
        keep=plan.keep if needed else 0,
    )
    sweep.forward(_detached(rows), reduction, moment=moment)
    losses, slopes = reduction.finish(
        tape.target.detach(),
        rows.offset.detach().double(),
        held,
        None if tape.negatives is None else tape.negatives.detach(),
        plan.ranks,
    )
    regulariser = torch.where(held, rows.regulariser.detach().double(), 0.0)
    total = losses.mean() + plan.ranks.summed(regulariser.sum()) / n
    done = _Pass(plan, features, weight, bias, own, held, sweep, reduction, slopes, tape, weight._version, moment)
    return total.to(features.dtype), done


def _own_products(plan: Plan, features: Tensor, weight: Tensor, local: Tensor, held: Tensor) -> _Own:
    """Products with the rows' own classes; of several sub-centres the nearest."""
    at = held.nonzero().squeeze(1)
    at = at[local[at].argsort(stable=True)]
    k = plan.subcenters
    row = local[at] * k
    if k > 1:
        several = weight.view(-1, k, weight.shape[1])[local[at]]
        products = (several @ features[at][:, :, None]).squeeze(2)
        if plan.loss.unit_weights:
            products = products * inverse(torch.linalg.vector_norm(several, dim=2))
        row = row + products.argmax(dim=1)
        by_row = row.argsort(stable=True)
        at, row = at[by_row], row[by_row]
    centres = weight[row]
    lengths = torch.linalg.vector_norm(centres, dim=1)
    factor = inverse(lengths) if plan.loss.unit_weights else torch.ones_like(lengths)
    product = (features[at] * centres).sum(dim=1) * factor
    return _Own(at, row, centres, factor, lengths, product)


def _record(
    plan: Plan, features: Tensor, norms: Tensor, bias: Tensor | None, own: _Own, local: Tensor, held: Tensor
) -> _Tape:
    """Ask the loss about each row, with autograd watching."""
    loss, ranks = plan.loss, plan.ranks
    target = torch.zeros_like(norms).index_copy_(0, own.at, own.product)
    lengths = torch.zeros_like(norms).index_copy_(0, own.at, own.lengths)
    labels = torch.where(held, plan.labels, -1)
    if loss.mixes:
        labels = plan.labels
        target, lengths = ranks.summed(torch.stack([target, lengths])).unbind()
    else:
        lengths = torch.where(held, lengths, 1)
    bias_of = None if bias is None else torch.zeros_like(norms).index_copy_(0, own.at, bias[local[own.at]])
    leaves = [t.detach().clone().requires_grad_() for t in (target, norms, lengths)]
    with torch.enable_grad():
        rows = loss.rows(leaves[0], leaves[1], leaves[2], labels)
        whole = rows.target if bias_of is None else rows.target + bias_of
        tape = _Tape(leaves, rows, whole)
        if type(loss).negatives is not Loss.negatives:
            seen = features.detach().clone().requires_grad_()
            tape.negatives = loss.negatives(seen, plan.labels)
            leaves.append(seen)
    return tape


def _detached(rows: Rows) -> Rows:
    return Rows(
        rows.target.detach(),
        rows.scale.detach(),
        rows.offset.detach(),
        rows.regulariser.detach(),
        None if rows.state is None else rows.state.detach(),
    )


# --- back ---------------------------------------------------------------------------------------------------------------


def _backward(
    done: _Pass, grad: Tensor, features: bool, centres: bool, biases: bool, parameters: Sequence[bool]
) -> list[Tensor | None]:
    plan, own, slopes = done.plan, done.own, done.slopes
    if done.weight._version != done.version:
        raise TrainingError(
            "the class centres changed between this forward pass and its backward pass, so its gradient cannot be had any "
            "more; call backward before the next step. Gradients that accumulate over several batches need a head "
            "without optimizer=, and a step of torch.optim after the last of them"
        )
    n = len(done.features)
    each = grad.double() / n
    target, norms, lengths, direction, of_loss = _small(done, each)
    at = target[own.at]
    vectors = (at * own.inverse)[:, None] * done.features[own.at]
    pull = lengths[own.at] * inverse(own.lengths)
    if plan.loss.unit_weights:
        pull = pull - at * own.product * own.inverse * own.inverse
    vectors.addcmul_(own.weight, pull[:, None])

    moves = {"weight": None, "bias": None} | dict(zip(("weight", "bias"), plan.moves, strict=False))
    sink, taken = _sink(done, moves["weight"]) if centres else (None, None)
    of_biases = None
    if biases and done.bias is not None:
        count = plan.classes if plan.chosen is None else len(plan.chosen)
        of_biases = done.bias.new_zeros(count)
    weigh = slopes.others * each
    through = done.sweep.backward(
        done.reduction, weigh, Owed(own.row, vectors), features=features, centres=sink, biases=of_biases
    )
    if of_biases is not None and done.bias is not None:
        own_slopes = (slopes.target * each)[own.at].to(of_biases.dtype)
        of_biases.index_add_(0, done.sweep.place[own.at], own_slopes)
        of_biases = _settle_bias(done, moves["bias"], of_biases)
    if plan.full_decay and plan.chosen is not None and moves["weight"] is not None:
        _decay_rest(done, moves)

    of_features = of_norms = None
    if through is not None:
        through.index_add_(0, own.at, (at * own.inverse)[:, None] * own.weight)
        if direction is not None:
            through += direction
        back = plan.ranks.own_sum(torch.cat([through, norms[:, None]], dim=1), plan.sizes) * plan.ranks.size
        of_features, of_norms = back[:, :-1], back[:, -1]
    of_weight = None if moves["weight"] is not None else taken
    of_parameters = [g if wanted else None for g, wanted in zip(of_loss, parameters, strict=True)]
    return [of_features, of_norms, of_weight, of_biases, *of_parameters]


def _small(done: _Pass, each: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, list[Tensor | None]]:
    """Gradients of what has one number a row, of the unit features by the negatives, and of the loss's own numbers."""
    tape, slopes, ranks = done.tape, done.slopes, done.plan.ranks
    rows = tape.rows
    # the sum over classes depends on the offset through every other class: by its mass for a sum of logistic losses
    outputs = [
        (tape.target, slopes.target * each),
        (rows.offset, slopes.others * each * done.reduction.mass),
        (rows.regulariser, done.held * each),
    ]
    if done.moment:
        outputs.append((rows.scale, slopes.others * each * done.reduction.moment))
    if tape.negatives is not None and slopes.negatives is not None:
        outputs.append((tape.negatives, slopes.negatives * each))
    recorded = [(t, g.to(t.dtype)) for t, g in outputs if t.requires_grad]
    learned = [p for p in done.parameters if p.requires_grad]
    asked = [*tape.leaves, *learned]
    found: Sequence[Tensor | None] = [None] * len(asked)
    if recorded:
        tensors, gradients = zip(*recorded, strict=True)
        found = torch.autograd.grad(tensors, asked, gradients, retain_graph=True, allow_unused=True)
    target, norms, lengths = (
        torch.zeros_like(leaf) if g is None else g for leaf, g in zip(tape.leaves[:3], found[:3], strict=True)
    )
    if done.plan.loss.mixes and ranks.together:
        target, lengths = ranks.summed(torch.stack([target, lengths])).unbind()
    direction = found[3] if len(tape.leaves) > 3 else None
    of_learned = [
        torch.zeros_like(p) if g is None else g.clone() for p, g in zip(learned, found[len(tape.leaves) :], strict=True)
    ]
    whole = iter([ranks.summed(g.contiguous()) for g in of_learned])
    return target, norms, lengths, direction, [next(whole) if p.requires_grad else None for p in done.parameters]


def _sink(done: _Pass, stepper: Stepper | None) -> tuple[Sink, Tensor | None]:
    """(what takes the gradient of the centres, the gradient that is to be given to autograd)."""
    plan, weight = done.plan, done.weight
    if stepper is not None:
        return Moved(stepper), None
    if plan.chosen is None or not plan.sparse:
        formed = zeros(weight.shape, weight)
        return Whole(formed), formed
    rows = _rows_of(plan.chosen, plan.subcenters)
    values = torch.empty(len(rows), weight.shape[1], dtype=weight.dtype, device=weight.device)
    formed = torch.sparse_coo_tensor(rows[None], values, weight.shape, is_coalesced=True, check_invariants=False)
    return Sparse(values), formed


def _rows_of(classes: Tensor, subcenters: int) -> Tensor:
    """Rows of the weight that belong to classes."""
    if subcenters == 1:
        return classes
    return (classes[:, None] * subcenters + torch.arange(subcenters, device=classes.device)).flatten()


def _settle_bias(done: _Pass, stepper: Stepper | None, gradient: Tensor) -> Tensor | None:
    """Move the biases, or give their gradient, (classes,)."""
    plan, bias = done.plan, done.bias
    assert bias is not None  # noqa: S101  called where there is one
    if stepper is None:
        if plan.chosen is None:
            return gradient
        return torch.zeros_like(bias).index_copy_(0, plan.chosen, gradient)
    rows = slice(0, plan.classes) if plan.chosen is None else plan.chosen
    values = bias[rows]
    stepper.step(rows, values, FormedGradient(values, gradient), plan.space)
    return None


def _decay_rest(done: _Pass, moves: dict[str, Stepper | None]) -> None:
    plan = done.plan
    assert plan.chosen is not None  # noqa: S101  called where classes are sampled
    out = torch.ones(plan.classes, dtype=torch.bool, device=plan.chosen.device)
    out[plan.chosen] = False
    rest = out.nonzero().squeeze(1)
    for name, stepper in moves.items():
        if stepper is not None:
            rows = _rows_of(rest, plan.subcenters) if name == "weight" else rest
            stepper.rest(rows, plan.space, at_once=plan.at_once * plan.subcenters)

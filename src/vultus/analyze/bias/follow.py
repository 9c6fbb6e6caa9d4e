"""Where the constant that a bias adds goes: through linear operators, until a norm takes it off or something else shows it.

Moving a bias by c moves a value by some response r. Linear operators map r as they map values. A BatchNorm subtracts the
mean of its channel, so an r that is the same all over each channel is gone behind it; with zeros for padding, r differs at
the border and stays. A maximum passes an r that is the same all over each channel. Anything else shows r in its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Kind = Literal["linear", "maximum", "norm", "other"]


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """One operator on the way.

    Args:
        key: of the value that it makes.
        name, operator: for people.
        inputs: keys of the values that it reads.
        kind: what it does with a constant.
        respond: the response of its result to responses of its inputs.
        norm: name of a norm with fixed statistics.
    """

    key: str
    name: str
    operator: str
    inputs: tuple[str, ...]
    kind: Kind
    respond: Callable[[Mapping[str, Array]], Array]
    norm: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A bias before it is followed.

    Args:
        name: of the parameter, or of the value in an ONNX graph.
        operator: that adds it.
        values: the bias itself, flat.
        add: the response of each value that it is added to, by key, to a bias of given numbers.
    """

    name: str
    operator: str
    values: Array
    add: Callable[[Array], Mapping[str, Array]]


@dataclass(slots=True)
class Fate:
    """What became of it.

    Args:
        why: where the constant shows; empty where it shows nowhere.
        shifts: what each norm has to add to its mean for want of the bias, (channels,).
    """

    why: str = ""
    shifts: dict[str, Array] = field(default_factory=dict)


def fate_of(candidate: Candidate, hops: Sequence[Hop], outputs: Sequence[str], *, tolerance: float) -> Fate:
    """Whether a norm takes a bias off whatever its numbers are, and what the means of the norms then have to be moved by.

    Args:
        candidate: the bias. Numbers drawn at random stand for any, because those of a new network are zeros.
        hops: in the order in which they run.
        outputs: keys of the network's results.
        tolerance: how far, of the largest response, a channel's response may differ from its mean and count as constant.
    """
    anything = np.random.default_rng(0).uniform(1.0, 2.0, candidate.values.shape)
    fate = follow(candidate.add(anything), hops, outputs, tolerance=tolerance)
    if fate.why or not np.any(candidate.values):
        return Fate(fate.why, {name: np.zeros_like(shift) for name, shift in fate.shifts.items()})
    return follow(candidate.add(candidate.values), hops, outputs, tolerance=tolerance)


def follow(additions: Mapping[str, Array], hops: Sequence[Hop], outputs: Sequence[str], *, tolerance: float) -> Fate:
    """Walk from what a bias adds to all norms and outputs that it reaches.

    Args:
        additions: the response of each value that it is added to, by key.
        hops: in the order in which they run.
        outputs: keys of the network's results.
        tolerance: how far, of the largest response, a channel's response may differ from its mean and count as constant.
    """
    live: dict[str, Array] = {}
    fate = Fate()
    for hop in hops:
        arriving = {key: live[key] for key in hop.inputs if key in live}
        added = additions.get(hop.key)
        if not arriving and added is None:
            continue
        result = added
        if arriving:
            if hop.kind == "other":
                return Fate(f"{hop.name} ({hop.operator}) is not linear")
            level = [_level(r, tolerance) for r in arriving.values()]
            if hop.kind != "linear" and any(x is None for x in level):
                return Fate(f"it is not the same all over a channel where it reaches {hop.name} ({hop.operator})")
            if hop.kind == "norm":
                shift = level[0]
                known = fate.shifts.setdefault(hop.norm, shift)  # type: ignore[arg-type]
                if hop.norm and shift is not None and not np.allclose(known, shift, rtol=tolerance, atol=tolerance):
                    return Fate(f"{hop.norm} runs twice and meets two constants")
            else:
                response = hop.respond(arriving)
                result = response if result is None else result + response
        if result is not None and np.any(result):
            live[hop.key] = result
            if hop.key in outputs:
                return Fate("it reaches the output")
    if not fate.shifts:
        return Fate("nothing that it reaches is a norm")
    fate.shifts.pop("", None)
    return fate


def _level(response: Array, tolerance: float) -> Array | None:
    """The response of each channel where it is the same all over it, or None."""
    flat = response.swapaxes(0, 1).reshape(response.shape[1], -1)
    mean: Array = flat.mean(axis=1)
    even = np.abs(flat - mean[:, None]).max(initial=0.0) <= tolerance * max(1e-30, float(np.abs(flat).max(initial=0.0)))
    return mean if even else None

"""Measuring callables against each other: warm-up, then A B A B rounds within one process.

A machine that other programs share changes its speed from second to second. What stays is the ratio of two calls made
right after one another, so the figure to trust is the median of the ratios of the rounds, not the ratio of the medians.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Entrant:
    """One way to do the work of a scenario.

    Args:
        name: in the table.
        call: does the work once.
    """

    name: str
    call: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A piece of work and those that do it.

    Args:
        name: in the table and in the targets.
        entrants: the first is what the others are compared with.
        unit: what a time is of.
        count: how many units one call does.
        share: of the rounds asked for, for calls that take long.
    """

    name: str
    entrants: tuple[Entrant, ...]
    unit: str = "call"
    count: int = 1
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The times of one entrant.

    Args:
        name: of the entrant.
        cpu, wall: (rounds,) milliseconds a unit.
    """

    name: str
    cpu: Times
    wall: Times


def interleave(scenario: Scenario, rounds: int) -> list[Row]:
    """Time every entrant once a round, in their order."""
    rounds = max(2, round(rounds * scenario.share))
    for entrant in scenario.entrants:
        for _ in range(_WARM_UP):
            entrant.call()
    gc.collect()
    cpu, wall = np.zeros((2, len(scenario.entrants), rounds))
    for turn in range(rounds):
        for place, entrant in enumerate(scenario.entrants):
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            entrant.call()
            wall[place, turn] = time.perf_counter() - wall_start
            cpu[place, turn] = time.process_time() - cpu_start
    scale = 1000 / scenario.count
    return [Row(e.name, cpu[i] * scale, wall[i] * scale) for i, e in enumerate(scenario.entrants)]


def summary(scenario: Scenario, rows: list[Row]) -> dict[str, Any]:
    """A scenario's result as plain values for JSON."""
    base = rows[0]
    return {
        "name": scenario.name,
        "unit": scenario.unit,
        "baseline": base.name,
        "rounds": len(base.cpu),
        "rows": [
            {
                "name": row.name,
                "cpu_ms": quartiles(row.cpu),
                "wall_ms": quartiles(row.wall),
                "cpu_ratio": quartiles(row.cpu / base.cpu),
                "wall_ratio": quartiles(row.wall / base.wall),
            }
            for row in rows
        ],
    }


def quartiles(values: Times) -> dict[str, float]:
    """Median, first and third quartile."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": round(float(middle), 4), "q1": round(float(low), 4), "q3": round(float(high), 4)}


def measure(scenarios: Iterable[Scenario], rounds: int, announce: Callable[[str], None]) -> list[dict[str, Any]]:
    """Results of all scenarios, one after another."""
    results = []
    gc.freeze()  # what was loaded for the set-up is no garbage, and is not to be searched for any while the clock runs
    for scenario in scenarios:
        announce(scenario.name)
        results.append(summary(scenario, interleave(scenario, rounds)))
    return results

"""Heads for very many classes: speed, memory and two processes, against plain autograd and other libraries.

    python -m benchmarks.heads.run                          # speed at 100,000 classes, two ranks: some minutes
    python -m benchmarks.heads.run --only memory            # a million classes: 4.5 GB, 8 GB with --peers
    python -m benchmarks.heads.run --only memory --huge     # three million as well: 13 GB

Needs vultus[train] and pytorch-metric-learning. Every measurement is in a process of its own. Within one, entrants take
turns, and the figure to read is the median of the ratios of the rounds. The exit code is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = ("vultus", "torch", "numpy", "pytorch-metric-learning")


@dataclass(frozen=True, slots=True)
class Target:
    """What has to be reached.

    Args:
        name: what is measured.
        measured: the figure.
        least, most: bounds; None for none.
    """

    name: str
    measured: float
    least: float | None = None
    most: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        bound = {"at_least": self.least} if self.least is not None else {"at_most": self.most}
        return {"name": self.name, "measured": self.measured, **bound, "met": self.met}

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["speed", "ranks", "memory"], action="append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--classes", type=int, default=100_000, help="of the speed")
    parser.add_argument(
        "--peers", action="store_true", help="memory of the other heads, at half a million classes, too"
    )
    parser.add_argument("--huge", action="store_true", help="memory at three million classes too")
    parser.add_argument("--out", type=Path, default=Path("out/bench/heads.json"))
    options = parser.parse_args()
    wanted = options.only or ["speed", "ranks"]
    report: dict[str, Any] = circumstances()
    targets: list[Target] = []
    if "speed" in wanted:
        report["speed"] = child("speed", options.threads, f"--rounds={options.rounds}", f"--classes={options.classes}")
        targets += speed_targets(report["speed"])
    if "ranks" in wanted:
        report["ranks"] = child("ranks", 1, f"--classes={options.classes}")
        targets.append(Target("two gloo ranks, efficiency", report["ranks"]["efficiency"]["median"], least=0.65))
    if "memory" in wanted:
        report["memory"] = list(memories(peers=options.peers, huge=options.huge, threads=options.threads))
        targets += memory_targets(report["memory"])
    report["targets"] = [t.as_dict() for t in targets]
    report["load_average_at_the_end"] = os.getloadavg()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))
    print(f"\nwritten to {options.out}")
    missed = [t for t in targets if not t.met]
    for target in missed:
        print(f"MISSED: {target.as_dict()}", file=sys.stderr)
    return 1 if missed else 0


def child(name: str, threads: int, *arguments: str) -> dict[str, Any]:
    """What a measurement in another process printed."""
    pools = {f"{n}_NUM_THREADS": str(threads) for n in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, "-m", f"benchmarks.heads.{name}", *arguments]
    if name != "ranks":
        command.append(f"--threads={threads}")
    done = subprocess.run(command, env=os.environ | pools, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"the measurement of {name!r} failed; its own message stands above")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def memories(*, peers: bool, huge: bool, threads: int) -> list[dict[str, Any]]:
    """Peak memory, one process after another."""
    runs = [("chunked", 100_000, 1.0), ("chunked", 1_000_000, 1.0), ("chunked", 1_000_000, 0.1)]
    if peers:
        runs += [(head, 500_000, 1.0) for head in ("chunked-torch-sgd", "dense", "metric-learning", "partial-fc")]
    if huge:
        runs.append(("chunked", 3_000_000, 0.1))
    return [child("memory", threads, head, f"--classes={classes}", f"--rate={rate}") for head, classes, rate in runs]


# --- targets ------------------------------------------------------------------------------------------------------------


def speed_targets(found: dict[str, Any]) -> list[Target]:
    """How many times as long the others take: by CPU time on one thread, which a busy machine disturbs less."""
    clock = "cpu_ratio" if found["threads"] == 1 else "wall_ratio"

    def ratio(scenario: str, row: str) -> float:
        for one in found["scenarios"]:
            if one["name"] == scenario:
                median: float = next(r for r in one["rows"] if r["name"] == row)[clock]["median"]
                return median
        raise KeyError(scenario)

    passes, sampled = "forward and backward", "step with SGD, a tenth of the classes"
    return [
        Target("Dense / Chunked, forward and backward", ratio(passes, "Dense"), least=2.5),
        Target("metric learning / Chunked, forward and backward", ratio(passes, "pytorch-metric-learning"), least=2.5),
        Target("Dense / Chunked at 0.1, step", ratio(sampled, "Dense, all classes"), least=3.5),
        Target(
            "metric learning / Chunked at 0.1, step", ratio(sampled, "pytorch-metric-learning, all classes"), least=3.5
        ),
    ]


def memory_targets(found: list[dict[str, Any]]) -> list[Target]:
    """Peaks, and a workspace that stays."""
    own = {(r["classes"], r["sample_rate"]): r for r in found if r["head"] == "chunked"}
    targets = [Target("1,000,000 classes, peak GB", own[1_000_000, 1.0]["peak_gb"], most=4.5)]
    growth = own[1_000_000, 1.0]["workspace_mb"] - own[100_000, 1.0]["workspace_mb"]
    targets.append(Target("workspace at ten times the classes, MB more", round(growth, 1), most=20.0))
    if (3_000_000, 0.1) in own:
        targets.append(Target("3,000,000 classes at 0.1, peak GB", own[3_000_000, 0.1]["peak_gb"], most=13.0))
    return targets


# --- report -------------------------------------------------------------------------------------------------------------


def circumstances() -> dict[str, Any]:
    """Where and with what this was measured."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git.stdout.strip() or "unknown",
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def table(report: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for scenario in report.get("speed", {}).get("scenarios", ()):
        lines.append(
            f"\n{scenario['name']}, {report['speed']['classes']} classes, {report['speed']['threads']} thread(s)"
        )
        for row in scenario["rows"]:
            figures = [f"  {row['name']:<40}"]
            for clock in ("wall", "cpu"):
                ratio = row[f"{clock}_ratio"]
                figures.append(f"{clock} {row[f'{clock}_ms']['median']:>7.0f} ms")
                figures.append(f"x {ratio['median']:.2f} [{ratio['q1']:.2f}, {ratio['q3']:.2f}]")
            lines.append("  ".join(figures))
    if ranks := report.get("ranks"):
        wall, cpu = (
            "{median:.2f} [{q1:.2f}, {q3:.2f}]".format(**ranks[f"efficiency{by}"]) for by in ("", "_by_cpu_time")
        )
        lines.append(
            f"\ntwo gloo ranks: efficiency {wall}, {ranks['two_processes_s']} s against {ranks['one_process_s']} s; of the "
            f"fastest rounds {ranks['efficiency_of_the_fastest_rounds']:.2f}; by CPU time {cpu}"
        )
    for row in report.get("memory", ()):
        lines += [
            f"{row['head']:<17} {row['classes']:>9} classes, rate {row['sample_rate']:g}: peak {row['peak_gb']} GB, "
            f"{row['bytes_per_class']} bytes a class, workspace {row['workspace_mb']} MB, step {row['step_cpu_s'][-1]} s CPU"
        ]
    lines.append("")
    lines += [
        f"{'met   ' if t['met'] else 'MISSED'} {t['name']}: {t['measured']} ({'>=' if 'at_least' in t else '<='} "
        f"{t.get('at_least', t.get('at_most'))})"
        for t in report["targets"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

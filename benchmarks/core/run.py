"""Speed of vultus against OpenCV with the same weights, and against dlib: `make bench`.

Each thread setting is measured in a process of its own. The exit code is 1 where an asserted target is missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_WORKERS = ("1", "2", "scaling")
_PACKAGES = ("vultus", "numpy", "onnxruntime", "opencv-python-headless", "openvino", "dlib-bin", "pillow")
_WEIGHTS = ("yunet-2023mar", "sface-2021dec")


@dataclass(frozen=True, slots=True)
class Target:
    """What a row has to reach.

    Args:
        worker, scenario, row: which figure, by names without what stands in brackets.
        measure: "cpu_ratio" or "wall_ratio" against the scenario's first row.
        limit: the largest ratio that is accepted.
    """

    worker: str
    scenario: str
    row: str
    measure: str
    limit: float


TARGETS = (
    Target("1", "embedding, one crop", "vultus", "cpu_ratio", 0.50),
    Target("1", "detection, 640x480", "vultus, one pass", "cpu_ratio", 0.50),
    Target("1", "12 MP JPEG, file to faces, default resize", "vultus", "cpu_ratio", 0.40),
    Target("scaling", "portraits, one thread and two", "vultus, 2 threads", "wall_ratio", 1 / 1.7),
)
_AGREEMENT = {"cosine": 0.9999, "iou": 0.9}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench/core.json"), help="where the JSON goes")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of the quick scenarios; slow ones take a part")
    parser.add_argument("--worker", choices=_WORKERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2")
    if options.worker:
        work(options.worker, options.rounds, options.out)
        return 0
    report = collect(options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))
    print(f"\nwritten to {options.out}")
    missed = [t for t in report["targets"] if not t["met"]]
    for target in missed:
        print(f"MISSED: {target['name']}: {target['measured']} (limit {target['limit']})", file=sys.stderr)
    return 1 if missed else 0


# --- one process for each thread setting ------------------------------------------------------------------------------


def work(worker: str, rounds: int, out: Path) -> None:
    """Measure in this process and leave the result in a file."""
    import scenarios
    from measure import measure

    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        chosen = scenarios.scaling(folder) if worker == "scaling" else scenarios.against_opencv(folder, int(worker))
        results = measure(chosen, rounds, lambda name: print(f"[{worker}] {name}", file=sys.stderr, flush=True))
    found: dict[str, Any] = {"scenarios": results}
    if worker == "1":
        found["agreement"] = scenarios.agreement()
    out.write_text(json.dumps(found), encoding="utf-8")


def collect(rounds: int) -> dict[str, Any]:
    """Run every worker and put their results together."""
    workers = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for worker in _WORKERS:
            out = Path(folder) / f"{worker}.json"
            threads = worker if worker.isdigit() else "1"
            command = [sys.executable, __file__, "--worker", worker, "--rounds", str(rounds), "--out", str(out)]
            # libraries that take no number of threads take these
            pools = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
            if subprocess.run(command, check=False, env=os.environ | pools).returncode:
                raise SystemExit(f"the measurement with {worker!r} failed; its own message stands above")
            workers[worker] = json.loads(out.read_text(encoding="utf-8"))
    agreement = workers["1"].pop("agreement")
    return {
        **circumstances(),
        "rounds": rounds,
        "workers": workers,
        "agreement": agreement,
        "targets": [judged(t, workers) for t in TARGETS]
        + [
            {"name": f"agreement with OpenCV, {k}", "measured": agreement[k], "limit": v, "met": agreement[k] >= v}
            for k, v in _AGREEMENT.items()
        ],
    }


def judged(target: Target, workers: dict[str, Any]) -> dict[str, Any]:
    """A target with what was measured."""
    scenario = next(s for s in workers[target.worker]["scenarios"] if _bare(s["name"]) == target.scenario)
    row = next(r for r in scenario["rows"] if _bare(r["name"]) == target.row)
    measured = row[target.measure]["median"]
    return {
        "name": f"{scenario['name']}: {row['name']}, {target.measure.replace('_', ' ')} to {scenario['baseline']}",
        "measured": measured,
        "limit": round(target.limit, 4),
        "met": measured <= target.limit,
    }


def _bare(name: str) -> str:
    return name.partition(" (")[0]


# --- circumstances and the table --------------------------------------------------------------------------------------


def circumstances() -> dict[str, Any]:
    """What has to be known to read the figures."""
    from vultus.weights import load_manifest

    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain").splitlines()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "weights_sha256": {name: load_manifest(name).sha256 for name in _WEIGHTS},
    }


def cpu_model() -> str:
    """The processor's name, as far as the platform tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(_HERE), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def table(report: dict[str, Any]) -> str:
    """All rows as text: medians, interquartile ranges in brackets, ratios to the first row of each scenario."""
    lines = [f"{report['cpu']}, {report['cores']} cores, commit {report['commit'][:12]}"]
    for worker, result in report["workers"].items():
        for scenario in result["scenarios"]:
            threads = "" if worker == "scaling" else f", threads: {worker}"
            lines += ["", f"{scenario['name']}{threads}  (ms a {scenario['unit']}, {scenario['rounds']} rounds)"]
            lines.append(f"  {'':42}{'CPU':>26}{'wall':>26}{'CPU ratio':>11}{'wall ratio':>11}")
            lines += [
                f"  {row['name']:42}{_spread(row['cpu_ms']):>26}{_spread(row['wall_ms']):>26}"
                f"{row['cpu_ratio']['median']:11.3f}{row['wall_ratio']['median']:11.3f}"
                for row in scenario["rows"]
            ]
    lines += ["", "targets"]
    lines += [
        f"  {'met   ' if t['met'] else 'MISSED'} {t['measured']:8.4f}  (limit {t['limit']})  {t['name']}"
        for t in report["targets"]
    ]
    return "\n".join(lines)


def _spread(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} [{values['q1']:.2f}-{values['q3']:.2f}]"


if __name__ == "__main__":
    sys.exit(main())

"""What a report rests on, for machines and for whoever repeats it: the data, the versions, every figure."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from vultus.evaluate.protocol import Pairs
from vultus.evaluate.ratio_check import RatioCheck
from vultus.evaluate.report.figures import DiscardCurve, SystemFigures
from vultus.types import Float64Array, IntArray

FORMAT = 1
_PACKAGES = ("vultus", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "matplotlib")


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """Which data were evaluated, whatever the folders are called.

    Args:
        name: of the protocol.
        files: how many.
        subjects: how many they show.
        unreadable: files whose content could not be read.
        content: sha256 over the sorted sha256 of the files that could be read.
        protocol: sha256 over the pairs in their order, each as the two contents and whether they are mated.
    """

    name: str
    files: int
    subjects: int
    unreadable: int
    content: str
    protocol: str

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "files": self.files,
            "subjects": self.subjects,
            "unreadable": self.unreadable,
            "content_sha256": self.content,
            "protocol_sha256": self.protocol,
        }


def identify_data(pairs: Pairs) -> DataIdentity:
    """Read every file once and reduce them to two digests."""
    digests = [_digest(path) for path in pairs.files]
    readable = sorted(d for d in digests if d)
    content = hashlib.sha256("\n".join(readable).encode()).hexdigest()
    protocol = hashlib.sha256()
    for one, other, same in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.mated.tolist(), strict=True):
        protocol.update(f"{digests[one]} {digests[other]} {int(same)}\n".encode())
    return DataIdentity(
        name=pairs.name,
        files=len(pairs.files),
        subjects=len(np.unique(pairs.subjects)),
        unreadable=len(digests) - len(readable),
        content=content,
        protocol=protocol.hexdigest(),
    )


def _digest(path: str) -> str:
    try:
        with Path(path).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def software() -> dict[str, str]:
    """Versions of what computed the figures, and the kind of machine."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}


# --- JSON -------------------------------------------------------------------------------------------------------------


def plain(value: object) -> object:
    """The same value for JSON: tuples and arrays as lists, keys as text, and None for what is not finite."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def system_record(figures: SystemFigures, ratios: RatioCheck | str) -> dict[str, object]:
    """Everything that the page says of one system."""
    system = figures.system
    return {
        "name": figures.label,
        "model_id": system.extraction.model_id,
        "facts": dict(system.facts),
        "verification": system.result.to_dict(),
        "accuracy": None if figures.accuracy is None else figures.accuracy.to_dict(),
        "eer": figures.eer.to_dict(),
        "auc": figures.auc.to_dict(),
        "failure_to_enrol": figures.enrolment.to_dict(),
        "curve": figures.curve.to_dict(),
        "cross_pairs_curve": None if figures.cross is None else figures.cross.curve.to_dict(),
        "histograms": {
            "edges": figures.mated.edges,
            "mated": figures.mated.counts,
            "non_mated": figures.non_mated.counts,
        },
        "error_versus_discard": figures.no_discard if figures.discard is None else _discard_record(figures.discard),
        "likelihood_ratios": ratios if isinstance(ratios, str) else ratios.to_dict(),
        "identification": None if system.searches is None else system.searches.to_dict(),
    }


def _discard_record(curve: DiscardCurve) -> dict[str, object]:
    return {
        "fmr": curve.point.fmr,
        "threshold": curve.point.threshold,
        "shares": curve.shares,
        "fnmr": curve.fnmr,
        "low": curve.low,
        "high": curve.high,
        "kept": curve.kept,
    }


def pairs_record(files: Sequence[str], first: IntArray, second: IntArray, scores: Float64Array) -> list[object]:
    """Pairs as file names and scores."""
    return [
        {"a": files[one], "b": files[other], "score": score}
        for one, other, score in zip(first.tolist(), second.tolist(), scores.tolist(), strict=True)
    ]

"""Open-set identification through the gallery, beside the figures of `vultus.evaluate` on the same scores.

    vultus embed data/lfw/*/*.jpg --out lfw.npz
    python -m benchmarks.gallery.open_set lfw.npz

For each size that many people are enrolled with one photo each; their other photos are the mated searches, and all
photos of everybody else the non-mated ones. The folder of a photo names its subject. Two things are checked: FPIR and
FNIR of the gallery's answers at the threshold that `vultus.evaluate` finds equal the figures that it states; and the rate
that the gallery itself states for a threshold scaled to its size is not exceeded beyond chance.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vultus import Gallery, Template, evaluate
from vultus.errors import NoThreshold
from vultus.gallery import NewSubject
from vultus.gallery.decide import share_interval
from vultus.types import FloatArray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, help="NPZ file of `vultus embed`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 4000])
    parser.add_argument("--fpir", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with np.load(options.embeddings, allow_pickle=False) as file:
        rows, files, model_id = file["rows"], file["files"], str(file["model_id"])
    subjects = np.array([Path(str(f)).parent.name for f in files])
    results = [measured(rows, subjects, model_id, size, options) for size in options.sizes]
    print(json.dumps(results, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return int(not all(r["equal"] and r["stated_rate_holds"] for r in results))


def measured(
    rows: FloatArray, subjects: np.ndarray[Any, Any], model_id: str, size: int, options: argparse.Namespace
) -> dict[str, Any]:
    names, firsts = np.unique(subjects, return_index=True)
    chosen = np.random.default_rng(options.seed).permutation(len(names))[:size]
    enrolled, references = names[chosen], firsts[chosen]
    probes = np.setdiff1d(np.arange(len(rows)), references)
    scores = rows[probes].astype(np.float64) @ rows[references].T.astype(np.float64)
    outcomes = evaluate.searches(scores, subjects[probes], enrolled)
    fpir = max(options.fpir, 30 / len(outcomes.best_scores))
    point = evaluate.fnir_at_fpir(outcomes, fpir=fpir)
    mated = np.isin(subjects[probes], enrolled)
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "g.db", model=model_id) as gallery:
        gallery.enrol_many(
            [NewSubject(str(n), [Template(rows[i], model_id)]) for n, i in zip(enrolled, references, strict=True)]
        )
        found = [gallery.identify(Template(rows[i], model_id), threshold=point.threshold, max_rank=1) for i in probes]
        named = np.array([len(f) > 0 for f in found])
        right = np.array([len(f) > 0 and f[0].subject_id == s for f, s in zip(found, subjects[probes], strict=True)])
        try:
            stated = gallery.identify(Template(rows[probes[0]], model_id), fpir=fpir)
        except NoThreshold as problem:
            own: dict[str, Any] = {"refused": str(problem)}
        else:
            count = int(np.count_nonzero(outcomes.best_scores >= stated.threshold))
            low, high = share_interval(count, len(outcomes.best_scores))
            own = {
                "threshold": stated.threshold,
                "stated_fpir": stated.fpir,
                "seen_fpir": count / len(outcomes.best_scores),
                "interval": [low, high],
            }
    seen = {"fpir": float(named[~mated].mean()), "fnir": float(1 - right[mated].mean())}
    return {
        "gallery_size": size,
        "mated_searches": int(mated.sum()),
        "non_mated_searches": int((~mated).sum()),
        "evaluate": {"threshold": point.threshold, "fpir": point.fpir, "fnir": point.fnir},
        "gallery": seen,
        "equal": bool(abs(seen["fpir"] - point.fpir) < 1e-12 and abs(seen["fnir"] - point.fnir) < 1e-12),
        "scaled": own,
        "stated_rate_holds": "refused" in own or own["interval"][0] <= own["stated_fpir"],
    }


if __name__ == "__main__":
    sys.exit(main())

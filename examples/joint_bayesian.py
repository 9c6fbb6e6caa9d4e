"""Joint Bayesian on embeddings: what cosine leaves on the table, and what it does not.

    python examples/joint_bayesian.py
    python examples/joint_bayesian.py --train out/celeba --lfw LFW       # embeddings of the default model, or --model

Without arguments: embeddings drawn from the model itself, so that the truth is known. With them: fitted to the people of a
prepared set (vultus train prepare PHOTOS out/celeba) and tested on LFW's pairs against the cosine of the same embeddings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from vultus import Recognizer, evaluate
from vultus.subspace import PCA, JointBayesian
from vultus.types import BoolArray, Float64Array, IntArray


def drawn(people: int, photos: int, *, seed: int) -> tuple[Float64Array, IntArray, Float64Array, Float64Array]:
    """Embeddings of 16 numbers, who is on each, and the covariances that they were drawn from."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16)))[0]
    between = (turn * np.geomspace(2, 0.1, 16)) @ turn.T
    within = np.diag(np.geomspace(0.1, 2, 16))
    labels = np.repeat(np.arange(people), photos)
    own = rng.multivariate_normal(np.zeros(16), between, size=people)[labels]
    return own + rng.multivariate_normal(np.zeros(16), within, size=len(labels)), labels, between, within


def cosine(one: Float64Array, other: Float64Array) -> Float64Array:
    """(n,) of rows."""
    product = (one * other).sum(axis=1)
    return np.asarray(product / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)))


def planted() -> dict[str, float]:
    """Covariances found again, and error rates on other people."""
    x, y, between, within = drawn(4_000, 5, seed=1)
    model = JointBayesian().fit(x, y)
    tests, labels, _, _ = drawn(300, 4, seed=2)
    first, second = np.triu_indices(len(tests), 1)
    mated = labels[first] == labels[second]
    centred = tests - model.mean_
    found = {
        "between": float(np.linalg.norm(model.between_ - between) / np.linalg.norm(between)),
        "within": float(np.linalg.norm(model.within_ - within) / np.linalg.norm(within)),
        "rounds": float(model.n_iter_),
        "cosine": evaluate.roc(cosine(centred[first], centred[second]), mated).eer(),
        "joint bayesian": evaluate.roc(model.score_pairs(tests[first], tests[second]), mated).eer(),
    }
    print(f"4,000 people with 5 photos: relative error of S_mu {found['between']:.3f}, of S_eps {found['within']:.3f}")
    print(f"EER of 300 others: cosine {found['cosine']:.4f}, Joint Bayesian {found['joint bayesian']:.4f}")
    return found


def faces(train: str, lfw: str, *, model: str | None, components: int | None) -> dict[str, float]:
    """Cosine and Joint Bayesian on LFW's pairs, on the same embeddings."""
    from vultus.train import data

    recognizer = Recognizer.load(model)
    people = data.open_dataset(train)
    known = np.concatenate(
        [
            recognizer.embed(np.stack([people.pixels(i) for i in range(begin, min(begin + 64, len(people)))]))
            for begin in range(0, len(people), 64)
        ]
    ).astype(np.float64)
    pairs = evaluate.read_lfw(lfw)
    tests = evaluate.extract(pairs.files, recognizer, policy="central")
    rows = tests.rows.astype(np.float64)
    if components is not None:
        pca = PCA(components).fit(known)
        known, rows = pca.transform(known), pca.transform(rows)
    joint = JointBayesian().fit(known, people.labels)
    print(
        f"{len(people.classes)} people, {len(people)} photos; {joint.n_iter_} rounds; variance between people over within:"
    )
    print("  " + ", ".join(f"{r:.2f}" for r in joint.ratios_[:8]) + ", ...")
    first, second = pairs.first, pairs.second
    enrolled = tests.enrolled[first] & tests.enrolled[second]
    scores = {
        "cosine": tests.scores(first, second),
        "joint bayesian": np.where(enrolled, joint.score_pairs(rows[first], rows[second]), -np.inf),
    }
    wrong: dict[str, BoolArray] = {}
    found: dict[str, float] = {}
    for name, values in scores.items():
        folds = evaluate.accuracy_by_fold(values, pairs.mated, np.asarray(pairs.folds))
        curve = evaluate.roc(values, pairs.mated)
        thresholds = folds.thresholds[np.unique(np.asarray(pairs.folds), return_inverse=True)[1]]
        wrong[name] = (values >= thresholds) != pairs.mated
        found |= {name: folds.mean, f"{name} eer": curve.eer()}
        print(f"{name}: accuracy {100 * folds.mean:.2f} %, EER {100 * curve.eer():.2f} %, AUC {curve.auc():.4f}")
    subjects = np.asarray(pairs.subjects)
    gain = evaluate.bootstrap_difference(subjects[first], subjects[second], wrong["cosine"], wrong["joint bayesian"])
    found["gain"] = gain.value
    print(
        f"Joint Bayesian above cosine by {100 * gain.value:.2f} points "
        f"({100 * gain.interval.low:.2f} to {100 * gain.interval.high:.2f}, 95 % over people)"
    )
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Print the figures, and give them back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--train", help="prepared photos of people")
    parser.add_argument("--lfw", help="folder of LFW, with pairs.txt")
    parser.add_argument("--model", help="manifest of another embedding model")
    parser.add_argument("--components", type=int, help="of a PCA before; none unless given")
    given = parser.parse_args(arguments)
    if given.train and given.lfw:
        return faces(given.train, given.lfw, model=given.model, components=given.components)
    return planted()


if __name__ == "__main__":
    main()

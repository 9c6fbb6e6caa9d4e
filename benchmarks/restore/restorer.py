"""What does a learned restorer do? PSNR and SSIM to the true view, and TAR on harmed photos of LFW with and without it.

    python -m benchmarks.restore.restorer --model out/restore/restore-small.toml --faces out/celeba --lfw ../shared/data/lfw

To the true view: faces of the people that training held out (`data.hold_out` and `run.seed` of the recipe), each harmed by one
factor at a severity that is drawn, before and after.

TAR: one mated pair of each of `--subjects` people of LFW's View 2, drawn. The first photo stays, the second is harmed, then
found, aligned and embedded as any photo is: as it is, restored, and as the sum of both. Each condition's threshold is that
of the FMR asked for over its own pairs of different people, so a restorer that makes faces alike pays for it. The interval is
that of the difference in FNMR at these thresholds, by bootstrap over subjects, the same draws for both. The crops are kept, so
that a second restorer is measured on the same ones in a minute. `benchmarks.restore.run` compares all ways of restoring.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vultus import Recognizer, read_image
from vultus.align import align
from vultus.errors import VultusError
from vultus.evaluate import bootstrap_difference, read_lfw
from vultus.evaluate.severity import FACTORS
from vultus.restore import Restorer
from vultus.train.data import open_dataset
from vultus.train.restoration import Config
from vultus.train.restoration.pairs import harmed
from vultus.train.restoration.training import split

Cells = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, help="folder of LFW, for the TAR")
    parser.add_argument("--faces", help="what the recipe's data.train names, for PSNR and SSIM")
    parser.add_argument("--hold-out", type=float, default=0.1, help="as data.hold_out of the recipe")
    parser.add_argument("--seed", type=int, default=0, help="as run.seed of the recipe")
    parser.add_argument("--count", type=int, default=200, help="faces for PSNR and SSIM")
    parser.add_argument("--model", type=Path, help="manifest of a restorer; without one only the crops are made")
    parser.add_argument("--subjects", type=int, default=250)
    parser.add_argument("--factors", nargs="+", default=["low_resolution", "occlusion", "dark", "yaw"])
    parser.add_argument("--severities", nargs="+", type=int, default=[5])
    parser.add_argument("--fmr", type=float, default=1e-3)
    parser.add_argument("--cache", type=Path, default=Path("out/restore-lfw.npz"), help="crops, kept between runs")
    parser.add_argument("--portraits", nargs="*", default=[], help="photos for the sheet")
    parser.add_argument("--sheet", type=Path, help="PNG: each portrait harmed by each factor, restored, and as it was")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    record: dict[str, object] = {}
    if given.faces is not None and given.model is not None:
        record["true view"] = nearness(given, Restorer.load(given.model, threads=1))
    if given.lfw is not None:
        record["tar"] = accepted(given)
    if given.sheet is not None and given.model is not None:
        sheet(given, Restorer.load(given.model, threads=1))
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1) + "\n")


def sheet(given: argparse.Namespace, restorer: Restorer) -> None:
    """A picture: for each portrait a row of harmed crops, one of restored ones; the true view is the last in the first row."""
    recognizer = Recognizer.load(threads=1)
    rows = []
    for file in given.portraits:
        photo = read_image(file)
        face = recognizer.sample(photo).face
        true = align(photo, face)
        harmed_photos = [FACTORS[f](photo, face, given.severities[-1]) for f in given.factors]
        before = np.concatenate([align(p, recognizer.sample(p).face) for p in harmed_photos])
        rows += [np.hstack([*before, true[0]]), np.hstack([*restorer(before), restorer(true)[0]])]
    Image.fromarray(np.vstack(rows)).save(given.sheet, optimize=True)


def accepted(given: argparse.Namespace) -> dict[str, object]:
    """TAR by condition: as it is, restored, and both."""
    recognizer = Recognizer.load(threads=1)
    cells = crops(given, recognizer)
    if given.model is None:
        return {}
    restorer = Restorer.load(given.model, threads=1)
    first, whole = cells["first"]
    references = recognizer.embed(first)
    kept_rows = []
    print(f"{restorer.id}, {len(first)} subjects, TAR at FMR {given.fmr:g}")
    print(
        f"{'condition':18s} {'lost':>5s} {'plain':>7s} {'restored':>9s} {'gain (95 %)':>24s} {'both':>7s} {'gain (95 %)':>24s}"
    )
    for name, (pixels, found) in cells.items():
        if name == "first":
            continue
        ok = found & whole
        plain, better = recognizer.embed(pixels), recognizer.embed(restorer(pixels))
        both = plain + better
        both /= np.linalg.norm(both, axis=1, keepdims=True)
        missed = [misses(references, rows, ok, fmr=given.fmr) for rows in (plain, better, both)]
        subjects = np.arange(len(first))
        gains = [bootstrap_difference(subjects, subjects, missed[0], m) for m in missed[1:]]
        tar = [1 - float(np.mean(m)) for m in missed]
        shown = [f"{g.value:+.3f} ({g.interval.low:+.3f} to {g.interval.high:+.3f})" for g in gains]
        print(
            f"{name:18s} {int((~ok).sum()):5d} {tar[0]:7.3f} {tar[1]:9.3f} {shown[0]:>24s} {tar[2]:7.3f} {shown[1]:>24s}",
            flush=True,
        )
        gain = [{"value": g.value, "low": g.interval.low, "high": g.interval.high} for g in gains]
        kept_rows.append({"condition": name, "lost": int((~ok).sum()), "tar": tar, "gain": gain})
    facts = {"restorer": restorer.id, "model": recognizer.model_id, "subjects": len(first), "fmr": given.fmr}
    return facts | {"conditions": kept_rows}


def nearness(given: argparse.Namespace, restorer: Restorer) -> list[dict[str, object]]:
    """PSNR and SSIM to the true view by factor, before and after."""
    faces = open_dataset(given.faces)
    table = {"run": {"folder": "-", "seed": given.seed}, "data": {"train": given.faces, "hold_out": given.hold_out}}
    _, held_out = split(faces, Config.of(table))
    chosen = np.random.default_rng(0).choice(held_out, size=min(given.count, len(held_out)), replace=False)
    true = np.stack([faces.pixels(int(i)) for i in chosen])
    rows: list[dict[str, object]] = []
    print(f"{restorer.id}, {len(true)} faces of people held out")
    print(f"{'factor':18s} {'PSNR':>7s} {'restored':>9s} {'SSIM':>7s} {'restored':>9s}")
    for factor in ("untouched", *given.factors):
        rng = np.random.default_rng(1)
        options = {"untouched": float(factor == "untouched"), "twice": 0.0, "jitter": 0.0}
        factors = (factor,) if factor != "untouched" else ("dark",)
        before = np.stack([harmed(f, rng, factors=factors, **options) for f in true])
        after = restorer(before)
        figures = [measure(x, true) for measure in (psnr, ssim) for x in (before, after)]
        print(f"{factor:18s} {figures[0]:7.2f} {figures[1]:9.2f} {figures[2]:7.3f} {figures[3]:9.3f}", flush=True)
        rows.append({"factor": factor, "psnr": figures[:2], "ssim": figures[2:]})
    return rows


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over pictures of the peak signal to noise ratio, in dB; at most 60."""
    error = np.square(one.astype(np.float64) - other).mean(axis=(1, 2, 3))
    return float(np.minimum(60, 10 * np.log10(255**2 / np.maximum(error, 1e-9))).mean())


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Mean structural similarity of the grey pictures (Wang et al. 2004: Gaussian window of sigma 1.5)."""
    total = 0.0
    for x, y in zip(one, other, strict=True):
        a, b = (cv2.cvtColor(v, cv2.COLOR_RGB2GRAY).astype(np.float64) for v in (x, y))
        blur = lambda v: cv2.GaussianBlur(v, (11, 11), 1.5)  # noqa: E731
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        total += float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())
    return total / len(one)


def misses(references: np.ndarray, probes: np.ndarray, ok: np.ndarray, *, fmr: float) -> np.ndarray:
    """(n,) mated pairs that do not match at the threshold of an FMR over all pairs of two subjects."""
    scores = (references @ probes.T)[np.ix_(ok, ok)]
    others = np.sort(scores[~np.eye(len(scores), dtype=bool)])
    threshold = others[-1 - int(fmr * len(others))]  # at most that share lies above
    missed = np.ones(len(ok), dtype=bool)  # a photo without a face is a miss
    missed[ok] = np.diag(scores) <= threshold
    return missed


def crops(given: argparse.Namespace, recognizer: Recognizer) -> Cells:
    """Aligned crops of the first photos, and of the second ones unharmed and harmed; and where a face was found."""
    wanted = ["first", "untouched", *(f"{f} {s}" for f in given.factors for s in given.severities)]
    key = f"{given.subjects}-{'-'.join(wanted)}-{recognizer.model_id}"
    if given.cache.is_file():
        with np.load(given.cache) as held:
            if str(held["key"]) == key:
                return {n: (held["crops"][i], held["found"][i]) for i, n in enumerate(wanted)}
    lfw = read_lfw(given.lfw)
    rng = np.random.default_rng(0)
    mated = np.flatnonzero(lfw.mated)
    rng.shuffle(mated)
    _, once = np.unique(lfw.subjects[lfw.first[mated]], return_index=True)
    pairs = mated[np.sort(once)][: given.subjects]
    pixels = np.zeros((len(wanted), len(pairs), 112, 112, 3), dtype=np.uint8)
    found = np.zeros((len(wanted), len(pairs)), dtype=bool)

    def place(condition: int, number: int, photo: np.ndarray) -> object:
        try:
            face = recognizer.sample(photo).face
        except VultusError:
            return None
        pixels[condition, number] = align(photo, face)[0]
        found[condition, number] = True
        return face

    for number, pair in enumerate(pairs):
        place(0, number, read_image(lfw.files[lfw.first[pair]]))
        photo = read_image(lfw.files[lfw.second[pair]])
        face = place(1, number, photo)
        if face is None:
            continue
        for condition, name in enumerate(wanted[2:], start=2):
            factor, severity = name.split()
            place(condition, number, FACTORS[factor](photo, face, int(severity)))  # type: ignore[arg-type]
        if number % 50 == 49:
            print(f"{number + 1} of {len(pairs)} pairs", flush=True)
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(given.cache, key=np.array(key), crops=pixels, found=found)
    return {n: (pixels[i], found[i]) for i, n in enumerate(wanted)}


if __name__ == "__main__":
    main()

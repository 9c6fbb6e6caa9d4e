"""How near does a learned restorer come to the true view? PSNR and SSIM, and a sheet to look at.

    python -m benchmarks.restore.restorer --model out/restore/restore-small.toml --faces out/celeba

Faces of the people that training held out (`data.hold_out` and `run.seed` of the recipe), each harmed by one factor at a
severity that is drawn, before and after. Whether they are recognised better: `benchmarks.restore.run --restorer`.
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
from vultus.evaluate.severity import FACTORS
from vultus.restore import Restorer
from vultus.train.data import open_dataset
from vultus.train.restoration import Config
from vultus.train.restoration.pairs import harmed
from vultus.train.restoration.training import split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="what the recipe's data.train names, for PSNR and SSIM")
    parser.add_argument("--hold-out", type=float, default=0.1, help="as data.hold_out of the recipe")
    parser.add_argument("--seed", type=int, default=0, help="as run.seed of the recipe")
    parser.add_argument("--count", type=int, default=200, help="faces for PSNR and SSIM")
    parser.add_argument("--model", type=Path, required=True, help="manifest of a restorer")
    parser.add_argument("--factors", nargs="+", default=["low_resolution", "occlusion", "dark", "yaw"])
    parser.add_argument("--severity", type=int, default=5, help="of the sheet")
    parser.add_argument("--portraits", nargs="*", default=[], help="photos for the sheet")
    parser.add_argument("--sheet", type=Path, help="PNG: each portrait harmed by each factor, restored, and as it was")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    record: dict[str, object] = {}
    restorer = Restorer.load(given.model, threads=1)
    if given.faces is not None:
        record["true view"] = nearness(given, restorer)
    if given.sheet is not None:
        sheet(given, restorer)
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
        harmed_photos = [FACTORS[f](photo, face, given.severity) for f in given.factors]
        before = np.concatenate([align(p, recognizer.sample(p).face) for p in harmed_photos])
        rows += [np.hstack([*before, true[0]]), np.hstack([*restorer(before), restorer(true)[0]])]
    Image.fromarray(np.vstack(rows)).save(given.sheet, optimize=True)


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


def blur(values: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Mean structural similarity of the grey pictures (Wang et al. 2004: Gaussian window of sigma 1.5)."""
    total = 0.0
    for x, y in zip(one, other, strict=True):
        a, b = (cv2.cvtColor(v, cv2.COLOR_RGB2GRAY).astype(np.float64) for v in (x, y))
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        total += float((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())
    return total / len(one)


if __name__ == "__main__":
    main()

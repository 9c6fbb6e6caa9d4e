"""Throughput of each operation against the same operation of albumentations and kornia, A B A B in one run.

    python -m venv VENV && VENV/bin/pip install vultus -r benchmarks/augment/requirements-peers.txt
    OMP_NUM_THREADS=1 VENV/bin/python -m benchmarks.augment.speed [--rounds 15] [--operation NAME ...] [--out FILE]

A batch of 64 aligned crops of 112 x 112, given back as one array, and 4 photos of 640 x 480, given back one by one, each
changed by one operation with as equal parameters as the libraries allow; everything on one thread, through what a user calls:
a vultus policy of one step, an albumentations pipeline of one transform for each picture, a kornia augmentation of the batch.
Landmarks are left out where the operation does without. Random numbers are drawn anew each time. Kornia gets its float tensors
ready made: turning uint8 pictures into them and back is not counted. It computes in float32, the others in uint8.

The figures are CPU time. The ratio is the median over the rounds of a peer's time by vultus' time: above 1 vultus is faster.
Exit code 1 where it is below 0.97 for the same operation. Gaussian noise is another operation than a sensor's and stands beside
it for orientation. A peer that is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vultus.augment import OPERATIONS, Policy, Step
from vultus.types import FloatArray, UInt8Array

CROP = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
EYES = 35.2377  # pixels between them, in the crops and by construction in the photos
# Severities that fix the parameters of the comparison; whether a default is another does not matter here.
LEVELS = {"rotation": 3, "scale": 3, "shift": 3, "crop": 3, "brightness": 3, "contrast": 3, "saturation": 3, "hue": 3}
LEVELS |= {"white_balance": 3, "grey": 5, "gamma": 3, "light": 3, "mirror": 5}
# Lengths in these are measured by the distance between the eyes; they get landmarks, which they leave as they are.
MEASURED = {"blur", "motion_blur", "defocus", "jpeg", "low_resolution", "patches", "shift"}
BATCH = 64  # from so many on the pictures are given back as one array
WARM = 5  # calls before the one that counts
WHOLE = ("mirror", "rotation", "brightness", "contrast", "saturation", "blur", "jpeg")


def pictures(count: int, size: tuple[int, int]) -> UInt8Array:
    """(count, height, width, 3) cuts of a portrait."""
    import skimage.data

    portrait = cv2.resize(np.asarray(skimage.data.astronaut()), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    found = np.empty((count, *size, 3), dtype=np.uint8)
    for picture in found:
        y, x = rng.integers(1024 - size[0]), rng.integers(1024 - size[1])
        picture[:] = portrait[y : y + size[0], x : x + size[1]]
    return found


def vultus_call(names: tuple[str, ...], images: UInt8Array, landmarks: FloatArray) -> Callable[[], object]:
    policy = Policy(tuple(Step(n, severity=(LEVELS.get(n, 2), LEVELS.get(n, 2))) for n in names))
    points = landmarks if policy.needs_landmarks or set(names) & MEASURED else None
    seed = iter(range(1 << 40))
    if len(images) < BATCH:
        return lambda: [policy(picture, points, seed=next(seed)) for picture in images]
    return lambda: policy(images, points, seed=next(seed))


def amounts() -> dict[str, float]:
    return {name: operation.amount(LEVELS.get(name, 2)) for name, operation in OPERATIONS.items()}


def albumentations_call(names: tuple[str, ...], images: UInt8Array) -> Callable[[], object] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import albumentations as A  # noqa: N812
    except ImportError:
        return None
    height, width = images.shape[1:3]
    n = amounts()
    shift = n["shift"] * EYES / width
    side = 1 - n["crop"]
    motion = round(n["motion_blur"] * EYES) | 1
    known: dict[str, Any] = {
        "mirror": lambda: A.HorizontalFlip(p=1),
        "rotation": lambda: A.Rotate(limit=(n["rotation"], n["rotation"]), border_mode=cv2.BORDER_REFLECT_101, p=1),
        "scale": lambda: A.Affine(scale=(0.82, 0.82), border_mode=cv2.BORDER_REFLECT_101, p=1),
        "shift": lambda: A.Affine(translate_percent=(-shift, shift), border_mode=cv2.BORDER_REFLECT_101, p=1),
        "crop": lambda: A.RandomResizedCrop(
            (height, width), scale=(side**2, side**2), ratio=(width / height,) * 2, p=1
        ),
        "brightness": lambda: A.RandomBrightnessContrast((-0.4, 0.4), (0, 0), p=1),
        "contrast": lambda: A.RandomBrightnessContrast((0, 0), (-0.4, 0.4), p=1),
        "saturation": lambda: A.ColorJitter((1, 1), (1, 1), (0.5, 1.5), (0, 0), p=1),
        "hue": lambda: A.HueSaturationValue(hue_shift_limit=(10, 10), sat_shift_limit=0, val_shift_limit=0, p=1),
        "white_balance": lambda: A.PlanckianJitter(p=1),
        "grey": lambda: A.ToGray(p=1),
        "gamma": lambda: A.RandomGamma((67, 150), p=1),
        "light": lambda: A.Illumination(mode="linear", intensity_range=(0.2, 0.2), p=1),
        "blur": lambda: A.GaussianBlur(blur_limit=0, sigma_limit=(n["blur"] * EYES,) * 2, p=1),
        "motion_blur": lambda: A.MotionBlur(blur_limit=(motion, motion), p=1),
        "defocus": lambda: A.Defocus(radius=(round(n["defocus"] * EYES),) * 2, p=1),
        "noise": lambda: A.ShotNoise(scale_range=(0.1, 0.1), p=1),
        "jpeg": lambda: A.ImageCompression(quality_range=(20, 20), p=1),
        "low_resolution": lambda: A.Downscale(
            scale_range=(n["low_resolution"] / EYES,) * 2,
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_CUBIC},
            p=1,
        ),
        "patches": lambda: A.CoarseDropout(
            num_holes_range=(1, 3),
            hole_height_range=(0.1, 0.3),
            hole_width_range=(0.1, 0.3),
            fill="random_uniform",
            p=1,
        ),
        "gaussian noise": lambda: A.GaussNoise(std_range=(0.05, 0.05), p=1),
    }
    if any(name not in known for name in names):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = A.Compose([known[name]() for name in names])

    def call() -> object:
        changed = [pipeline(image=picture)["image"] for picture in images]
        return changed if len(images) < BATCH else np.stack(changed)

    return call


def kornia_call(names: tuple[str, ...], images: UInt8Array) -> Callable[[], object] | None:
    try:
        import torch
        from kornia import augmentation as K  # noqa: N812
    except ImportError:
        return None
    torch.set_num_threads(1)
    height, width = images.shape[1:3]
    n = amounts()
    shift = n["shift"] * EYES / width
    side = 1 - n["crop"]
    kernel = round(6 * n["blur"] * EYES + 1) | 1
    motion = round(n["motion_blur"] * EYES) | 1
    known: dict[str, Any] = {
        "mirror": lambda: K.RandomHorizontalFlip(p=1.0),
        "rotation": lambda: K.RandomRotation((n["rotation"], n["rotation"] + 1e-3), p=1.0),
        "scale": lambda: K.RandomAffine(0.0, scale=(0.82, 0.8201), padding_mode="reflection", p=1.0),
        "shift": lambda: K.RandomAffine(0.0, translate=(shift, shift), padding_mode="reflection", p=1.0),
        "crop": lambda: K.RandomResizedCrop((height, width), (side**2, side**2), (width / height,) * 2, p=1.0),
        "brightness": lambda: K.RandomBrightness((0.67, 1.5), p=1.0),
        "contrast": lambda: K.RandomContrast((0.67, 1.5), p=1.0),
        "saturation": lambda: K.RandomSaturation((0.5, 1.5), p=1.0),
        "hue": lambda: K.RandomHue((-0.06, 0.06), p=1.0),
        "white_balance": lambda: K.RandomPlanckianJitter(p=1.0),
        "grey": lambda: K.RandomGrayscale(p=1.0),
        "gamma": lambda: K.RandomGamma((0.67, 1.5), p=1.0),
        "light": lambda: K.RandomLinearIllumination(gain=(0.2, 0.2), p=1.0),
        "blur": lambda: K.RandomGaussianBlur((kernel, kernel), (n["blur"] * EYES, n["blur"] * EYES + 1e-3), p=1.0),
        "motion_blur": lambda: K.RandomMotionBlur(motion, 90.0, 0.0, p=1.0),
        "jpeg": lambda: K.RandomJPEG((20.0, 20.0), p=1.0),
        "patches": lambda: K.RandomErasing((0.1, 0.1001), (0.5, 2.0), p=1.0),
        "gaussian noise": lambda: K.RandomGaussianNoise(std=0.05, p=1.0),
    }
    if any(name not in known for name in names):
        return None
    steps = [known[name]() for name in names]
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255

    def call() -> object:
        with torch.no_grad():
            changed = batch
            for step in steps:
                changed = step(changed)
            return changed

    return call


def compared(name: str, images: UInt8Array, landmarks: FloatArray, rounds: int) -> dict[str, Any]:
    names = WHOLE if name == "policy" else (name,)
    peers = ("gaussian noise",) if name == "noise" else ()
    calls = {"vultus": vultus_call(names, images, landmarks)}
    for peer, make in (("albumentations", albumentations_call), ("kornia", kornia_call)):
        for asked in (names, peers) if peers else (names,):
            call = make(asked, images)
            if call is not None:
                calls[f"{peer}{' (Gaussian)' if asked == peers else ''}"] = call
    times = taken(calls, rounds if len(calls) > 1 else 2)
    own = times.pop("vultus")
    row: dict[str, Any] = {"operation": name, "vultus_us": 1e6 * statistics.median(own) / len(images)}
    for other, its in times.items():
        row[f"{other}_us"] = 1e6 * statistics.median(its) / len(images)
        row[f"{other}_ratio"] = statistics.median(a / b for a, b in zip(its, own, strict=True))
    return row


def taken(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU time by name, for each round.

    Each entrant is called five times before the call that counts: a library that works in float32 leaves the caches such that
    whoever comes next takes up to three times as long for four calls. The order is drawn anew for each round.
    """
    names = list(calls)
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in rng.permutation(names).tolist():
            for _ in range(WARM):
                calls[name]()
            start = time.process_time()
            calls[name]()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--operation", nargs="+", default=[*OPERATIONS, "policy"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    versions = {}
    for package in ("vultus", "albumentations", "kornia", "opencv-python-headless", "numpy", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package} is not installed and left out", file=sys.stderr)
    print(", ".join(f"{k} {v}" for k, v in versions.items()))
    record: dict[str, Any] = {"versions": versions, "machine": platform.machine(), "rounds": given.rounds, "sizes": {}}
    slower = []
    for label, count, size in (("112 x 112", BATCH, (112, 112)), ("640 x 480", 4, (480, 640))):
        images = pictures(count, size)
        landmarks = np.add(CROP, ((size[1] - 112) / 2, (size[0] - 112) / 2)).astype(np.float32)
        print(
            f"\n| {label} | vultus, us | albumentations, us | ratio | kornia, us | ratio |\n|---|---|---|---|---|---|"
        )
        rows = []
        for name in given.operation:
            row = compared(name, images, landmarks, given.rounds)
            rows.append(row)
            for tail in ("", " (Gaussian)") if name == "noise" else ("",):
                cells = [f"{name}{tail}", f"{row['vultus_us']:.0f}"]
                for peer in ("albumentations", "kornia"):
                    known = f"{peer}{tail}_us" in row
                    cells += (
                        [f"{row[f'{peer}{tail}_us']:.0f}", f"{row[f'{peer}{tail}_ratio']:.2f}"] if known else ["", ""]
                    )
                print(f"| {' | '.join(cells)} |", flush=True)
            slower += [
                f"{name} {label}: {k}"
                for k, v in row.items()
                if k.endswith("_ratio") and "Gaussian" not in k and v < 0.97
            ]
        record["sizes"][label] = rows
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print("\nslower than a peer: " + (", ".join(slower) or "none"))
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())

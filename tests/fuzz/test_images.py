"""Mutated pictures: pixels or a typed error come out, whatever goes in.

A default run tries 2,000 of them. `VULTUS_FUZZ=10000` tries that many, and `VULTUS_FUZZ_SEED=7` tries others. A failure
names the seed picture and the number of the mutation; both together always give the same bytes.
"""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vultus import Limits, Recognizer, Sample
from vultus.errors import VultusError
from vultus.image import open_photo
from vultus.types import UInt8Array

TOTAL = int(os.environ.get("VULTUS_FUZZ", "2000"))
SEED = int(os.environ.get("VULTUS_FUZZ_SEED", "0"))
LIMITS = Limits(max_pixels=2_000_000)
SECONDS = 20  # a picture that takes as long hangs

Rng = np.random.Generator


# --- seeds ------------------------------------------------------------------------------------------------------------


def pixels(height: int = 40, width: int = 56) -> UInt8Array:
    """Something with edges, ramps and noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 4, y * 5, (x // 8 + y // 8) % 2 * 200], axis=2)
    return np.clip(ramp + rng.integers(0, 30, ramp.shape), 0, 255).astype(np.uint8)


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, kind, **options)
    return encoded.getvalue()


def seeds() -> dict[str, bytes]:
    plain = Image.fromarray(pixels())
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.fromarray(pixels()[::-1].copy()), plain]
    return {
        "jpeg": encode(plain, "JPEG", quality=80),
        "jpeg progressive": encode(plain, "JPEG", progressive=True, restart_marker_rows=1),
        "jpeg with exif": encode(plain, "JPEG", exif=exif, comment=b"a comment", icc_profile=b"a profile" * 9),
        "jpeg grey": encode(plain.convert("L"), "JPEG"),
        "jpeg cmyk": encode(plain.convert("CMYK"), "JPEG", icc_profile=bytes(300)),
        "jpeg of several": encode(plain, "MPO", save_all=True, append_images=frames),
        "png": encode(plain, "PNG", exif=exif),
        "png palette": encode(plain.quantize(40), "PNG", transparency=3),
        "png alpha": encode(plain.convert("RGBA"), "PNG", icc_profile=b"a profile" * 9),
        "png 16 bit": encode(Image.fromarray(pixels()[..., 0].astype(np.uint16) * 257), "PNG"),
        "png 1 bit": encode(plain.convert("1"), "PNG"),
        "png animated": encode(plain, "PNG", save_all=True, append_images=frames, duration=10),
        "webp": encode(plain, "WEBP", quality=70, exif=exif),
        "webp lossless": encode(plain.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": encode(plain, "WEBP", save_all=True, append_images=frames, duration=10),
    }


SEEDS = seeds()


# --- mutations --------------------------------------------------------------------------------------------------------


def flip(content: bytearray, rng: Rng) -> bytearray:
    for place in rng.integers(0, len(content), rng.integers(1, 20)):
        content[place] ^= 1 << int(rng.integers(8))
    return content


def overwrite(content: bytearray, rng: Rng) -> bytearray:
    """A number that parsers are fond of."""
    values = (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x01")
    value = values[rng.integers(len(values))][: rng.integers(1, 5)]
    place = int(rng.integers(0, max(1, len(content) - 4)))
    content[place : place + len(value)] = value
    return content


def header(content: bytearray, rng: Rng) -> bytearray:
    for place in rng.integers(4, min(64, len(content)), rng.integers(1, 5)):
        content[place] = rng.integers(256)
    return content


def truncate(content: bytearray, rng: Rng) -> bytearray:
    return content[: rng.integers(0, len(content))]


def insert(content: bytearray, rng: Rng) -> bytearray:
    place = int(rng.integers(0, len(content)))
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]


def delete(content: bytearray, rng: Rng) -> bytearray:
    place = int(rng.integers(0, len(content)))
    del content[place : place + int(rng.integers(1, 40))]
    return content


def duplicate(content: bytearray, rng: Rng) -> bytearray:
    start, place = (int(v) for v in rng.integers(0, len(content), 2))
    return content[:place] + content[start : start + int(rng.integers(1, 400))] + content[place:]


def splice(content: bytearray, rng: Rng) -> bytearray:
    """The start of one picture and the end of another."""
    other = SEEDS[sorted(SEEDS)[rng.integers(len(SEEDS))]]
    return content[: rng.integers(0, len(content))] + other[rng.integers(0, len(other)) :]


def blocks(content: bytes) -> list[bytes]:
    """The picture in the blocks that its format is made of: PNG and RIFF chunks, JPEG segments."""
    found = []
    if content[:4] == b"\x89PNG":
        found, place = [content[:8]], 8
        while place < len(content):
            size = 12 + int.from_bytes(content[place : place + 4], "big")
            found.append(content[place : place + size])
            place += size
    elif content[:4] == b"RIFF":
        found, place = [content[:12]], 12
        while place < len(content):
            size = 8 + int.from_bytes(content[place + 4 : place + 8], "little")
            found.append(content[place : place + size + size % 2])
            place += size + size % 2
    else:
        found, place = [content[:2]], 2
        while content[place : place + 1] == b"\xff" and content[place + 1] != 0xDA:
            size = 2 + int.from_bytes(content[place + 2 : place + 4], "big")
            found.append(content[place : place + size])
            place += size
        found.append(content[place:])
    assert b"".join(found) == content
    return found


def shuffle(content: bytearray, rng: Rng) -> bytearray:
    """Blocks dropped, doubled or exchanged, whole."""
    parts = blocks(bytes(content))
    one, other = (int(v) for v in rng.integers(1, len(parts), 2))
    change = rng.integers(3)
    if change == 0:
        del parts[one]
    elif change == 1:
        parts.insert(other, parts[one])
    else:
        parts[one], parts[other] = parts[other], parts[one]
    return bytearray(b"".join(parts))


def repaired(content: bytearray, rng: Rng) -> bytearray:
    """Bytes changed inside a block whose length or checksum is then made right, so that parsers look further."""
    parts = blocks(bytes(content))
    one = int(rng.integers(1, len(parts)))
    part = bytearray(parts[one])
    if content[:4] == b"\x89PNG" and len(part) > 12:
        body = flip(part[8:-4], rng)
        part = part[:8] + body + struct.pack(">I", zlib.crc32(part[4:8] + body))
    elif content[:4] == b"RIFF" and len(part) > 8:
        part = part[:8] + flip(part[8:], rng)
    elif len(part) > 4:
        part = part[:4] + flip(part[4:], rng)
    parts[one] = bytes(part)
    return bytearray(b"".join(parts))


MUTATIONS: tuple[Callable[[bytearray, Rng], bytearray], ...] = (
    flip, overwrite, header, truncate, insert, delete, duplicate, splice, shuffle, repaired, repaired,
)  # fmt: skip


def mutated(name: str, number: int) -> bytes:
    return mutation(SEEDS[name], np.random.default_rng([SEED, sorted(SEEDS).index(name), number]))


def mutation(seed: bytes, rng: Rng) -> bytes:
    content = bytearray(seed)
    first = MUTATIONS[rng.integers(len(MUTATIONS))]
    content = first(content, rng)
    for _ in range(rng.integers(0, 3)):
        if len(content) > 80:
            content = MUTATIONS[rng.integers(8)](content, rng)
    return bytes(content)


# --- tests ------------------------------------------------------------------------------------------------------------


def outcome(content: bytes) -> str:
    """The code of the error, or "pixels"; anything else that happens is a fault."""
    try:
        photo = open_photo(content, limits=LIMITS)
        small, scale = photo.reduced(16)
        full = photo.pixels()
    except VultusError as problem:
        return problem.code
    for picture in (small, full):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert picture.flags.c_contiguous
    assert full.shape == (photo.height, photo.width, 3)
    assert full.size <= 3 * LIMITS.max_pixels
    assert 0 < scale <= 1
    return "pixels"


@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore")  # the decoders warn of what they find; that is what the errors are for
@pytest.mark.parametrize("name", sorted(SEEDS))
def test_mutated_pictures_give_pixels_or_a_typed_error(name: str) -> None:
    assert len(SEEDS) == 15
    assert outcome(SEEDS[name]) == "pixels"
    seen = set()
    for number in range(-(-TOTAL // len(SEEDS))):
        content = mutated(name, number)
        began = time.monotonic()
        try:
            seen.add(outcome(content))
        except Exception as problem:
            raise AssertionError(f"{name!r}, seed {SEED}, mutation {number}: {problem!r}") from problem
        assert time.monotonic() - began < SECONDS, f"{name!r}, seed {SEED}, mutation {number} took too long"
    assert seen <= {"pixels", "parse_error", "too_large", "unsupported"}
    if TOTAL >= 2_000:
        assert {"pixels", "parse_error"} <= seen  # the mutations reach into the decoders and do harm there


@pytest.mark.filterwarnings("ignore")
def test_mutated_portraits_give_a_sample_or_a_typed_error(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    portrait = encode(Image.fromarray(astronaut[:300, 60:360]), "JPEG", quality=80)
    sources = [mutation(portrait, np.random.default_rng([SEED, number])) for number in range(60)]
    results = list(recognizer.extract(sources))
    assert len(results) == 60
    samples = [r for r in results if isinstance(r, Sample)]
    assert 0 < len(samples) < 60
    assert all(np.isfinite(s.template.vector).all() for s in samples)


def test_a_mutation_can_be_made_again() -> None:
    assert mutated("png", 3) == mutated("png", 3)
    assert len({mutated("png", n) for n in range(50)}) > 40

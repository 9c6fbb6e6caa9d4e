"""Bodies in place of pictures."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from tests.service.catalogue.case import (
    PARSE,
    TOO_LARGE,
    UNSUPPORTED,
    Case,
    as_picture,
    in_form,
    kind,
)


def noise(size: int = 48) -> Image.Image:
    """A picture that compresses badly, so that a cut goes through its pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8))


def file(picture: Image.Image, form: str) -> bytes:
    """The picture in a format."""
    out = io.BytesIO()
    picture.save(out, form)
    return out.getvalue()


def chunk(name: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    """A chunk of a PNG."""
    check = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    data: bytes | None = None,
    before: bytes = b"",
    end: bytes | None = None,
) -> bytes:
    """A PNG of which anything may be wrong."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    rows = zlib.compress(bytes((width * 3 + 1) * min(height, 4))) if data is None else data
    tail = chunk(b"IEND", b"") if end is None else end
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", rows) + tail


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    content = bytearray(file(noise(), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of(width: int, height: int) -> bytes:
    """An extended WebP that claims a size, with nothing in it."""
    extended = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless_of(width: int, height: int) -> bytes:
    """A lossless WebP that claims a size."""
    bits = (width - 1) | (height - 1) << 14
    stream = b"\x2f" + struct.pack("<I", bits) + bytes(20)
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + bytes(len(stream) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@kind("nothing and next to nothing")
def _() -> Iterator[Case]:
    few = [
        b"",
        b"\0",
        b" ",
        b"\n" * 20,
        b"\xff",
        b"\xff\xd8",
        b"\x89PNG",
        b"RIFF",
        b"RIFF\0\0\0\0WEB",
        b"\0" * 100,
        b"\xff" * 64,
    ]
    yield from as_picture([(f"{c[:12]!r}", c) for c in few], PARSE)


@kind("garbage")
def _() -> Iterator[Case]:
    yield from as_picture([(f"seed {s}", b"?" + random.Random(s).randbytes(10 ** (s % 5))) for s in range(12)], PARSE)


@kind("JPEG cut off")
def _() -> Iterator[Case]:
    content = file(noise(), "JPEG")
    places = [3, 10, 20, 100, 200, 400, 600, len(content) // 2, len(content) * 3 // 4, len(content) - 200]
    yield from as_picture([(f"after {p} bytes", content[:p]) for p in places], PARSE)


@kind("PNG cut off")
def _() -> Iterator[Case]:
    content = file(noise(), "PNG")
    places = [8, 12, 20, 33, 40, 100, 1000, len(content) // 2, len(content) * 3 // 4, len(content) - 100]
    yield from as_picture([(f"after {p} bytes", content[:p]) for p in places], PARSE)


@kind("WebP cut off")
def _() -> Iterator[Case]:
    content = file(noise(), "WEBP")
    places = [12, 16, 20, 24, 30, 40, 100, len(content) // 2, len(content) * 3 // 4, len(content) - 100]
    yield from as_picture([(f"after {p} bytes", content[:p]) for p in places], PARSE)


@kind("PNG that is damaged")
def _() -> Iterator[Case]:
    whole = file(noise(), "PNG")
    at = whole.index(b"IDAT")
    stream = bytearray(whole)
    stream[at + 60 : at + 70] = bytes(10)
    yield from as_picture(
        [
            ("width 0", png(0, 4)),
            ("height 0", png(4, 0)),
            ("colour type 5", png(4, 4, colour=5)),
            ("depth 3", png(4, 4, depth=3)),
            ("no zlib", png(4, 4, data=b"hello, this is no zlib stream")),
            ("empty data", png(4, 4, data=b"")),
            ("pixels overwritten", bytes(stream)),
            ("checksum of the header", whole[:29] + b"\0\0\0\0" + whole[33:]),
            ("no header", b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") + chunk(b"IEND", b"")),
            ("chunk longer than the file", b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffIHDR" + bytes(30)),
        ],
        PARSE,
    )


@kind("JPEG that is damaged")
def _() -> Iterator[Case]:
    whole = file(noise(), "JPEG")

    def without(marker: bytes) -> bytes:
        found = whole
        while (at := found.find(marker)) >= 0:
            found = found[:at] + found[at + 2 + struct.unpack(">H", found[at + 2 : at + 4])[0] :]
        return found

    def changed(marker: bytes, offset: int, value: int) -> bytes:
        found = bytearray(whole)
        found[found.index(marker) + offset] = value
        return bytes(found)

    yield from as_picture(
        [
            ("width 0", jpeg_of(0, 48)),
            ("height 0", jpeg_of(48, 0)),
            ("no quantisation table", without(b"\xff\xdb")),
            ("no frame", without(b"\xff\xc0")),
            ("seven components", changed(b"\xff\xc0", 9, 7)),
            ("no component", changed(b"\xff\xc0", 9, 0)),
            ("precision 200", changed(b"\xff\xc0", 4, 200)),
            ("arithmetic lossless frame", changed(b"\xff\xc0", 1, 0xCB)),
            ("end at once", b"\xff\xd8\xff\xd9"),
            ("sampling 0", changed(b"\xff\xc0", 11, 0)),
        ],
        PARSE,
    )


@kind("bombs of pixels")
def _() -> Iterator[Case]:
    sizes = [(10_000, 10_000), (16_384, 16_384), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (6400, 6400)]
    many = zlib.compress(bytes(60_000_000), 9)
    yield from as_picture(
        [(f"PNG {w} x {h}", png(w, h, data=b"")) for w, h in sizes]
        + [("PNG with all its pixels", png(9000, 9000, data=many))]
        + [(f"JPEG {w} x {h}", jpeg_of(w, h)) for w, h in ((65_500, 65_500), (16_000, 16_000), (6400, 6400))],
        TOO_LARGE,
    )


@kind("bombs of one side")
def _() -> Iterator[Case]:
    long = [(16_385, 1), (1, 16_385), (20_000, 16), (16, 20_000), (65_500, 1), (1, 65_500)]
    yield from as_picture([(f"JPEG {w} x {h}", jpeg_of(w, h)) for w, h in long], TOO_LARGE)
    yield from as_picture([(f"PNG {w} x {h}", png(w, h, data=b"")) for w, h in long], TOO_LARGE)


@kind("bombs in what is beside the pixels")
def _() -> Iterator[Case]:
    bomb = zlib.compress(bytes(90_000_000), 9)
    yield from as_picture(
        [
            ("text", png(4, 4, before=chunk(b"zTXt", b"Comment\0\0" + bomb), data=b"x")),
            ("profile", png(4, 4, before=chunk(b"iCCP", b"icc\0\0" + bomb), data=b"x")),
            ("international text", png(4, 4, before=chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb), data=b"x")),
            ("a hundred profiles", png(4, 4, before=chunk(b"iCCP", b"icc\0\0" + bomb[:9000]) * 20, data=b"x")),
        ],
        PARSE,
    )


@kind("WebP that claims what it lacks")
def _() -> Iterator[Case]:
    sizes = [(1, 1), (16, 16), (640, 480), (4000, 4000)]
    yield from as_picture([(f"extended {w} x {h}", webp_of(w, h)) for w, h in sizes], PARSE)
    yield from as_picture([(f"lossless {w} x {h}", lossless_of(w, h)) for w, h in sizes[2:]], PARSE)


SVG = "<svg xmlns='http://www.w3.org/2000/svg'>{}</svg>"


@kind("SVG and XML")
def _() -> Iterator[Case]:
    inside = ["", "<script>alert(1)</script>", "<image href='file:///etc/passwd'/>", "<use href='http://10.0.0.1/'/>",
              "<foreignObject><iframe src='javascript:0'/></foreignObject>"]  # fmt: skip
    texts = [SVG.format(i) for i in inside]
    texts += [f"<?xml version='1.0'?>{SVG.format('')}", "\n\n  " + SVG.format(""), "\ufeff" + SVG.format("")]
    entity = "<?xml version='1.0'?><!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>"
    laughs = "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" for i in range(1, 10))
    texts += [entity, f"<?xml version='1.0'?><!DOCTYPE s [<!ENTITY l0 'ha'>{laughs}]><svg>&l9;</svg>"]
    yield from as_picture([(t[:40], t.encode()) for t in texts], UNSUPPORTED)


@kind("page descriptions")
def _() -> Iterator[Case]:
    found = [b"%PDF-1.7\n", b"%PDF-1.4\n1 0 obj<</S/JavaScript>>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%!PS\n(/etc/passwd) run",
             b"\xc5\xd0\xd3\xc6" + bytes(30), b"%!PS\n{} loop"]  # fmt: skip
    yield from as_picture([(f"{c[:20]!r}", c) for c in found], UNSUPPORTED)


@kind("TIFF and FITS")
def _() -> Iterator[Case]:
    made = file(noise(), "TIFF")
    found = [
        made,
        made[:20],
        b"MM\0*" + bytes(40),
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0" + bytes(16),
        b"SIMPLE  =   T",
    ]
    yield from as_picture([(f"{c[:12]!r}", c) for c in found], UNSUPPORTED)


@kind("GIF, BMP, icons and Photoshop")
def _() -> Iterator[Case]:
    moving = io.BytesIO()
    noise().save(moving, "GIF", save_all=True, append_images=[noise(48)] * 3)
    found = [
        file(noise(), "GIF"),
        moving.getvalue(),
        b"GIF89a",
        b"GIF87a" + b"\xff" * 20,
        file(noise(), "BMP"),
        b"BM" + bytes(50),
        file(noise(), "ICO"),
        b"8BPS\0\1" + bytes(40),
    ]
    yield from as_picture([(f"{c[:8]!r} {len(c)}", c) for c in found], UNSUPPORTED)


@kind("JPEG 2000 and JPEG XL")
def _() -> Iterator[Case]:
    found = [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), b"\xff\x0a" + bytes(60), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(9)]
    yield from as_picture([(f"{c[:8]!r}", c) for c in found], UNSUPPORTED)


@kind("HEIC and AVIF that are none")
def _() -> Iterator[Case]:
    found = [
        (f"{b.decode()} {n}", b"\0\0\0\x18ftyp" + b + bytes(4) + b + b"mif1" + bytes(n))
        for b in (b"heic", b"avif")
        for n in (0, 99)
    ]
    yield from as_picture(found, PARSE)


class _Run:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


@kind("pickles")
def _() -> Iterator[Case]:
    yield from as_picture(
        [(f"protocol {p}", pickle.dumps(_Run(), protocol=p)) for p in (2, 3, 4, 5)]
        + [(f"array {p}", pickle.dumps(np.zeros(4), protocol=p)) for p in (2, 5)],
        UNSUPPORTED,
    )


@kind("models and arrays")
def _() -> Iterator[Case]:
    array = io.BytesIO()
    np.save(array, np.full(512, np.nan, np.float32))
    found = [
        ("npy of NaN", array.getvalue()),
        ("safetensors", struct.pack("<Q", 2) + b"{}"),
        ("pickle of protocol 0", pickle.dumps(_Run(), protocol=0)),
        ("ONNX", b"\x08\x08\x12\x07pytorch"),
        ("floats", np.ones(512, np.float32).tobytes()),
        ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40)),
    ]
    yield from as_picture(found, PARSE)


def zipped(*names: str, content: bytes = b"x", link: bool = False) -> bytes:
    """A zip archive with members of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            if link:
                member.external_attr = 0o120777 << 16
            archive.writestr(member, content)
    return out.getvalue()


def escaping() -> list[tuple[str, bytes]]:
    """Archives with ways out of the folder they are unpacked in."""
    return [
        ("dots", zipped("../../etc/cron.d/x")),
        ("absolute", zipped("/etc/passwd")),
        ("a drive", zipped("C:\\x", "\\\\host\\share")),
        ("a link", zipped("gallery.json", content=b"/etc/passwd", link=True)),
        ("a bomb", zipped("gallery.db", content=bytes(20_000_000))),
        ("five thousand members", zipped(*(f"m{i}" for i in range(5000)))),
        ("twice one name", zipped("manifest.json", "manifest.json/")),
    ]


@kind("zip archives with ways out, as pictures")
def _() -> Iterator[Case]:
    yield from as_picture(escaping(), UNSUPPORTED)


@kind("tar, gzip and others")
def _() -> Iterator[Case]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../../x", "/etc/passwd"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    found = [
        ("tar", out.getvalue()),
        ("gzip of a picture", gzip.compress(file(noise(), "JPEG"))),
        ("gzip bomb", gzip.compress(bytes(20_000_000))),
        ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(26)),
        ("rar", b"Rar!\x1a\x07\0" + bytes(20)),
        ("xz", b"\xfd7zXZ\0" + bytes(20)),
        ("zstd", b"\x28\xb5\x2f\xfd" + bytes(20)),
    ]
    yield from as_picture(found, PARSE)


@kind("programs with the name of a picture")
def _() -> Iterator[Case]:
    texts = [
        b"\x7fELF\2\1\1" + bytes(50),
        b"MZ\x90\0" + bytes(60),
        b"#!/bin/sh\nrm -rf /\n",
        b"<?php system($_GET[0]);",
        b"<html><script>alert(1)</script>",
        b"\0asm\1\0\0\0",
        b"\xca\xfe\xba\xbe" + bytes(20),
        b"@echo off\r\n",
    ]
    names = ["a.jpg", "a.png", "a.jpg.exe", "a.php.jpg", "a.jpeg", "A.WEBP", "shell.jpg;.php", "a.jpg\u202egpj.exe"]
    for content, name in zip(texts, names, strict=True):
        yield in_form([("image", content)], PARSE, f"{content[:8]!r} as {name}", filename=name, mime="image/jpeg")


@kind("polyglots that begin as something else")
def _() -> Iterator[Case]:
    picture = file(noise(), "JPEG")
    found = [b"GIF89a" + picture, b"%PDF-1.7\n" + picture, b"<svg>" + picture, zipped("x") + picture, b"BM" + picture,
             pickle.dumps(_Run()) + picture]  # fmt: skip
    yield from as_picture([(f"{c[:8]!r} before a JPEG", c) for c in found], UNSUPPORTED)
    before = [b"<html>", b"#!/bin/sh\n", b"\0", b"\r\n", b"--x\r\n\r\n", b"data:image/jpeg,"]
    yield from as_picture([(f"{c!r} before a JPEG", c + picture) for c in before], PARSE)


@kind("text where a picture belongs")
def _() -> Iterator[Case]:
    import base64

    text = base64.b64encode(file(noise(), "JPEG"))
    found = [text, b"data:image/jpeg;base64," + text, text.hex().encode(), b"/etc/passwd", b"file:///etc/passwd", b"{}",
             b"https://example.org/a.jpg", b"\\\\host\\a.jpg", b"null", b"@a.jpg", b"../a.jpg"]  # fmt: skip
    yield from as_picture([(f"{c[:24]!r}", c) for c in found], PARSE)


@kind("pictures without a face")
def _() -> Iterator[Case]:
    found = [
        ("noise", file(noise(), "JPEG")),
        ("one pixel", file(Image.new("RGB", (1, 1)), "PNG")),
        ("white", file(Image.new("RGB", (64, 64), "white"), "WEBP")),
        ("grey", file(Image.new("L", (80, 60), 99), "JPEG")),
        ("a line", file(Image.new("RGB", (300, 1)), "PNG")),
        ("clear", file(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG")),
    ]
    expected = (422, "no_face")
    for name, content in found:
        yield in_form([("image", content)], expected, f"{name}: embed", "/v1/embed")
        yield in_form([("image", content)], expected, f"{name}: identify", "/v1/galleries/{gallery}/identify")
        parts: list[tuple[str, bytes | str]] = [("image", content), ("subject_id", "new")]
        yield in_form(parts, expected, f"{name}: enrol", "/v1/galleries/{gallery}/subjects")

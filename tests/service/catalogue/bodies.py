"""Bodies of JSON and forms that are not what a route takes."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

from tests.service.catalogue.case import (
    ARGUMENT,
    BAD,
    BOUNDARY,
    FORM,
    MEDIA,
    Case,
    form,
    in_form,
    in_json,
    kind,
)
from tests.service.catalogue.pictures import escaping, file, noise

PICTURE = base64.b64encode(file(noise(), "JPEG")).decode()
Parts = list[tuple[str, bytes | str]]
ENROL, IDENTIFY = "/v1/galleries/{gallery}/subjects", "/v1/galleries/{gallery}/identify"


@kind("JSON that is none")
def _() -> Iterator[Case]:
    for text in (b"", b" ", b"{", b"}", b'{"image"', b'{"image":}', b'{"image":"",}', b"{'image':''}", b"image=1", b"undefined",
                 b'{"image":"" "x":1}', b'{"image":"\n"}', b'{"image":"\\x"}', b"{}{}", b"/* */{}", b"<a/>"):  # fmt: skip
        yield in_json(text, ARGUMENT, f"{text!r}")


@kind("JSON of another kind")
def _() -> Iterator[Case]:
    values: tuple[object, ...] = (None, True, 1, -0.0, "", "image", [], [PICTURE], [[]], {})
    for value in values:
        yield in_json(value, ARGUMENT, f"{value!r}"[:30], "/v1/embed")


@kind("JSON nested deeply")
def _() -> Iterator[Case]:
    for depth in (200, 10_000, 80_000):
        yield in_json(b"[" * depth, ARGUMENT, f"{depth} arrays, open")
        yield in_json(b"[" * depth + b"]" * depth, ARGUMENT, f"{depth} arrays")
        yield in_json(b'{"image":' * depth, ARGUMENT, f"{depth} objects, open")
        yield in_json(b'{"image":' * depth + b"1" + b"}" * depth, ARGUMENT, f"{depth} objects")


@kind("numbers that are none")
def _() -> Iterator[Case]:
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan", "+1", "0x10", "01", ".5", "1.", "1e"):
        yield in_json(f'{{"image":"{PICTURE}","min_face":{text}}}'.encode(), ARGUMENT, f"min_face {text}")
        yield in_json(f'{{"image":"{PICTURE}","fpir":{text}}}'.encode(), ARGUMENT, f"fpir {text}", IDENTIFY)


@kind("numbers out of range")
def _() -> Iterator[Case]:
    for name, path, values in (
        ("max_rank", IDENTIFY, (0, -1, 101, 1.5, 1e30, 2**63, 10**400, True, "5")),
        ("fpir", IDENTIFY, (0, 1, -0.1, 1.5, 10**400, 1e308)),
        ("min_face", "/v1/detect", (0, -1, 7.99, 4097, 10**400, 1e308)),
        ("fmr", "/v1/verify", (0, 1, -1, 2, 1e308)),
    ):
        for value in values:
            yield in_json({"image": PICTURE, name: value}, ARGUMENT, f"{name} {str(value)[:20]}", path)
    yield in_json(b'{"image":"","max_rank":' + b"9" * 100_000 + b"}", ARGUMENT, "max_rank of 100,000 digits", IDENTIFY)


@kind("values of another type")
def _() -> Iterator[Case]:
    for value in (1, 1.5, True, [], {}, [PICTURE], {"image": PICTURE}):
        yield in_json({"image": value}, ARGUMENT, f"image {type(value).__name__}")
        yield in_json({"image": PICTURE, "subject_id": value}, ARGUMENT, f"subject_id {type(value).__name__}", ENROL)
    wrong: tuple[tuple[str, object], ...] = (
        ("images", PICTURE), ("images", [1]), ("images", {"0": PICTURE}), ("name", []), ("consent", 1), ("expires", {}),
    )  # fmt: skip
    for field, other in wrong:
        yield in_json({"image": PICTURE, "subject_id": "new", field: other}, ARGUMENT, f"{field} {other!r}"[:30], ENROL)


@kind("fields that there are none of")
def _() -> Iterator[Case]:
    for field in (
        "other_image",
        "__proto__",
        "constructor",
        "$where",
        "admin",
        "scopes",
        "threshold",
        "path",
        "file",
        "",
        "IMAGE",
        "imag\u0435",
        "image\0",
        "score",
    ):
        yield in_json({"image": PICTURE, field: 1}, ARGUMENT, f"{field!r}")
        if field and "\0" not in field:
            yield in_form([("image", b"x"), (field, "1")], ARGUMENT, f"{field!r} in a form")


@kind("templates from outside, of any model")
def _() -> Iterator[Case]:
    unit, nan = json.dumps([1.0, *[0.0] * 511]), "[" + ",".join(["NaN"] * 512) + "]"
    constant, short, zero = json.dumps([0.044] * 512), "[1.0]", json.dumps([0.0] * 512)
    huge = "[" + ",".join(["1e999"] * 512) + "]"
    for name, vector in (
        ("unit", unit),
        ("NaN", nan),
        ("constant", constant),
        ("short", short),
        ("zero", zero),
        ("inf", huge),
    ):
        for field in ("embedding", "template", "vector"):
            body = f'{{"subject_id":"new","{field}":{vector},"model":"another@1"}}'.encode()
            yield in_json(body, ARGUMENT, f"{field}, {name}: enrol", ENROL)
        yield in_json(f'{{"embedding":{vector}}}'.encode(), ARGUMENT, f"{name}: identify", IDENTIFY)
        yield in_json(f'{{"image":"{PICTURE}","other":{vector}}}'.encode(), ARGUMENT, f"{name}: verify", "/v1/verify")


@kind("a gallery of another model")
def _() -> Iterator[Case]:
    expected = (409, "model_mismatch")
    at = "/v1/galleries/foreign"
    yield in_form([("image", b"x"), ("subject_id", "new")], expected, "enrol", f"{at}/subjects")
    yield in_form([("image", b"x")], expected, "add", f"{at}/subjects/ada/templates")
    yield in_form([("image", b"x")], expected, "identify", f"{at}/identify")
    yield in_form([("image", b"x"), ("gallery", "foreign"), ("subject_id", "ada")], expected, "verify", "/v1/verify")
    yield in_form([("images", b"x")], expected, "cluster", f"{at}/cluster")
    for end in ("/subjects", "/subjects/ada", "/subjects/ada/export"):
        yield Case(f"get {end}", expected, "GET", at + end)
    yield in_json({"other_id": "x"}, expected, "merge", f"{at}/subjects/ada/merge")
    yield in_json({"name": "x"}, expected, "rename", f"{at}/subjects/ada", "PATCH")
    yield Case("delete", expected, "DELETE", f"{at}/subjects/ada")
    yield Case("purge", expected, "POST", f"{at}/purge")


@kind("base64 that is none")
def _() -> Iterator[Case]:
    for text in (
        "!!!",
        "a",
        "ab",
        "abc",
        "=",
        "====",
        "ab==c",
        "a===",
        "-_-_",
        "YQ==\n",
        " YQ==",
        "YQ==YQ==",
        "Y Q=",
        "YQ",
        "ключ",
        "\0",
        "data:image/jpeg;base64,YQ==",
        "YQ%3D%3D",
        "&lt;",
        "\ufeffYQ==",
    ):
        yield in_json({"image": text}, ARGUMENT, f"{text!r}")
    yield in_json(b'{"image":"\\ud800"}', ARGUMENT, "half a surrogate pair")


@kind("encodings of text")
def _() -> Iterator[Case]:
    text = json.dumps({"image": PICTURE})
    for name in ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"):
        content = text.encode(name) if name != "utf-7" else b"+AHs-" + text.encode()
        yield in_json(content, ARGUMENT, name)
    for raw in (b"\xff", b"\xc0\xae", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe9", b"\x80"):
        yield in_json(b'{"image":"","x":"' + raw + b'"}', ARGUMENT, f"{raw!r} is no UTF-8")
        yield in_json(b'{"name":"' + raw + b'"}', ARGUMENT, f"{raw!r} in a name", "/v1/galleries")


@kind("bodies that are packed")
def _() -> Iterator[Case]:
    text = json.dumps({"image": PICTURE}).encode()
    for name, content in (
        ("gzip", gzip.compress(text)),
        ("gzip", gzip.compress(bytes(5_000_000))),
        ("br", b"\x1b\0\0"),
        ("deflate", b"x\x9c"),
    ):
        headers: dict[str, str | None] = {"Content-Type": "application/json", "Content-Encoding": name}
        yield Case(f"{name} {len(content)}", ARGUMENT, content=content, headers=headers)


@kind("media types that are not taken")
def _() -> Iterator[Case]:
    text = json.dumps({"image": PICTURE}).encode()
    for name in (
        None,
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "image/jpeg",
        "multipart/mixed",
        "application/octet-stream",
        "application/problem+json",
        "text/json",
        "json",
        "*/*",
        "application/json5",
        ";",
        "a" * 5000,
        "application/x-python-pickle",
        "application/msgpack",
        "application/json, text/plain",
    ):
        yield Case(f"{name}"[:40], MEDIA, content=text, headers={"Content-Type": name})
    for path in ("/v1/galleries", "/v1/keys"):
        yield in_form([("name", "x")], MEDIA, f"a form to {path}", path)


@kind("archives with ways out, as bodies")
def _() -> Iterator[Case]:
    for name, content in escaping():
        for path in (ENROL, "/v1/galleries"):
            yield Case(
                f"{name} to {path}", MEDIA, path=path, content=content, headers={"Content-Type": "application/zip"}
            )
    for name, content in escaping()[:3]:
        for path in ("/v1/galleries/{gallery}/import", "/v1/import"):
            headers: dict[str, str | None] = {"Content-Type": "application/zip"}
            yield Case(f"{name} to {path}", (404, "not_found"), path=path, content=content, headers=headers)


@kind("forms that cannot be parsed")
def _() -> Iterator[Case]:
    whole = form([("image", b"x")])
    end = f"--{BOUNDARY}"
    for name, content in (
        ("nothing", b""),
        ("no boundary", b"hello"),
        ("another boundary", whole.replace(BOUNDARY.encode(), b"other")),
        ("a part without a name", f"{end}\r\nContent-Disposition: form-data\r\n\r\nx\r\n{end}--\r\n".encode()),
        ("a part without a header", f"{end}\r\n\r\nx\r\n{end}--\r\n".encode()),
        ("a header without a colon", f"{end}\r\nhello\r\n\r\nx\r\n{end}--\r\n".encode()),
        ("NUL in a header", f"{end}\r\nContent\0-Disposition: x\r\n\r\nx\r\n{end}--\r\n".encode()),
        ("line feeds alone", whole.replace(b"\r\n", b"\n")),
    ):
        yield Case(name, BAD, content=content, headers={"Content-Type": FORM})
    for kind_ in ("multipart/form-data", "multipart/form-data; boundary=\u00e9".encode().decode("latin-1")):
        yield Case(f"{kind_!r}", BAD, content=whole, headers={"Content-Type": kind_})
    for charset in ("nonsense", "utf-99", "\\"):
        yield Case(
            f"charset {charset}",
            ARGUMENT,
            content=form([("min_face", "20")]),
            headers={"Content-Type": f"{FORM}; charset={charset}"},
        )


@kind("forms that break off")
def _() -> Iterator[Case]:
    whole = form([("min_face", "20"), ("image", b"abcdef")])
    for place in (60, 100, 130, 180, 230, len(whole) - 40):
        yield Case(f"after {place} bytes", BAD, content=whole[:place], headers={"Content-Type": FORM})


@kind("fields twice")
def _() -> Iterator[Case]:
    image: tuple[str, bytes | str] = ("image", b"x")
    twice: tuple[tuple[Parts, str], ...] = (
        ([image, image], "/v1/detect"),
        ([image, ("min_face", "20"), ("min_face", "30")], "/v1/detect"),
        ([image, ("faces", "all"), ("faces", "largest")], "/v1/embed"),
        ([image, ("other", b"x"), ("other", b"y")], "/v1/verify"),
        ([image, ("subject_id", "new"), ("subject_id", "ada")], ENROL),
        ([image, ("subject_id", "new"), ("name", "a"), ("name", "b")], ENROL),
        ([image, ("subject_id", "new"), ("consent", "a"), ("consent", "b")], ENROL),
        ([image, ("fpir", "0.1"), ("fpir", "0.2")], IDENTIFY),
        ([("images", b"x"), ("rate", "0.1"), ("rate", "0.2")], "/v1/galleries/{gallery}/cluster"),
    )
    for parts, path in twice:
        yield in_form(parts, BAD, f"{parts[-1][0]} to {path}", path)


@kind("many parts")
def _() -> Iterator[Case]:
    for count in (9, 100, 2000):
        yield in_form([("image", b"x")] * count, BAD, f"{count} files")
        yield in_form([("f", "x")] * count, BAD, f"{count} fields")
        yield in_form([("images", b"x")] * count + [("subject_id", "new")], BAD, f"{count} pictures", ENROL)
    headers = "".join(f"X-{i}: y\r\n" for i in range(500))
    content = (
        f'--{BOUNDARY}\r\n{headers}Content-Disposition: form-data; name="image"\r\n\r\nx\r\n--{BOUNDARY}--\r\n'.encode()
    )
    yield Case("a part with 500 headers", BAD, content=content, headers={"Content-Type": FORM})


@kind("fields that are too long")
def _() -> Iterator[Case]:
    for field, size in (("min_face", 5001), ("subject_id", 100_000), ("name", 10_000), ("x", 500_000)):
        yield in_form([("image", b"x"), (field, "1" * size)], BAD, f"{field} of {size}", ENROL)


@kind("fields of a form that are wrong")
def _() -> Iterator[Case]:
    for value in (
        "",
        "abc",
        "NaN",
        "inf",
        "1e999",
        "-1",
        "0",
        "1,5",
        "1" * 400,
        "20 px",
        "\u0662\u0660\u0660\u0660\u0660",
        "None",
    ):
        yield in_form([("image", b"x"), ("min_face", value)], ARGUMENT, f"min_face {value[:20]!r}")
    for value in ("none", "ALL", "", "largest,all"):
        yield in_form([("image", b"x"), ("faces", value)], ARGUMENT, f"faces {value!r}", "/v1/embed")
    yield in_form([("image", "x")], ARGUMENT, "image as text")
    yield in_form([("min_face", "20")], ARGUMENT, "no image")


@kind("sides of a comparison")
def _() -> Iterator[Case]:
    image: tuple[str, bytes | str] = ("image", b"x")
    other: tuple[str, bytes | str] = ("other", b"x")
    sides: tuple[Parts, ...] = (
        [image],
        [other],
        [("image_url", "https://example.org/a")],
        [image, ("gallery", "g")],
        [image, ("subject_id", "ada")],
        [image, other, ("gallery", "g")],
        [image, other, ("gallery", "g"), ("subject_id", "ada")],
        [image, ("image_url", "https://example.org/a"), other],
    )
    for parts in sides:
        expected = (422, "fetch_refused") if parts == [("image_url", "https://example.org/a")] else ARGUMENT
        yield in_form(parts, expected, " and ".join(p[0] for p in parts), "/v1/verify")
    yield in_form([image, ("fpir", "0.1"), ("fmr", "0.1")], ARGUMENT, "fpir and fmr", IDENTIFY)


@kind("rates that were never measured")
def _() -> Iterator[Case]:
    for value in ("1e-12", "1e-9", "1e-300", "5e-324"):
        yield in_form(
            [("image", b"{face}"), ("other", b"{face}"), ("fmr", value)],
            (422, "no_threshold"),
            f"fmr {value}",
            "/v1/verify",
        )


@kind("addresses in place of pictures")
def _() -> Iterator[Case]:
    for url in (
        "https://example.org/a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_",
        "http://localhost:8000/v1/keys",
        "ftp://x",
        "",
        "//x",
        "javascript:0",
        "https://[::1]/",
        "https://127.1/",
        "https://0x7f000001/",
    ):
        yield in_json({"image_url": url}, (422, "fetch_refused"), f"{url!r}")
    yield in_json({"image_url": "https://x/" + "a" * 3000}, ARGUMENT, "3,000 characters")


@kind("moments that are none")
def _() -> Iterator[Case]:
    for value in (
        "tomorrow",
        "2030-01-01T00:00:00",
        "2030-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "",
        "NaN",
        "2030-01-01T25:00:00Z",
        "2030-01-01T00:00:00+99:00",
        "\0",
        "9" * 400,
        "2030-02-30T00:00:00Z",
    ):
        yield in_json({"image": PICTURE, "subject_id": "new", "expires": value}, ARGUMENT, f"{value[:30]!r}", ENROL)


@kind("keys with powers that there are none of")
def _() -> Iterator[Case]:
    bodies: list[dict[str, Any]] = [
        {"name": "x", "scopes": s} for s in ([], ["root"], ["READ"], "read", [None], [["read"]], {"read": 1}, None)
    ]
    bodies += [{"name": n, "scopes": ["read"]} for n in ("", " ", "\0", "a" * 257, 1, None)]
    bodies += [{"scopes": ["read"]}, {"name": "x"}, {"name": "x", "scopes": ["read"], "key": "vk_chosen"}]
    for body in bodies:
        yield in_json(body, ARGUMENT, json.dumps(body)[:50], "/v1/keys")


@kind("verdicts and merges")
def _() -> Iterator[Case]:
    for verdict in ("maybe", "", "SAME", None, 1, ["same"]):
        yield in_json({"verdict": verdict}, ARGUMENT, f"verdict {verdict!r}", f"/v1/reviews/{'0' * 16}/decision")
    yield in_json({"verdict": "same"}, (404, "not_found"), "of no review", f"/v1/reviews/{'0' * 16}/decision")
    at = "/v1/galleries/{gallery}/subjects/{}/merge"
    for subject, other, expected in (
        ("ada", "ada", ARGUMENT),
        ("ada", "nobody", (404, "subject_unknown")),
        ("nobody", "ada", (404, "subject_unknown")),
        ("ada", "", ARGUMENT),
        ("ada", "a\0", ARGUMENT),
    ):
        path = at.replace("{}", subject)
        yield in_json({"other_id": other}, expected, f"{subject} with {other!r}", path)

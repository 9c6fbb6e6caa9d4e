"""Names, addresses, headers and what a request says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tests.service.catalogue.bodies import ENROL, PICTURE
from tests.service.catalogue.case import (
    ARGUMENT,
    BAD,
    FORBIDDEN,
    KEY,
    METHOD,
    NOT_FOUND,
    Case,
    in_form,
    in_json,
    kind,
)

ODD = {
    "NUL": "a\0b", "line feed": "a\nb", "carriage return": "a\r\nX-Injected: 1", "escape": "\x1b[31m", "delete": "a\x7f",
    "C1 control": "a\x85b", "right to left": "a\u202egpj", "isolate": "\u2066a", "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b", "right-to-left embedding": "\u202ba", "noncharacter control": "\x01",
}  # fmt: skip
EMPTY = {"nothing": "", "blank": "   ", "257 characters": "a" * 257, "300 of two bytes": "é" * 300}


@kind("subjects with odd characters")
def _() -> Iterator[Case]:
    for name, text in (ODD | EMPTY | {"10 kB": "a" * 10_000}).items():
        yield in_json({"image": PICTURE, "subject_id": text}, ARGUMENT, f"{name}: subject_id", ENROL)
    yield in_json(b'{"image":"","subject_id":"\\ud800"}', ARGUMENT, "half a pair", ENROL)


@kind("names and consents with odd characters")
def _() -> Iterator[Case]:
    for name, text in (ODD | EMPTY).items():
        for field in ("name", "consent"):
            yield in_json({"image": PICTURE, "subject_id": "new", field: text}, ARGUMENT, f"{name}: {field}", ENROL)
    for name, text in list(ODD.items())[:4]:
        at = "/v1/galleries/{gallery}/subjects/ada"
        yield in_json({"name": text}, ARGUMENT, f"{name}: rename", at, "PATCH")


@kind("subjects in addresses with odd characters")
def _() -> Iterator[Case]:
    for name, text in ODD.items():
        for method in ("GET", "DELETE"):
            yield Case(
                f"{name}: {method}", ARGUMENT, method, "/v1/galleries/{gallery}/subjects/" + quote(text, safe="")
            )


@kind("addresses that are not UTF-8")
def _() -> Iterator[Case]:
    for text in ("%ff", "%c0%ae%c0%ae", "%ed%a0%80", "%f8%88%80%80%80", "%80", "%e2%82"):
        yield Case(text, BAD, "GET", f"/v1/galleries/{{gallery}}/subjects/{text}")
        yield Case(f"{text} as a gallery", BAD, "DELETE", f"/v1/galleries/{text}")


@kind("galleries with names that lead elsewhere")
def _() -> Iterator[Case]:
    for name in (
        "..",
        ".",
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:",
        "C:\\x",
        ".hidden",
        "-x",
        "_x",
        "a b",
        "",
        "é",
        "a.db",
        "%2e%2e",
        "a\0",
        "a\n",
        "con:",
        "~",
        "$HOME",
        "a;b",
        "'--",
        "a" * 65,
        "ａ",
        "x\u202e",
    ):
        yield in_json({"name": name}, ARGUMENT, f"{name[:20]!r}", "/v1/galleries")


@kind("galleries in addresses that lead elsewhere")
def _() -> Iterator[Case]:
    for name in (
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fservice.db",
        "a%2fb",
        "a%5cb",
        "a%00",
        "%20",
        ".hidden",
        "a" * 65,
        "a.db",
        "%c3%a9",
        "a%0a",
    ):
        for method in ("GET", "DELETE"):
            yield Case(f"{name[:30]} {method}", ARGUMENT, method, f"/v1/galleries/{name}")


@kind("files of the page that lead elsewhere")
def _() -> Iterator[Case]:
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..%5c..%5cwindows",
        "//etc/passwd",
        "/page/../service.db",
        "/.git/config",
        "/index.html%00.js",
        "/....//....//etc/passwd",
        "/%252e%252e%252fetc/passwd",
    ):
        yield Case(path, NOT_FOUND, "GET", path)


@kind("routes that there are none of")
def _() -> Iterator[Case]:
    for path in (
        "/v1",
        "/v1/",
        "/v2/detect",
        "/v1/detect/",
        "/V1/DETECT",
        "/v1//detect",
        "/v1/detect/x",
        "/docs",
        "/redoc",
        "/v1/galleries/",
        "/admin",
        "/v1/models",
        "/%76%31/nothing",
        "/v1/galleries/a/subjects/b/c/d",
    ):
        yield Case(path, NOT_FOUND, "GET", path)


@kind("what is not there")
def _() -> Iterator[Case]:
    missing = (404, "gallery_missing")
    for end in ("", "/subjects", "/subjects/x", "/subjects/x/export", "/subjects/x/thumbnail"):
        yield Case(f"gallery{end}", missing, "GET", f"/v1/galleries/nothing{end}")
    yield Case("gallery: delete", missing, "DELETE", "/v1/galleries/nothing")
    yield Case("gallery: purge", missing, "POST", "/v1/galleries/nothing/purge")
    for end in ("identify", "subjects", "cluster", "subjects/x/templates"):
        yield in_form(
            [("images" if end == "cluster" else "image", b"x")],
            missing,
            f"gallery: {end}",
            f"/v1/galleries/nothing/{end}",
        )
    unknown = (404, "subject_unknown")
    at = "/v1/galleries/{gallery}/subjects/nobody"
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/export"), ("GET", "/thumbnail")):
        yield Case(f"subject{end}: {method}", unknown, method, at + end)
    yield in_json({"name": "x"}, unknown, "subject: rename", at, "PATCH")
    for method, path in (("GET", "jobs"), ("DELETE", "jobs"), ("GET", "reviews"), ("DELETE", "keys")):
        yield Case(f"{path}: {method}", NOT_FOUND, method, f"/v1/{path}/{'0' * 16}")


@kind("ids that are none")
def _() -> Iterator[Case]:
    for text in (
        "x",
        "0",
        "0" * 11,
        "0" * 17,
        "G" * 16,
        "ABCDEFABCDEF",
        "..",
        "0'%20OR%201=1--",
        "%00",
        "0000%2f0000000000",
    ):
        for method, path in (("GET", "jobs"), ("GET", "reviews"), ("DELETE", "keys")):
            yield Case(f"{path} {text}", ARGUMENT, method, f"/v1/{path}/{text}")


@kind("numbers in addresses")
def _() -> Iterator[Case]:
    for text in ("-1", "x", "1.5", "1e3", "10" * 200, "%20", "1000001", "0x1"):
        yield Case(f"face {text[:20]}", ARGUMENT, "GET", f"/v1/jobs/{'0' * 16}/faces/{text}/thumbnail")
        yield in_json({"subject_id": "x"}, ARGUMENT, f"group {text[:20]}", f"/v1/jobs/{'0' * 16}/groups/{text}/enrol")


@kind("queries that are wrong")
def _() -> Iterator[Case]:
    for text in ("0", "-1", "1001", "abc", "", "NaN", "1e3", "9" * 400, "1;2", "%00"):
        for path in ("/v1/audit", "/v1/reviews", "/v1/galleries/{gallery}/subjects"):
            yield Case(f"limit={text[:20]} {path}", ARGUMENT, "GET", f"{path}?limit={text}")
    for query in ("before=0", "before=-1", "before=x", f"before={2**53 + 1}"):
        yield Case(query, ARGUMENT, "GET", f"/v1/audit?{query}")
    for query in ("state=x", "state=", "state=OPEN", "state=open%00"):
        yield Case(query, ARGUMENT, "GET", f"/v1/reviews?{query}")
    for query in ("after=%00", "after=%0a", f"after={'a' * 257}", "after=%1b"):
        yield Case(query[:20], ARGUMENT, "GET", f"/v1/galleries/{{gallery}}/subjects?{query}")


@kind("idempotency keys that are none")
def _() -> Iterator[Case]:
    for text in ("", "a" * 201, "a b", "a\tb", "\x80", "é", "a" * 10_000):
        case = in_form([("image", b"x"), ("subject_id", "new")], ARGUMENT, f"{text[:10]!r}", ENROL)
        yield Case(case.name, ARGUMENT, "POST", ENROL, case.content, case.headers | {"Idempotency-Key": text})


@kind("subjects that are there")
def _() -> Iterator[Case]:
    for text in ("ada", "ada", "zoe\u0301"):  # the last is composed to one that is there
        parts: list[tuple[str, bytes | str]] = [("image", b"{face}"), ("subject_id", text)]
        yield in_form(parts, (409, "subject_exists"), f"{text!r}", ENROL)
    yield in_json({"name": "g"}, (409, "gallery_exists"), "a gallery", "/v1/galleries")
    taken = in_form(
        [("image", b"{face}"), ("subject_id", "new")], (409, "request_conflict"), "an idempotency key", ENROL
    )
    yield Case(taken.name, taken.expected, "POST", ENROL, taken.content, taken.headers | {"Idempotency-Key": "taken"})


@kind("several faces at enrolment")
def _() -> Iterator[Case]:
    parts: list[tuple[str, bytes | str]] = [("image", b"{faces}"), ("subject_id", "new")]
    yield in_form(parts, (409, "many_faces"), "enrol", ENROL)
    yield in_form(parts[:1], (409, "many_faces"), "add", ENROL + "/ada/templates")


@kind("keys that are none")
def _() -> Iterator[Case]:
    found = [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer vk_",
        "Bearer vk_x",
        "Basic dTpw",
        "bearer  ",
        "Bearer " + "vk_" + "a" * 43,
        "vk_x",
        "Token vk_x",
        "Bearer vk_\u00e9",
        "Bearer null",
        "Bearer " + "a" * 20_000,
        "Bearer vk_' OR 1=1--",
        "Bearer vk_x, Bearer vk_y",
        "Digest x",
    ]
    for text in found:
        yield Case(f"{text}"[:30], KEY, "GET", "/v1/galleries", headers={"Authorization": text})
    yield Case(
        "in the query", KEY, "GET", "/v1/galleries?key={key}&access_token={key}", headers={"Authorization": None}
    )
    yield Case("as X-API-Key", KEY, "GET", "/v1/galleries", headers={"Authorization": None, "X-API-Key": "{key}"})
    for cookie in (
        "vultus_session=x",
        "vultus_session=",
        "vultus_session={key}",
        "session=1; vultus_session=" + "a" * 3000,
    ):
        yield Case(
            f"cookie {cookie}"[:40], KEY, "GET", "/v1/galleries", headers={"Authorization": None, "Cookie": cookie}
        )


@kind("keys without the scope")
def _() -> Iterator[Case]:
    weak: dict[str, str | None] = {"Authorization": "Bearer {weak}"}
    for method, path in (
        ("POST", "/v1/galleries"),
        ("DELETE", "/v1/galleries/{gallery}"),
        ("POST", "/v1/galleries/{gallery}/subjects"),
        ("DELETE", "/v1/galleries/{gallery}/subjects/ada"),
        ("PATCH", "/v1/galleries/{gallery}/subjects/ada"),
        ("POST", "/v1/embed"),
        ("POST", "/v1/verify"),
        ("POST", "/v1/galleries/{gallery}/identify"),
        ("POST", "/v1/galleries/{gallery}/purge"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/audit/verify"),
        ("GET", "/v1/reviews"),
        ("POST", "/v1/galleries/{gallery}/cluster"),
        ("POST", "/v1/galleries/{gallery}/subjects/ada/merge"),
    ):
        yield Case(f"{method} {path}", FORBIDDEN, method, path, headers=weak)


@kind("requests from another site")
def _() -> Iterator[Case]:
    body = b'{"key": "vk_x"}'
    for name, headers in (
        ("another origin", {"Origin": "https://evil.example"}),
        ("null", {"Origin": "null"}),
        ("no origin", {}),
        ("cross-site", {"Origin": "{url}", "Sec-Fetch-Site": "cross-site"}),
        ("same-site", {"Origin": "{url}", "Sec-Fetch-Site": "same-site"}),
        ("a name that ends alike", {"Origin": "{url}.evil.example"}),
        ("another port", {"Origin": "{url}0"}),
    ):
        assert isinstance(headers, dict)
        sent: dict[str, str | None] = {"Content-Type": "application/json", "Authorization": None, **headers}
        yield Case(name, FORBIDDEN, "POST", "/session", body, sent)


@kind("sessions that cannot begin")
def _() -> Iterator[Case]:
    own: dict[str, str | None] = {"Content-Type": "application/json", "Authorization": None, "Origin": "{url}"}
    for body, expected in (
        (b'{"key": "vk_x"}', KEY),
        (b'{"key": ""}', ARGUMENT),
        (b"{}", ARGUMENT),
        (b'{"key": 1}', ARGUMENT),
        (b"[]", ARGUMENT),
        (b'{"key": "vk_x", "scopes": ["admin"]}', ARGUMENT),
        (b'{"key": "' + b"a" * 257 + b'"}', ARGUMENT),
        (b'{"key": "\\u0000"}', KEY),
    ):
        yield Case(f"{body[:30]!r}", expected, "POST", "/session", body, own)


@kind("methods that a route does not have")
def _() -> Iterator[Case]:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "FOO", "GET", "get", "PROPFIND"):
        yield Case(f"{method} detect", METHOD, method, "/v1/detect")
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
        yield Case(f"{method} audit", METHOD, method, "/v1/audit")
    for method in ("PUT", "POST", "PATCH"):
        yield Case(f"{method} gallery", METHOD, method, "/v1/galleries/{gallery}")
    override: dict[str, str | None] = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    yield Case("a method in a header", METHOD, "POST", "/v1/galleries/{gallery}", headers=override)

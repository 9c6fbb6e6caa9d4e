"""The files of the page: nothing inline, nothing from elsewhere, and every file that is named is there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.service.conftest import Running

from vultus.service.app import PAGE

FILES = sorted(path for path in PAGE.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
IMPORT = re.compile(r"""(?:from|import)\s+"([^"]+)";""")


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self._at = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._at = tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.inside.append((self._at, data))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 15
    assert {path.suffix for path in FILES} == {".html", ".css", ".js", ".svg"}


def test_the_document_has_no_inline_script_or_style() -> None:
    seen = _Seen()
    seen.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    for tag, attributes in seen.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes.get("src")
    assert not [text for tag, text in seen.inside if tag == "script" and text.strip()]


def test_everything_named_is_there() -> None:
    seen = _Seen()
    seen.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    named = [a.get("src") or a.get("href") for t, a in seen.tags if t in {"script", "link", "img"}]
    assert len(named) >= 4
    for name in named:
        assert name
        assert (PAGE / name).is_file()
    reached, ahead = set(), [PAGE / "app.js"]
    while ahead:
        script = ahead.pop()
        if script not in reached:
            reached.add(script)
            ahead += [(script.parent / name).resolve() for name in IMPORT.findall(script.read_text(encoding="utf-8"))]
    assert reached == set(SCRIPTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PAGE)))
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn", text)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "@import"):
        assert word not in text
    assert len(text.splitlines()) <= 300 or path.suffix == ".css"


def test_it_is_served_with_its_policy(running: Running) -> None:
    with running.anonymous() as client:
        for name, kind in (("", "text/html"), ("app.js", "text/javascript"), ("style.css", "text/css")):
            answer = client.get(f"/{name}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(kind)
            assert "unsafe" not in answer.headers["content-security-policy"]
        assert client.get("/views/..%2f..%2fapp.py").status_code == 404

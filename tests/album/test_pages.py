"""The pages, without a recognizer: what they hold is data, links lead somewhere, and everybody is found."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.album.faces import AlbumFaces, AlbumPhoto, PhotoFailed, face_id
from vultus.album.pages import FACES, LINES, PEOPLE, Contents, pages
from vultus.album.pictures import face_path, preview_path
from vultus.gallery.cluster import Groups

TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "nav",
    "a",
    "span",
    "main",
    "p",
    "b",
    "small",
    "ul",
    "li",
    "label",
    "input",
    "img",
    "div",
    "button",
    "details",
    "summary",
    "ol",
    "code",
    "datalist",
    "option",
    "dialog",
    "i",
    "script",
    "footer",
    "aside",
    "output",
}


class Reader(HTMLParser):
    """Elements with their attributes, and the text inside title, style and script."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in {"meta", "img", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"title", "style", "script"}:
            self.inside[self._open[-1]] = self.inside.get(self._open[-1], "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def contents(labels: list[int], *, named: dict[int, str] | None = None, photo: str = "p", failed: int = 0) -> Contents:
    """One face in each photo but for every fifth, which shows the next one's face too."""
    n = len(labels)
    photos = np.array([i - (i % 5 == 1) for i in range(n)], dtype=np.intp)
    photos = np.unique(photos, return_inverse=True)[1]
    digests = [hashlib.sha256(str(p).encode()).hexdigest() for p in range(int(photos.max(initial=-1)) + 2)]
    numbers = [int(i and photos[i] == photos[i - 1]) for i in range(n)]
    faces = AlbumFaces(
        tuple(face_id(digests[p], k) for p, k in zip(photos.tolist(), numbers, strict=True)),
        photos,
        np.tile(np.array([0.1, 0.2, 0.5, 0.6], dtype=np.float32), (n, 1)),
        np.linspace(0, 1, n, dtype=np.float32),
        np.zeros((n, 2), dtype=np.float32),
    )
    groups = Groups(
        np.array(labels, dtype=np.int64),
        np.linspace(0, 1, n, dtype=np.float32),
        "geometric",
        0.4,
        max(labels, default=0) + 1,
    )
    shown = tuple(AlbumPhoto(d, (f"/root/{photo}{i}.jpg",), f"{photo}{i}.jpg") for i, d in enumerate(digests))
    failures = [
        PhotoFailed(f"/root/{photo}", f"{photo}-{i}", "parse_error", f"cannot read /root/{photo}")
        for i in range(failed)
    ]
    return Contents(photo, "0123", shown, faces, groups, named or {}, failures)


def check(made: dict[str, bytes], album: Contents) -> dict[str, Reader]:
    """The laws that every album keeps."""
    pictures = {preview_path(p.sha256) for p in album.photos}
    pictures |= {
        face_path(album.photos[p].sha256, int(f.rpartition("-")[2]))
        for p, f in zip(album.faces.photos.tolist(), album.faces.ids, strict=True)
    }
    read = {path: Reader(page) for path, page in made.items()}
    for path, page in read.items():
        assert {tag for tag, _ in page.elements} <= TAGS
        (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src 'self' file:;")
        for kind in ("script", "style"):
            assert len(page.all(kind)) == 1
            digest = base64.b64encode(hashlib.sha256(page.inside[kind].encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        for _, attributes in page.elements:
            assert not [a for a in attributes if a.startswith("on") or a == "style"]
            for key in ("src", "href"):
                if key in attributes:
                    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), attributes[key]))
                    assert target in made or target in pictures, attributes
            if "data-others" in attributes:
                for _, other in json.loads(attributes["data-others"]):
                    assert posixpath.normpath(posixpath.join(posixpath.dirname(path), other)) in made
        identities = [a["id"] for _, a in page.elements if "id" in a]
        assert len(identities) == len(set(identities))
        assert all("alt" in image for image in page.all("img"))
        assert len(page.all("h1")) == 1
    return read


def who(read: dict[str, Reader], start: str) -> list[str]:
    return [
        li["data-who"]
        for path, page in read.items()
        if path.startswith(start)
        for li in page.all("li")
        if "data-who" in li
    ]


HOSTILE = (
    '"><script>alert(1)</script>',
    "'-alert(1)-'",
    "</title><img src=x onerror=alert(1)>",
    "a\u202eb\x00\ud800",
    "&lt;",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_files_and_people_are_data(text: str) -> None:
    album = contents([1, 1, 2, 2, 3, -1], named={1: text, 3: text}, photo=text, failed=1)
    read = check(pages(album), album)
    assert len(read) == 6
    if text == HOSTILE[0]:
        assert text in read["index.html"].text
        assert read["index.html"].inside["title"] == text
        assert text in [o["value"] for o in read["index.html"].all("option")]
    assert not any("\x00" in page.text or "\u202e" in page.text for page in read.values())


@given(st.text(max_size=12), st.text(max_size=12))
@settings(max_examples=30, deadline=None)
def test_whatever_the_text(name: str, photo: str) -> None:
    album = contents([1, 1, 2, -1], named={1: name}, photo=photo, failed=1)
    check(pages(album), album)


def test_everybody_stands_on_one_page_and_pages_turn() -> None:
    several, once, lost = 2 * PEOPLE + 1, FACES + 3, 2 * FACES
    labels = [g for g in range(1, several + 1) for _ in range(2)]
    labels += [1] * FACES  # one person needs two pages
    labels += list(range(several + 1, several + once + 1)) + [-1] * lost
    album = contents(labels, failed=LINES + 1, named={several + once: "Zoe", 2: "Ada"})
    read = check(pages(album), album)
    people = who({p: r for p, r in read.items() if p == "index.html"}, "index") + who(read, "pages/people")
    assert people[0] == "1"
    assert sorted(map(int, people)) == list(range(1, several + 1))
    assert {"pages/people-2.html", "pages/people-3.html"} < set(read)
    assert "pages/people-4.html" not in read
    assert sorted(map(int, who(read, "pages/once"))) == list(range(several + 1, several + once + 1))
    groups = album.groups
    assert sorted(who(read, "pages/person-1.") + who(read, "pages/person-1-")) == sorted(
        album.faces.ids[i] for i in groups.members(1).tolist()
    )
    assert sorted(who(read, "pages/unsure")) == sorted(album.faces.ids[i] for i in groups.unsure.tolist())
    assert len([li for p, r in read.items() if p.startswith("pages/left-out") for li in r.all("li")]) == LINES + 2
    links = [a["href"] for a in read["index.html"].all("a")]
    assert {"pages/once-2.html", "pages/person-2.html", "pages/people-3.html"} <= set(links)
    assert "/root/" not in "".join(r.text for r in read.values())


def test_what_can_be_chosen_has_a_label_and_pictures_wait() -> None:
    album = contents([1, 1, 2, 2, 3, -1])
    for page in check(pages(album), album).values():
        boxes = [i for i in page.all("input") if i["type"] == "checkbox"]
        assert len(boxes) == len([label for label in page.all("label") if label.get("class") == "pick"])
        labelled = {label.get("for") for label in page.all("label")}
        for field in page.all("input"):
            assert field["type"] == "checkbox" or field.get("aria-label") or field["id"] in labelled
        assert all(i.get("loading") == "lazy" and i["width"] == "160" for i in page.all("img") if "src" in i)
    assert len(re.findall("Select Person 1<", pages(album)["index.html"].decode())) == 1


def test_equal_albums_have_equal_pages_and_an_empty_one_has_some() -> None:
    one = [1, 1, 2, 2, 3, -1]
    assert pages(contents(one)) == pages(contents(one))
    assert pages(contents(one))["index.html"] != pages(contents(one, named={1: "Ada"}))["index.html"]
    assert list(pages(contents(one)))[-1] == "index.html"
    album = contents([])
    read = check(pages(album), album)
    assert "Nobody" in read["index.html"].text

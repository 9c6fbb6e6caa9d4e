"""What every page of an album has around its contents: style, script, policy, tabs, and the bar of decisions.

Style and script stand in each page and are allowed by their sha256, and nothing else is: no other script runs and
nothing is loaded but pictures of the album, should escaping ever fail.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from vultus.evaluate.report.markup import Markup, element, join


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the kinds of pages.

    Args:
        title: for people to read.
        count: how many things there are.
        page: of the first of its pages, below the album.
    """

    title: str
    count: int
    page: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What all pages of an album have in common.

    Args:
        title: of the album.
        album: what tells it from other albums in the browser.
        revision: changes whenever the groups or names do.
        tabs: kinds of pages.
        names: of people, for the field where one is typed.
        sentence: what the album is made of.
    """

    title: str
    album: str
    revision: str
    tabs: tuple[Tab, ...]
    names: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be written.

    Args:
        path: below the album, such as "index.html" or "pages/unsure.html".
        title: what it shows.
        content: of its main part.
        tab: the page of the tab that it belongs to.
        kinds: the decisions that can be made on it, with the words on their buttons.
        data: attributes of the body.
        viewer: whether faces open in their photo.
        heading: the line over the contents, if it is not the title of the album.
    """

    path: str
    title: str
    content: Markup
    tab: str
    kinds: tuple[tuple[str, str], ...] = ()
    data: dict[str, str] = field(default_factory=dict)
    viewer: bool = False
    heading: Markup | None = None

    @property
    def up(self) -> str:
        """What leads from the page to the album's folder."""
        return "../" * self.path.count("/")


@cache
def _resource(name: str) -> tuple[Markup, str]:
    """A file of this package, and the source expression that allows it."""
    text = (files("vultus.album") / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Markup(text), f"'sha256-{digest}'"


def document(page: Page, frame: Frame) -> bytes:
    """The whole page."""
    style, style_hash = _resource("page.css")
    script, script_hash = _resource("page.js")
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src {style_hash}; script-src {script_hash}; "
        "base-uri 'none'; form-action 'none'"
    )
    title = frame.title if page.title == frame.title else f"{page.title} · {frame.title}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("title", title),
        element("style", style),
    )
    body = element(
        "body",
        element(
            "header",
            element("h1", page.title) if page.heading is None else page.heading,
            _tabs(page, frame),
        ),
        element("main", page.content),
        element("footer", element("p", frame.sentence)),
        _bar(page, frame),
        _viewer() if page.viewer else Markup(""),
        element("script", script),
        data_album=frame.album,
        data_revision=frame.revision,
        **{f"data_{key}": value for key, value in page.data.items()},
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n".encode()


def _tabs(page: Page, frame: Frame) -> Markup:
    links = []
    for tab in frame.tabs:
        here = {"aria_current": "page" if tab.page == page.path else "true"} if tab.page == page.tab else {}
        links.append(element("a", tab.title, element("span", f"{tab.count:,}"), href=page.up + tab.page, **here))
    return element("nav", *links, class_="tabs", aria_label="Album")


def _bar(page: Page, frame: Frame) -> Markup:
    """The bar of decisions; the script shows it when there is something to decide or to save."""
    verbs = [element("button", words, type="button", data_kind=kind) for kind, words in page.kinds]
    naming = element(
        "input",
        type="text",
        id="name",
        list="known",
        placeholder="Name",
        aria_label="Name",
        maxlength=200,
        autocomplete="off",
    )
    choose = element("div", element("output", "", id="picked"), naming, *verbs, id="choose", hidden="")
    how = element(
        "p",
        "Save the file, and make the album again with the command that made it and ",
        element("code", "--apply album-changes.json"),
        " after it.",
    )
    wait = element(
        "div",
        element("details", element("summary", "", id="count"), element("ol", id="changes"), how),
        element("button", "Undo the last", type="button", id="undo"),
        element("button", "Save changes", type="button", id="save", class_="main"),
        id="wait",
        hidden="",
    )
    known = element("datalist", *(element("option", value=name) for name in frame.names), id="known")
    return join([element("aside", choose, wait, id="bar", class_="bar", hidden="", aria_label="Decisions"), known])


def _viewer() -> Markup:
    frame = element("div", element("div", element("img", alt=""), element("i"), class_="frame"), class_="stage")
    buttons = [
        element("button", words, type="button", id=identity)
        for identity, words in (("before", "Previous"), ("after", "Next"), ("close", "Close"))
    ]
    about = element(
        "div",
        element("p", element("b", "", id="photo")),
        element("p", "", id="others"),
        element("p", "Face ", element("code", "", id="face"), class_="sub"),
        element("div", *buttons, class_="row"),
        class_="about",
    )
    return element("dialog", element("div", frame, about, class_="look"), id="look", aria_label="Face in its photo")


def numbered_pages(first: str, parts: int) -> list[str]:
    """The paths of the pages of one list: "pages/once.html", "pages/once-2.html", ..."""
    stem, _, ending = first.rpartition(".")
    if first == "index.html":
        stem = "pages/people"
    return [first, *(f"{stem}-{i}.{ending}" for i in range(2, parts + 1))]


def turner(paths: Sequence[str], here: int) -> Markup:
    """Links to the other pages of a list; nothing where there is one page alone."""
    if len(paths) < 2:
        return Markup("")
    up = "../" * paths[here].count("/")
    shown = sorted({0, len(paths) - 1, *range(max(0, here - 2), min(len(paths), here + 3))})
    links: list[Markup] = []
    for before, i in zip([-1, *shown], shown, strict=False):
        if i > before + 1:
            links.append(element("span", "…"))
        if i == here:
            links.append(element("b", str(i + 1), aria_current="page"))
        else:
            links.append(element("a", str(i + 1), href=up + paths[i], aria_label=f"Page {i + 1}"))
    return element("nav", *links, class_="pages", aria_label="Pages of this list")

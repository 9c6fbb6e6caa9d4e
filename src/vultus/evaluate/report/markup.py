"""HTML from values: whatever is not markup already is escaped, so no text can become part of the page's structure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_VOID = frozenset({"img", "meta", "link", "source", "br", "input"})


def visible(text: str) -> str:
    """Text with what cannot be seen, or cannot be encoded, spelt out: controls, lone surrogates, marks of direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\u00a0" else c.encode("unicode_escape").decode("ascii") for c in text)


def safe(content: str) -> Markup:
    """Markup as it is, and any other text escaped."""
    return content if isinstance(content, Markup) else Markup(html.escape(visible(content), quote=True))


def join(parts: Iterable[str]) -> Markup:
    """Parts one after the other, each escaped unless it is markup."""
    return Markup("".join(safe(p) for p in parts))


def element(tag: str, /, *content: str, **attributes: str | int) -> Markup:
    """One element. A trailing underscore of an attribute's name is dropped, other ones become hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(visible(str(value)), quote=True)}"'
        for key, value in attributes.items()
    )
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{join(content)}</{tag}>")


def paragraph(*content: str, class_: str = "") -> Markup:
    """A paragraph; the parts of its sentences are joined by spaces."""
    text = Markup(" ".join(safe(c) for c in content))
    return element("p", text, class_=class_) if class_ else element("p", text)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table with its caption; the first cell of a row names it. Where it is too wide it scrolls by itself."""
    top = element("tr", *(element("th", h, scope="col") for h in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    grid = element(
        "table", element("caption", element("span", caption)), element("thead", top), element("tbody", *body)
    )
    return element("div", grid, class_="wide", role="region", aria_label=visible(str(caption)), tabindex="0")


def long(text: str) -> Markup:
    """Text of a cell that may go on over several lines."""
    return element("span", text, class_="long")


def over(value: str, interval: str) -> Markup:
    """A cell of a number with its interval below it."""
    return join([value, element("span", interval, class_="under")])


def plot(light: str, dark: str, *, alt: str, caption: str, size: tuple[int, int]) -> Markup:
    """A plot in two versions, of which the reader's preference picks one, with its caption."""
    shown = element(
        "picture",
        element("source", srcset=dark, media="(prefers-color-scheme: dark)"),
        element("img", src=light, alt=alt, width=size[0], height=size[1]),
    )
    return element("figure", shown, element("figcaption", caption))


def section(identity: str, title: str, *content: str) -> Markup:
    """A part of the page under its heading."""
    return element(
        "section",
        element("h2", title, id=f"{identity}-title"),
        *content,
        id=identity,
        aria_labelledby=f"{identity}-title",
    )


_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b2126; --muted: #5c6771; --line: #dfe4e8; --soft: #f4f6f8;
  --accent: #0072b2; --warn: #9a4300; --warn-soft: #fdf1e6; }
@media (prefers-color-scheme: dark) { :root { --paper: #171b1f; --ink: #e8ebed; --muted: #a3adb6; --line: #333b42;
  --soft: #1f252a; --accent: #6cc0f0; --warn: #f5b26b; --warn-soft: #2d241a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.1rem); line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 .6rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
section { margin: 2.6rem 0; padding-top: 1.4rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .6rem 0; }
a { color: var(--accent); }
.sub { color: var(--muted); overflow-wrap: anywhere; margin: .15rem 0; max-width: none; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .92rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--soft); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--muted); font-size: .87rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.4rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: .5rem; }
figcaption { color: var(--muted); font-size: .9rem; margin-top: .45rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; min-width: 60%; }
caption { text-align: left; color: var(--muted); font-size: .9rem; padding-bottom: .4rem; }
caption span { display: block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2.5rem)); }
th, td { text-align: right; padding: .36rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; }
.under { display: block; color: var(--muted); font-size: .87rem; }
.long { display: inline-block; white-space: normal; min-width: 13rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--muted); font-weight: 600; }
tbody th { font-weight: 600; }
.facts thead th { text-align: left; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14.5rem), 1fr)); gap: 1rem; padding: 0;
  margin: 1rem 0; list-style: none; max-width: none; }
.pairs li { background: var(--soft); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem; font-size: .87rem; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }
.sides img, .sides .none, .single img, .single .none { width: 100%; aspect-ratio: 1; object-fit: contain; display: block;
  background: var(--paper); border-radius: .35rem; }
.single { max-width: 12rem; margin: 0 auto; }
.none { padding: .6rem; color: var(--muted); font-size: .8rem; overflow: hidden; }
.score { font-weight: 700; font-variant-numeric: tabular-nums; margin: .5rem 0 0; }
.names { color: var(--muted); overflow-wrap: anywhere; margin: .15rem 0 0; }
.note { background: var(--warn-soft); border-left: .25rem solid var(--warn); padding: .6rem .9rem; border-radius: .3rem; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto; }
code { font: .9em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
ul { padding-left: 1.2rem; max-width: 46rem; }
footer { color: var(--muted); font-size: .88rem; padding-bottom: 3rem; }
@media print { nav { display: none; } section { break-inside: avoid-page; } }
"""


def page(title: str, *body: str) -> str:
    """The whole document. Its policy forbids scripts and anything from elsewhere, should escaping ever fail."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(_STYLE)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n"

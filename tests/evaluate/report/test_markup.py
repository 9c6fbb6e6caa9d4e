"""Markup: what is text stays text, whatever it holds."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from vultus.evaluate.report.markup import Markup, element, join, page, paragraph, safe, table, visible


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_any_text_and_any_attribute_read_back_as_they_are_shown(text: str, value: str) -> None:
    reader = Reader()
    reader.feed(element("p", text, title=value))
    reader.close()
    assert reader.seen == [("p", {"title": visible(value)})]
    assert reader.text == visible(text)
    page("t", element("p", text)).encode("utf-8")


def test_markup_is_not_escaped_again() -> None:
    assert element("b", element("i", "a & b")) == "<b><i>a &amp; b</i></b>"
    assert isinstance(safe(Markup("<i>")), Markup)
    assert safe(Markup("<i>")) == "<i>"
    assert join(["<", Markup("<br>")]) == "&lt;<br>"


def test_names_of_attributes() -> None:
    assert element("p", class_="a", aria_label="b", colspan=2) == '<p class="a" aria-label="b" colspan="2"></p>'
    assert element("img", src="data:,") == '<img src="data:,">'


def test_what_cannot_be_seen_is_spelt_out() -> None:
    assert visible("a\u202eb\x00c\udce9\n") == "a\\u202eb\\x00c\\udce9\\n"
    assert visible("Zoë 李 5\u00a0%") == "Zoë 李 5\u00a0%"


def test_sentences_and_tables() -> None:
    assert paragraph("One.", "Two < three.") == "<p>One. Two &lt; three.</p>"
    grid = table("Caption", ["a", "b"], [["1", "<2>"]])
    assert "<caption><span>Caption</span></caption>" in grid
    assert '<th scope="row">1</th><td>&lt;2&gt;</td>' in grid

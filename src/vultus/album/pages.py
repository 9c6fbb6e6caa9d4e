"""The pages of an album: people, each person, who was seen once, who is unsure, and photos that are left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vultus.album.document import Frame, Page, Tab, document, numbered_pages, turner
from vultus.album.faces import AlbumFaces, AlbumPhoto, PhotoFailed
from vultus.album.pictures import face_path, preview_path
from vultus.evaluate.report.markup import Markup, element, join, visible
from vultus.evaluate.report.words import count
from vultus.gallery.cluster import Groups

PEOPLE, FACES, LINES = 120, 240, 500
"""How many of a kind one page shows."""

_SURE = 0.75
_TOGETHER = (("name", "Name"), ("merge", "One person"))
_APART = (("split", "Not this person"), ("name", "Name"))
_FORGET = ("forget", "Forget decisions")


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What an album shows.

    Args:
        title: of the album.
        album: what tells it from other albums in the browser.
        photos: by content; faces refer to them by place.
        faces: of these photos.
        groups: of these faces.
        names: of groups that have one.
        failures: photos that could not be read.
    """

    title: str
    album: str
    photos: Sequence[AlbumPhoto]
    faces: AlbumFaces
    groups: Groups
    names: Mapping[int, str]
    failures: Sequence[PhotoFailed]


def pages(contents: Contents) -> dict[str, bytes]:
    """All pages by path below the album, the first page last."""
    drawing = _Drawing(contents)
    people = drawing.people()[::-1]
    made = [*drawing.persons(), *drawing.once(), *drawing.unsure(), *drawing.left_out(), *people]
    return {page.path: document(page, drawing.frame) for page in made}


class _Drawing:
    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        labels = contents.groups.labels
        sizes = dict(zip(contents.groups.ids.tolist(), contents.groups.sizes.tolist(), strict=True))
        self.several = sorted((g for g, n in sizes.items() if n > 1), key=lambda g: (-sizes[g], g))
        self.single = sorted(g for g, n in sizes.items() if n == 1)
        self.place_once = {g: i for i, g in enumerate(self.single)}
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], contents.groups.ids)
        self.members = {g: order[s : s + sizes[g]] for g, s in zip(sizes, starts.tolist(), strict=True)}
        self.numbers = [int(f.rpartition("-")[2]) for f in contents.faces.ids]
        self.in_photo: dict[int, list[int]] = {}
        for i, photo in enumerate(contents.faces.photos.tolist()):
            self.in_photo.setdefault(photo, []).append(i)
        shown = set(self.in_photo)
        self.faceless = [p for i, p in enumerate(contents.photos) if i not in shown]
        self.frame = self._frame()

    def _frame(self) -> Frame:
        contents, groups = self.contents, self.contents.groups
        tabs = (
            Tab("People", len(self.several), "index.html"),
            Tab("Seen once", len(self.single), "pages/once.html"),
            Tab("Unsure", len(groups.unsure), "pages/unsure.html"),
            Tab("Left out", len(self.faceless) + len(contents.failures), "pages/left-out.html"),
        )
        state = [groups.labels.tolist(), list(contents.faces.ids), sorted(contents.names.items())]
        revision = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
        sentence = (
            f"{count(len(contents.faces), 'face')} in {count(len(contents.photos), 'photo')}, grouped by how alike they are "
            "and by what people decided. A group may be wrong: nothing here proves who somebody is."
        )
        return Frame(
            contents.title, contents.album, revision, tabs, tuple(sorted(set(contents.names.values()))), sentence
        )

    # --- kinds of pages -------------------------------------------------------------------------------------------------

    def people(self) -> list[Page]:
        paths = numbered_pages("index.html", _parts(self.several, PEOPLE))
        made = []
        for i, path in enumerate(paths):
            up = "../" * path.count("/")
            tiles = [self._person(g, up) for g in self.several[i * PEOPLE : (i + 1) * PEOPLE]]
            parts = [self._named(up)] if i == 0 else []
            parts += [
                _grid(tiles) if tiles else element("p", "Nobody is seen in two photos or more."),
                turner(paths, i),
            ]
            made.append(Page(path, self.contents.title, join(parts), "index.html", kinds=(*_TOGETHER, _FORGET)))
        return made

    def persons(self) -> list[Page]:
        return [page for group in self.several for page in self._person_pages(group)]

    def once(self) -> list[Page]:
        intro = "These faces were found once, or nothing else is like enough. Choose several to say that they are one person."
        faces = [int(self.members[g][0]) for g in self.single]
        return self._face_list("pages/once.html", "Seen once", intro, faces, whole=True)

    def unsure(self) -> list[Page]:
        intro = (
            "These faces could not be placed: they are small, blurred or turned away, or lie between two people. Give one the "
            "name of a person to put it there."
        )
        faces = self.contents.groups.unsure.tolist()
        return self._face_list("pages/unsure.html", "Unsure", intro, faces, whole=False)

    def left_out(self) -> list[Page]:
        failed = [
            element("li", f.name, element("small", f"{f.code}: {f.message.replace(f.file, f.name)}"))
            for f in self.contents.failures
        ]
        faceless = [element("li", photo.name) for photo in self.faceless]
        entries = [("Could not be read", e) for e in failed] + [("No face was found", e) for e in faceless]
        paths = numbered_pages("pages/left-out.html", _parts(entries, LINES))
        made = []
        for i, path in enumerate(paths):
            parts: list[Markup] = []
            part = entries[i * LINES : (i + 1) * LINES]
            for heading in dict.fromkeys(h for h, _ in part):
                items = [e for h, e in part if h == heading]
                parts += [element("h2", heading), element("ul", *items, class_="list")]
            if not part:
                parts.append(element("p", "Every photo could be read and shows a face."))
            made.append(Page(path, "Left out", join([*parts, turner(paths, i)]), "pages/left-out.html"))
        return made

    # --- parts of pages -------------------------------------------------------------------------------------------------

    def _person_pages(self, group: int) -> list[Page]:
        title = self._called(group)
        members = self.members[group].tolist()
        first = person_path(group)
        paths = numbered_pages(first, _parts(members, FACES))
        photos = len({int(self.contents.faces.photos[m]) for m in members})
        facts = f"Person {group} · {count(len(members), 'face')} in {count(photos, 'photo')}"
        tools = element(
            "div",
            element("label", "Name" if group not in self.contents.names else "Another name", for_="own-name"),
            element("input", type="text", id="own-name", list="known", maxlength=200, autocomplete="off"),
            element("button", "Set", type="button", id="give"),
            element("button", "Select all", type="button", id="all"),
            class_="tools js-only",
        )
        made = []
        for i, path in enumerate(paths):
            tiles = [self._face(m, "../", title) for m in members[i * FACES : (i + 1) * FACES]]
            content = join(
                [
                    element("p", facts, class_="sub"),
                    tools,
                    _grid(tiles),
                    turner(paths, i),
                ]
            )
            data = {"group": str(group), "label": title}
            made.append(Page(path, title, content, "index.html", kinds=(*_APART, _FORGET), data=data, viewer=True))
        return made

    def _face_list(self, first: str, title: str, intro: str, faces: list[int], *, whole: bool) -> list[Page]:
        """Pages of single faces; a face that is a whole group is named by the group's number."""
        paths = numbered_pages(first, _parts(faces, FACES))
        made = []
        for i, path in enumerate(paths):
            tiles = []
            for face in faces[i * FACES : (i + 1) * FACES]:
                group = int(self.contents.groups.labels[face])
                name = self._called(group) if whole else "Unsure"
                tiles.append(self._face(face, "../", name, who=str(group) if whole else None))
            content = [element("p", intro, class_="sub"), _grid(tiles)] if tiles else [element("p", "There are none.")]
            parts = join([*content, turner(paths, i)])
            made.append(Page(path, title, parts, first, kinds=(*_TOGETHER, _FORGET), viewer=True))
        return made

    def _called(self, group: int) -> str:
        return self.contents.names.get(group, f"Person {group}")

    def _named(self, up: str) -> Markup:
        """Links to everybody who has a name, by name."""
        named = sorted((name.casefold(), name, g) for g, name in self.contents.names.items())
        if not named:
            return Markup("")
        links = [element("li", element("a", name, href=up + self._page_of(g))) for _, name, g in named]
        return element(
            "details", element("summary", f"All names ({len(links):,})"), element("ul", *links, class_="names")
        )

    def _page_of(self, group: int) -> str:
        """Where a group is shown."""
        if len(self.members[group]) > 1:
            return person_path(group)
        return numbered_pages("pages/once.html", self.place_once[group] // FACES + 1)[-1]

    def _person(self, group: int, up: str) -> Markup:
        members, name = self.members[group], self._called(group)
        quality = self.contents.faces.quality[members]
        cover = int(members[int(np.argmax(quality + self.contents.groups.confidences[members]))])
        small = count(len(members), "face") + (f" · {group}" if group in self.contents.names else "")
        tile = element(
            "a",
            self._picture(cover, up, ""),
            element("b", name),
            element("small", small),
            href=up + person_path(group),
            class_="tile",
        )
        return _tile(str(group), name, tile)

    def _face(self, face: int, up: str, name: str, *, who: str | None = None) -> Markup:
        faces, photo = self.contents.faces, self.contents.photos[int(self.contents.faces.photos[face])]
        weak = float(self.contents.groups.confidences[face]) < _SURE and int(self.contents.groups.labels[face]) >= 0
        notes = [element("small", photo.name.rpartition("/")[2], title=photo.name)]
        if name == f"Person {who}" or (who is not None and name != "Unsure"):
            notes.insert(0, element("b", name))
        if weak and who is None:
            notes.append(element("small", "less sure", class_="weak"))
        x0, y0, x1, y1 = (100 * float(np.clip(v, 0, 1)) for v in faces.boxes[face])
        others = [
            (visible(self._called(g)), up + self._page_of(g))
            for other in self.in_photo[int(faces.photos[face])]
            if other != face and (g := int(self.contents.groups.labels[other])) >= 0
        ]
        link = element(
            "a",
            self._picture(face, up, f"{name}, face {self.numbers[face] + 1} of photo {photo.name}"),
            *notes,
            href=up + preview_path(photo.sha256),
            class_="tile",
            data_face=faces.ids[face],
            data_photo=photo.name if len(photo.files) == 1 else f"{photo.name} ({len(photo.files)} files)",
            data_box=f"{x0:.2f} {y0:.2f} {x1 - x0:.2f} {y1 - y0:.2f}",
            data_others=json.dumps(others, ensure_ascii=False),
        )
        label = name if who is not None else f"{photo.name}, face {self.numbers[face] + 1}"
        return _tile(faces.ids[face] if who is None else who, label, link)

    def _picture(self, face: int, up: str, alt: str) -> Markup:
        photo = self.contents.photos[int(self.contents.faces.photos[face])]
        source = up + face_path(photo.sha256, self.numbers[face])
        return element("img", src=source, alt=alt, width=160, height=160, loading="lazy", decoding="async")


def person_path(group: int) -> str:
    """Where the page of a group lies in the album."""
    return f"pages/person-{group}.html"


def _tile(who: str, label: str, content: Markup) -> Markup:
    box = element("input", type="checkbox")
    pick = element("label", box, element("span", f"Select {label}", class_="sr"), class_="pick")
    return element("li", content, pick, data_who=who, data_label=label)


def _grid(tiles: Iterable[Markup]) -> Markup:
    return element("ul", *tiles, class_="grid")


def _parts(things: Sequence[object], size: int) -> int:
    return max(1, -(-len(things) // size))

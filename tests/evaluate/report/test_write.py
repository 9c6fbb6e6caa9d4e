"""The page and its files: sound HTML that refers to nothing outside, no text that becomes markup, JSON that reads back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate import Extraction, Pairs, VerificationResult, measure_verification
from vultus.evaluate.open_set import measure_open_set
from vultus.evaluate.protocol import People
from vultus.evaluate.report import Evaluated, pairs_of_people, write_report
from vultus.evaluate.report.record import identify_data, plain

PEOPLE, EACH, DIMENSION = 60, 4, 32


def draw_face(seed: int) -> Image.Image:
    """A cartoon: an oval with eyes and a mouth, in colours of its own."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (150, 180), tuple(rng.integers(60, 220, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    skin = tuple(rng.integers(120, 250, 3).tolist())
    pen.ellipse((30, 25, 120, 155), fill=skin)
    for x in (58, 92):
        pen.ellipse((x - 8, 72, x + 8, 84), fill="white")
        pen.ellipse((x - 3, 75, x + 3, 81), fill="black")
    pen.arc((55, 100, 95, 130), 20, 160, fill="black", width=3)
    return picture


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A protocol and two systems on it."""

    pairs: Pairs
    good: Evaluated
    poor: Evaluated


def plant(folder: Path, *, noise: tuple[float, float] = (0.16, 0.2), failing: tuple[int, ...] = (7, 100)) -> Planted:
    """Photos of planted subjects below a folder, their pairs in ten folds, and templates of two systems."""
    rng = np.random.default_rng(3)
    files, subjects = [], np.repeat(np.arange(PEOPLE), EACH)
    for i, s in enumerate(subjects.tolist()):
        path = folder / f"person{s:02d}" / f"photo{i % EACH}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_face(s).save(path)
        files.append(str(path))
    first, second, mated = [], [], []
    for s in range(PEOPLE):
        a, b = np.triu_indices(EACH, k=1)
        first += (a + s * EACH).tolist()
        second += (b + s * EACH).tolist()
        mated += [True] * len(a)
    for _ in range(1_500):
        one, other = rng.choice(PEOPLE, 2, replace=False).tolist()
        first.append(one * EACH + int(rng.integers(EACH)))
        second.append(other * EACH + int(rng.integers(EACH)))
        mated.append(False)
    folds = np.array([subjects[i] % 10 for i in first])
    pairs = Pairs(
        name="Planted people",
        files=tuple(files),
        first=np.array(first),
        second=np.array(second),
        mated=np.array(mated),
        subjects=subjects,
        folds=folds,
        notes=("one pair is listed twice",),
    )
    centres = rng.normal(size=(PEOPLE, DIMENSION)) / np.sqrt(DIMENSION)
    systems = []
    for level, name in zip(
        noise, ("good-net@0123456789ab+finder@ba98", "poor-net@aaaaaaaaaaaa+finder@ba98"), strict=True
    ):
        each = level * rng.gamma(4, 0.25, len(files))  # photos are of different quality
        rows = centres[subjects] + each[:, None] * rng.normal(size=(len(files), DIMENSION))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        quality = np.clip(1.05 - 2 * each + 0.05 * rng.normal(size=len(files)), 0, 1).astype(np.float32)
        failures = dict.fromkeys(failing, "no_face: no face was found in the photo")
        rows[list(failures)], quality[list(failures)] = 0, np.nan
        extraction = Extraction(tuple(files), rows, quality, failures, name)
        systems.append(Evaluated(extraction, measured(pairs, extraction), {"embedder": name.partition("@")[0]}))
    return Planted(pairs, *systems)


def measured(pairs: Pairs, extraction: Extraction) -> VerificationResult:
    return measure_verification(pairs, extraction, rates=(0.1, 0.02, 1e-3), cross_pairs=True)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Two systems on 60 planted people."""
    return plant(tmp_path_factory.mktemp("planted"))


WHEN = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
VOID = {"img", "meta", "link", "source", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and collects what a browser would fetch, run or show."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.alternatives: list[str] = []
        self.identities: list[str] = []
        self.captions = 0
        self.text: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.captions += tag == "caption"
        given = dict(attrs)
        assert len(given) == len(attrs)
        for name, value in attrs:
            self.attributes.append((tag, name, value))
            if name in {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}:
                self.addresses.append(value or "")
        if tag == "img":
            self.alternatives.append(given.get("alt") or "")
        if "id" in given:
            self.identities.append(given["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())


def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def record_of(path: Path) -> Any:
    def refuse(value: str) -> None:
        raise AssertionError(f"{value} is no JSON")

    return json.loads((path.parent / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def require_self_contained(page: Page) -> None:
    assert page.addresses
    for address in page.addresses:
        assert address.startswith(("data:", "#")), address[:80]
        if address.startswith("#"):
            assert address[1:] in page.identities
    assert not {"script", "iframe", "object", "embed", "form", "base", "svg"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on") or (a[2] or "").lower().startswith("javascript:")]
    assert all(page.alternatives)
    assert page.captions == page.tags.count("table")
    assert len(set(page.identities)) == len(page.identities)


@pytest.fixture(scope="module")
def one(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one system."""
    return write_report(
        tmp_path_factory.mktemp("one") / "new" / "folder",
        pairs=planted.pairs,
        system=planted.good,
        command="vultus evaluate pairs planted.csv --name '<&>'",
        cross_pairs=True,
        created=WHEN,
    )


@pytest.fixture(scope="module")
def two(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two systems, without pictures and with another title."""
    return write_report(
        tmp_path_factory.mktemp("two"),
        pairs=planted.pairs,
        system=planted.good,
        other=planted.poor,
        command="compare",
        title="Good against <poor>",
        pictures=False,
        created=WHEN,
        worst=3,
    )


def test_the_page_is_sound_and_refers_to_nothing_outside(one: Path, two: Path) -> None:
    for path in (one, two):
        assert path.name == "index.html"
        page = parsed(path)
        require_self_contained(page)
        content = path.read_text(encoding="utf-8")
        policies = [a for t, n, a in page.attributes if n == "content" and "default-src" in (a or "")]
        assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
        assert "url(" not in content
        assert "@import" not in content
        assert "http:" not in content
        assert "https:" not in content


def test_plots_are_files_that_the_record_lists(one: Path) -> None:
    plots = record_of(one)["plots"]
    assert plots == ["det.png", "discard.png", "reliability.png", "roc.png", "scores.png"]
    assert {p.name for p in one.parent.iterdir()} == {*plots, "index.html", "report.json"}
    for name in plots:
        with Image.open(one.parent / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.width >= 900


def test_the_summary_says_the_figures_with_their_intervals(one: Path, planted: Planted) -> None:
    words = parsed(one).words
    result = planted.good.result
    assert "1,860 comparisons, 360 mated and 1,500 non-mated, of 240 photos of 60 subjects" in words
    assert f"{100 * result.eer:.2f} %" in words
    assert "2 of 240 photos gave no template" in words
    assert "1 rate was refused" in words
    assert "FMR 1e-3 (1 in 1,000): 1,770 non-mated comparisons" in words
    assert "30,000" in words
    assert "one pair is listed twice" in words
    for point in result.points:
        assert f"{100 * point.fnmr:.3g} %" in words
        assert f"{point.threshold:.4f}" in words
    assert "vultus evaluate pairs planted.csv --name '<&>'" in words
    assert "2026-11-24 12:30 UTC" in words


def test_worst_pairs_and_failures_are_pictures_with_names_and_scores(one: Path, planted: Planted) -> None:
    page, record = parsed(one), record_of(one)
    pairs, extraction = planted.pairs, planted.good.extraction
    scores = extraction.scores(pairs.first, pairs.second)
    usable = np.isfinite(scores)
    lowest = np.sort(scores[usable & pairs.mated])[:12]
    highest = np.sort(scores[usable & ~pairs.mated])[::-1][:12]
    assert [w["score"] for w in record["worst"]["mated"]] == pytest.approx(lowest.tolist())
    assert (
        record["worst"]["mated"][0]["a"]
        == pairs.files[pairs.first[np.argmin(np.where(pairs.mated & usable, scores, 9))]]
    )
    assert len(record["worst"]["cross_pairs"]) == 12
    assert record["worst"]["cross_pairs"][0]["score"] >= record["worst"]["cross_pairs"][1]["score"]
    for score in [*lowest, *highest[:3]]:
        assert f"score {score:.3f}" in page.words
    photos = [a for t, n, a in page.attributes if t == "img" and n == "src" and (a or "").startswith("data:image/jpeg")]
    listed_once = len({(w["a"], w["b"]) for w in record["worst"]["non_mated"]})
    assert len(photos) == 2 * (12 + listed_once + 12) + 2
    assert "person01/photo3.png" in page.words
    assert "no face was found in the photo" in page.words
    assert "belongs to whoever ran the evaluation" in page.words


def test_without_pictures_names_and_reasons_stay(two: Path) -> None:
    page = parsed(two)
    assert not [a for _, n, a in page.attributes if n == "src" and "image/jpeg" in (a or "")]
    assert "no face was found in the photo" in page.words
    assert "score " in page.words
    assert "belongs to whoever ran" not in page.words
    assert page.words.count("missed at FMR") == 3


def test_two_systems_stand_on_one_page_with_their_paired_difference(two: Path, planted: Planted) -> None:
    page, record = parsed(two), record_of(two)
    assert page.text.count("Good against <poor>") == 2
    assert [s["name"] for s in record["systems"]] == ["good-net", "poor-net"]
    figures = {f["name"]: f for f in record["comparison"]["figures"]}
    assert set(figures) == {"accuracy", "EER", "FNMR at FMR 0.1", "FNMR at FMR 0.02"}
    eer = figures["EER"]
    assert eer["difference"] == pytest.approx(planted.good.result.eer - planted.poor.result.eer)
    assert "The two systems compared" in page.words
    assert "not told apart" in page.words
    assert {"scores.png", "scores-other.png"} <= set(record["plots"])
    assert "cross_pairs" not in record["worst"]


def test_every_figure_of_the_record_has_an_interval_or_a_reason(one: Path) -> None:
    record = record_of(one)
    system = record["systems"][0]
    for name in ("accuracy", "eer", "auc", "failure_to_enrol"):
        figure = system[name]
        assert figure["method"]
        low, high = figure["interval"]
        assert low <= figure["value"] <= high
    for point in system["verification"]["fnmr_at_fmr"].values():
        assert point["low"] <= point["fnmr"] <= point["high"]
    curve = system["curve"]
    for fmr, fnmr, low, high in zip(curve["fmr"], curve["fnmr"], curve["low"], curve["high"], strict=True):
        assert (low is None) == (high is None) == (fmr * 1_500 < 30 * (1 - 1e-9))
        if low is not None:
            assert low - 1e-12 <= fnmr <= high + 1e-12


def test_data_are_identified_by_their_contents(one: Path, two: Path, planted: Planted, tmp_path: Path) -> None:
    data = record_of(one)["data"]
    assert data == record_of(two)["data"]
    assert (data["files"], data["subjects"], data["unreadable"]) == (240, 60, 0)
    moved = plant(tmp_path / "moved")
    assert identify_data(moved.pairs).to_dict() == data
    Path(moved.pairs.files[3]).write_bytes(b"another photo")
    Path(moved.pairs.files[5]).unlink()
    other = identify_data(moved.pairs)
    assert other.unreadable == 1
    assert other.content != data["content_sha256"]
    assert other.protocol != data["protocol_sha256"]
    relabelled = replace(planted.pairs, mated=~planted.pairs.mated)
    assert identify_data(relabelled).content == data["content_sha256"]
    assert identify_data(relabelled).protocol != data["protocol_sha256"]


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    hostile = ["<script>alert(1)<script>.png", 'x" onerror="alert(2).png', "&amp;<b>.png", "\u202egnp.exe\u0007\n.png"]
    people = tmp_path / "<img src=x onerror=alert(3)>"
    people.mkdir()
    planted = plant(tmp_path / "plain")
    files = list(planted.pairs.files)
    for i, name in enumerate(hostile):
        (people / name).write_bytes(Path(files[i]).read_bytes())
        files[i] = str(people / name)
    files[4] = str(people / "latin-\udce9.png")
    pairs = replace(planted.pairs, files=tuple(files), name="<u>Planted</u>", notes=("<script>note</script>",))
    extraction = planted.good.extraction
    rows = extraction.rows.copy()
    rows[0], rows[2] = -rows[1], -rows[3]  # so that the hostile names are among the worst
    failures = {4: "no_face: <script>alert(4)</script>", 5: "no_face: none"}
    extraction = Extraction(tuple(files), rows, extraction.quality, {**extraction.failures, **failures}, "<i>@1")
    result = replace(planted.good.result, notes=pairs.notes, protocol=pairs.name)
    system = Evaluated(extraction, result, {"<b>fact</b>": "<script>"}, name="<em>name</em>")
    path = write_report(tmp_path / "report", pairs=pairs, system=system, command="<script>alert(5)</script>", worst=4)
    page = parsed(path)
    require_self_contained(page)
    assert not {"b", "i", "u", "em"} & (set(page.tags) - {"b"})
    assert page.tags.count("b") == 4  # the large figures, and none of the names
    for seen in ("<script>alert(1)<script>.png", "<img src=x onerror=alert(3)>", "\\u202egnp.exe\\x07\\n.png"):
        assert seen in page.words
    assert "latin-\\udce9.png" in page.words
    assert "<script>alert(5)</script>" in page.words
    assert record_of(path)["worst"]["mated"][0]["a"] == files[0]


def test_photos_that_cannot_be_shown_say_why(planted: Planted, tmp_path: Path) -> None:
    other = plant(tmp_path / "people", failing=(7,))
    gone, broken = Path(other.pairs.files[7]), Path(other.pairs.files[8])
    gone.unlink()
    broken.write_bytes(b"")
    rows = other.good.extraction.rows.copy()
    rows[9] = -rows[8]
    extraction = replace(other.good.extraction, rows=rows, failures={7: "source_unavailable: gone"})
    system = replace(other.good, extraction=extraction)
    page = parsed(write_report(tmp_path / "report", pairs=other.pairs, system=system, command="x", worst=2))
    require_self_contained(page)
    assert "source_unavailable: cannot read" in page.words
    assert "parse_error" in page.words


def test_a_perfect_system_and_one_that_fails_always_give_pages(planted: Planted, tmp_path: Path) -> None:
    pairs = planted.pairs
    rows = np.eye(60, dtype=np.float32)[pairs.subjects]
    good = Extraction(pairs.files, rows, np.full(240, np.nan, dtype=np.float32), {}, "perfect@1")
    failures = dict.fromkeys(range(240), "no_face: none")
    none = Extraction(pairs.files, np.zeros_like(rows), np.full(240, np.nan, dtype=np.float32), failures, "blind@1")
    systems = [Evaluated(e, measure_verification(pairs, e, rates=(0.1,))) for e in (good, none)]
    path = write_report(
        tmp_path / "report", pairs=pairs, system=systems[0], other=systems[1], command="x", cross_pairs=True
    )
    page, record = parsed(path), record_of(path)
    require_self_contained(page)
    perfect, blind = record["systems"]
    assert perfect["eer"]["value"] == 0.0
    assert perfect["eer"]["interval"] == [0.0, pytest.approx(3 / 360)]
    assert "rule of three" in perfect["eer"]["method"]
    assert isinstance(perfect["error_versus_discard"], str)
    assert blind["failure_to_enrol"]["value"] == 1.0
    assert isinstance(blind["likelihood_ratios"], str)
    assert "216 more are listed in report.json" in page.words


def test_identification_has_its_curve_and_its_table(planted: Planted, tmp_path: Path) -> None:
    people = People("Planted people", tuple(f"p{i}" for i in range(60)), planted.pairs.files, planted.pairs.subjects)
    searches = measure_open_set(people, planted.good.extraction, gallery_size=30, repeats=3, rates=(0.2, 1e-3))
    pairs = pairs_of_people(people)
    result = measure_verification(pairs, planted.good.extraction, rates=(0.1,))
    system = Evaluated(planted.good.extraction, result, searches=searches)
    path = write_report(tmp_path / "report", pairs=pairs, system=system, command="x", worst=0, created=WHEN)
    page, record = parsed(path), record_of(path)
    require_self_contained(page)
    assert "cmc.png" in record["plots"]
    assert record["systems"][0]["identification"]["gallery_size"] == 30
    point = searches.points[0]
    assert f"{point.threshold:.4f}" in page.words
    assert "FPIR 1e-3 is refused" in page.words
    assert f"Searching 30 enrolled subjects puts the right one first in {100 * searches.cmc[0]:.1f} %" in page.words
    assert "There is no such comparison with a score." in page.words
    assert "pairs made from a folder of people" in page.words


def test_the_seed_moves_the_intervals_and_nothing_else(planted: Planted, one: Path, tmp_path: Path) -> None:
    again = write_report(
        tmp_path, pairs=planted.pairs, system=planted.good, command="x", cross_pairs=True, created=WHEN, seed=1
    )
    old, new = (record_of(p)["systems"][0] for p in (one, again))
    assert old["eer"]["value"] == new["eer"]["value"]
    assert old["eer"]["interval"] != new["eer"]["interval"]


def test_what_does_not_fit_is_refused_before_anything_is_written(planted: Planted, tmp_path: Path) -> None:
    other = replace(planted.poor, extraction=replace(planted.poor.extraction, files=planted.pairs.files[::-1]))
    with pytest.raises(BadArgument, match="in place of"):
        write_report(tmp_path / "no", pairs=planted.pairs, system=planted.good, other=other, command="x")
    with pytest.raises(BadArgument, match="worst is -1"):
        write_report(tmp_path / "no", pairs=planted.pairs, system=planted.good, command="x", worst=-1)
    assert not (tmp_path / "no").exists()


def test_a_folder_that_cannot_be_written_is_a_typed_error(planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceUnavailable, match="cannot write the report"):
        write_report(tmp_path / "file", pairs=planted.pairs, system=planted.good, command="x", worst=0)


def test_protocols_without_folds_and_with_few_pairs_are_reported_too(planted: Planted, tmp_path: Path) -> None:
    some = np.concatenate([np.flatnonzero(planted.pairs.mated)[:30], np.flatnonzero(~planted.pairs.mated)[:20]])
    base = planted.pairs
    pairs = Pairs("few", base.files, base.first[some], base.second[some], base.mated[some], base.subjects)
    result = measure_verification(pairs, planted.good.extraction)
    system = replace(planted.good, result=result)
    path = write_report(tmp_path, pairs=pairs, system=system, command="x", worst=1)
    record, page = record_of(path), parsed(path)
    require_self_contained(page)
    assert record["systems"][0]["accuracy"] is None
    assert all(
        low is None
        for fmr, low in zip(record["systems"][0]["curve"]["fmr"], record["systems"][0]["curve"]["low"], strict=True)
        if fmr * 20 < 29
    )
    assert "support none of the false match rates" in page.words
    assert "5 rates were refused" in page.words


def test_nothing_that_is_not_finite_reaches_the_record() -> None:
    value = {
        "a": math.nan,
        "b": (1.0, math.inf),
        3: np.array([1.0, -np.inf]),
        "c": np.float32(2),
        "d": np.intp(4),
        "e": None,
    }
    assert plain(value) == {"a": None, "b": [1.0, None], "3": [1.0, None], "c": 2.0, "d": 4, "e": None}

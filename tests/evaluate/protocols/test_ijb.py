"""IJB's lists and templates, against hand-made lists and a pooling by loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import BadArgument, SourceUnavailable, TooFewComparisons
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.open_set import measure_search_lists
from vultus.evaluate.protocols.ijb import (
    Templates,
    pool_templates,
    read_search_lists,
    read_template_pairs,
    read_templates,
)
from vultus.evaluate.verification import measure_verification

TEMPLATES = """1.jpg 7 100
2.jpg 7 101
3.jpg 7 101
4.jpg 3 102
5.jpg 9 103
6.jpg 9 104
7.jpg 12 105
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    meta = tmp_path / "meta"
    meta.mkdir()
    (tmp_path / "loose_crop").mkdir()
    for i in range(1, 7):
        (tmp_path / "loose_crop" / f"{i}.jpg").write_bytes(b"x")
    (meta / "ijbc_face_tid_mid.txt").write_text(TEMPLATES)
    (meta / "ijbc_template_pair_label.txt").write_text("7 3 1\n7 9 0\n3 12 0\n9 12 1\n")
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n"
    (meta / "ijbc_1N_gallery_G1.csv").write_text(header + "7,50,1.jpg,1\n7,50,2.jpg,2\n")
    (meta / "ijbc_1N_gallery_G2.csv").write_text(header + "9,60,5.jpg,3\n")
    (meta / "ijbc_1N_probe_mixed.csv").write_text("template_id, subject_id\n3,50\n12,60\n")
    return tmp_path


def test_templates_and_pairs(root: Path) -> None:
    templates = read_templates(root)
    assert templates.name == "IJB-C"
    assert templates.ids.tolist() == [3, 7, 9, 12]
    assert templates.template_of.tolist() == [1, 1, 1, 0, 2, 2, 3]
    assert templates.medium_of.tolist() == [100, 101, 101, 102, 103, 104, 105]
    assert templates.files[0] == str(root / "loose_crop" / "1.jpg")
    assert len(templates) == 4
    assert templates.notes == (
        f"1 of 7 photos are missing, the first at {root / 'loose_crop' / '7.jpg'}; they count as failures to enrol",
    )
    pairs = read_template_pairs(root, templates)
    assert pairs.files == ("3", "7", "9", "12")
    assert pairs.first.tolist() == [1, 1, 0, 2]
    assert pairs.second.tolist() == [0, 2, 3, 3]
    assert pairs.mated.tolist() == [True, False, False, True]
    assert pairs.subjects[0] == pairs.subjects[1] != pairs.subjects[2] == pairs.subjects[3]
    assert pairs.notes == templates.notes


def test_photos_acts(root: Path) -> None:
    (root / "other").mkdir()
    assert read_templates(root, photos=root / "other").files[0] == str(root / "other" / "1.jpg")


def extraction_of(templates: Templates, rows: np.ndarray, failures: dict[int, str] | None = None) -> Extraction:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    failures = failures or {}
    rows[list(failures)] = 0
    quality = np.linspace(0.2, 0.9, len(rows)).astype(np.float32)
    quality[list(failures)] = np.nan
    return Extraction(templates.files, rows.astype(np.float32), quality, failures, "m")


@pytest.mark.parametrize("weighting", ["count", "quality"])
def test_pooling_agrees_with_loops(root: Path, weighting: str) -> None:
    templates = read_templates(root)
    found = extraction_of(templates, np.random.default_rng(0).normal(size=(7, 8)), {1: "no_face: none"})
    pooled = pool_templates(templates, found, weighting=weighting)  # type: ignore[arg-type]
    for t, name in enumerate(pooled.files):
        media = []
        for m in sorted(set(templates.medium_of[templates.template_of == t])):
            frames = [
                i
                for i in np.flatnonzero((templates.template_of == t) & (templates.medium_of == m))
                if i not in found.failures
            ]
            if frames:
                q = found.quality[frames].astype(np.float64) + 1e-6
                weight = np.ones(len(frames)) if weighting == "count" else q
                mean = (weight[:, None] * found.rows[frames].astype(np.float64)).sum(axis=0) / weight.sum()
                media.append((mean, 1.0 if weighting == "count" else float(found.quality[frames].mean()) + 1e-6))
        expected = sum(w * m for m, w in media)
        np.testing.assert_allclose(pooled.rows[t], expected / np.linalg.norm(expected), atol=1e-6)
        assert name == str(templates.ids[t])
    assert pooled.failures == {}
    assert pooled.model_id == f"m+{weighting}"


def test_a_video_counts_no_more_than_a_still() -> None:
    templates = Templates("t", ("a", "b", "c", "d"), np.zeros(4, dtype=int), np.asarray([1, 2, 2, 2]), np.asarray([5]))
    rows = np.asarray([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(
        pool_templates(templates, extraction_of(templates, rows)).rows, [[0.5**0.5] * 2], atol=1e-6
    )


def test_templates_without_a_row_are_failures(root: Path) -> None:
    templates = read_templates(root)
    rows = np.random.default_rng(1).normal(size=(7, 4))
    rows[5] = -rows[4]  # two media that cancel
    pooled = pool_templates(templates, extraction_of(templates, rows, {3: "no_face: none"}))
    assert {i: why.partition(":")[0] for i, why in pooled.failures.items()} == {0: "no_face", 2: "bad_template"}
    assert np.isnan(pooled.quality[[0, 2]]).all()
    assert not pooled.rows[[0, 2]].any()
    scores = pooled.scores([1, 1], [0, 3])
    assert scores[0] == -np.inf
    assert np.isfinite(scores[1])


def test_verification_takes_pooled_templates(root: Path) -> None:
    templates = read_templates(root)
    rows = np.asarray([[1, 0], [1, 0.1], [1, 0.2], [1, 0], [0, 1], [0.1, 1], [0.0, 1]], dtype=np.float64)
    pooled = pool_templates(templates, extraction_of(templates, rows))
    result = measure_verification(read_template_pairs(root, templates), pooled, rates=())
    assert result.eer == 0
    assert (result.n_mated, result.n_non_mated) == (2, 2)


def test_searches_in_both_galleries(root: Path) -> None:
    templates = read_templates(root)
    lists = read_search_lists(root, templates)
    assert list(lists.galleries) == ["G1", "G2"]
    assert lists.galleries["G1"].tolist() == [1]
    assert lists.gallery_subjects["G2"].tolist() == [60]
    assert lists.probes.tolist() == [0, 3]
    rows = np.asarray([[1, 0], [1, 0.1], [1, 0.2], [1, 0], [0, 1], [0.1, 1], [0.0, 1]], dtype=np.float64)
    result = measure_search_lists(lists, pool_templates(templates, extraction_of(templates, rows)), rates=(0.1,))
    assert (result.n_mated, result.n_non_mated, result.galleries, result.gallery_size) == (2, 2, 2, 1)
    assert result.cmc == (1.0,)
    assert "2 non-mated searches, 1 in each of 2, cannot support an FPIR of 0.1, which needs 300" in result.refused[0.1]
    assert result.to_dict()["failures_to_enrol"] == 0


def test_searches_of_one_kind_only_are_refused(root: Path) -> None:
    (root / "meta" / "ijbc_1N_probe_mixed.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n3,99\n")
    templates = read_templates(root)
    lists = read_search_lists(root, templates)
    assert lists.notes[-1] == "1 probes show subjects of no gallery"
    pooled = pool_templates(templates, extraction_of(templates, np.ones((7, 2))))
    with pytest.raises(TooFewComparisons, match="0 mated and 2 non-mated"):
        measure_search_lists(lists, pooled)


def test_subjects_of_two_galleries_are_noted(root: Path) -> None:
    (root / "meta" / "ijbc_1N_gallery_G2.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n9,50\n")
    assert "1 subjects are in more than one gallery" in read_search_lists(root, read_templates(root)).notes


def pairs_of_root(root: Path) -> object:
    return read_template_pairs(root, read_templates(root))


def lists_of_root(root: Path) -> object:
    return read_search_lists(root, read_templates(root))


BAD: list[tuple[str, str, str, Callable[[Path], object]]] = [
    ("face_tid_mid.txt", "1.jpg 7 100\n2.jpg seven 1\n3.jpg 8\n", "2 broken lines: line 2: .* line 3", read_templates),
    ("face_tid_mid.txt", "\n", "lists no photos", read_templates),
    ("template_pair_label.txt", "7 3 1\n7 x 0\n", "has a broken line: .*row 1", pairs_of_root),
    ("template_pair_label.txt", "7 3 1\n7 9\n", "has a broken line", pairs_of_root),
    ("template_pair_label.txt", "7 3\n", "2 columns", pairs_of_root),
    ("template_pair_label.txt", "7 3 1\n7 9 2\n", "pair 2 has the label 2", pairs_of_root),
    ("template_pair_label.txt", "7 3 1\n7 44 0\n", "1 templates have no photo, the first is number 44", pairs_of_root),
    ("1N_gallery_G1.csv", "TEMPLATE_ID,SUBJECT_ID\n7,50\n3,50\n", "a subject has two templates", lists_of_root),
    ("1N_gallery_G1.csv", "TEMPLATE_ID,SUBJECT_ID\n7,50\n7,51\n", "line 3: template 7 shows subject 51", lists_of_root),
    ("1N_gallery_G1.csv", "TEMPLATE_ID,SUBJECT_ID\n7\n", "1 broken line: line 2", lists_of_root),
    ("1N_gallery_G1.csv", "7,50\n", "begins with 7, 50", lists_of_root),
    ("1N_gallery_G1.csv", "", "begins with nothing", lists_of_root),
    ("1N_probe_mixed.csv", "TEMPLATE_ID,SUBJECT_ID\n", "lists no templates", lists_of_root),
    ("1N_probe_mixed.csv", "TEMPLATE_ID,SUBJECT_ID\n44,50\n", "number 44", lists_of_root),
]


@pytest.mark.parametrize("case", range(14))
def test_bad_lists_are_refused(root: Path, case: int) -> None:
    assert len(BAD) == 14
    name, text, message, read = BAD[case]
    (root / "meta" / f"ijbc_{name}").write_text(text)
    with pytest.raises(BadArgument, match=message):
        read(root)


def test_an_empty_list_of_pairs(root: Path) -> None:
    (root / "meta" / "ijbc_template_pair_label.txt").write_text("")
    with pytest.raises(BadArgument, match="lists no pairs"):
        pairs_of_root(root)


def test_missing_lists(root: Path, tmp_path: Path) -> None:
    templates = read_templates(root)
    for read in (lambda: read_templates(root, "ijbb"), lambda: read_template_pairs(root, templates, "ijbb")):
        with pytest.raises(SourceUnavailable, match="ijbb"):
            read()
    with pytest.raises(SourceUnavailable, match="ijbb_1N_gallery"):
        read_search_lists(root, templates, "ijbb")
    (root / "meta" / "ijbc_1N_probe_mixed.csv").unlink()
    with pytest.raises(SourceUnavailable, match="probe"):
        read_search_lists(root, templates)


def test_bad_arguments(root: Path) -> None:
    templates = read_templates(root)
    found = extraction_of(templates, np.ones((7, 2)))
    with pytest.raises(BadArgument, match="weighting is 'best'"):
        pool_templates(templates, found, weighting="best")  # type: ignore[arg-type]
    other = Extraction(("x",), np.ones((1, 2), dtype=np.float32), np.ones(1, dtype=np.float32))
    with pytest.raises(BadArgument, match="not one of the templates' files"):
        pool_templates(templates, other)
    with pytest.raises(BadArgument, match="1 files, 2 templates and 1 media"):
        Templates("t", ("a",), np.zeros(2, dtype=int), np.zeros(1, dtype=int), np.asarray([1]))
    with pytest.raises(BadArgument, match="numbered from 0"):
        Templates("t", ("a",), np.ones(1, dtype=int), np.zeros(1, dtype=int), np.asarray([1]))

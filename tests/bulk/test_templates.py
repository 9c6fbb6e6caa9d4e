"""Templates of many photos on this machine's threads, and the file that they go into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus import Recognizer
from vultus.bulk import PhotoFailure, PhotoTemplates, embed_photos
from vultus.errors import SourceUnavailable
from vultus.types import UInt8Array


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: UInt8Array, hopper: UInt8Array) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(astronaut).save(folder / "astronaut.png")
    Image.fromarray(hopper).save(folder / "hopper.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    return [folder / name for name in ("hopper.png", "broken.jpg", "astronaut.png", "missing.jpg")]


def test_rows_are_those_of_one_photo_at_a_time(recognizer: Recognizer, photos: list[Path]) -> None:
    done: list[int] = []
    found = embed_photos(photos, recognizer, progress=done.append)
    assert found.files == (str(photos[0]), str(photos[2]))
    samples = [recognizer.sample(photos[i]) for i in (0, 2)]
    np.testing.assert_array_equal(found.rows, [s.template.vector for s in samples])
    np.testing.assert_array_equal(found.quality, [s.quality.overall[0] for s in samples])
    assert [(f.file, f.code) for f in found.failures] == [
        (str(photos[1]), "parse_error"),
        (str(photos[3]), "source_unavailable"),
    ]
    assert found.model_id == recognizer.model_id
    assert sum(done) == 4


def test_the_policy_says_which_face_is_meant(recognizer: Recognizer, astronaut: UInt8Array, tmp_path: Path) -> None:
    Image.fromarray(np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)).save(tmp_path / "two.png")
    found = embed_photos([tmp_path / "two.png"], recognizer, policy="one")
    assert found.rows.shape == (0, 128)
    assert [f.code for f in found.failures] == ["many_faces"]
    assert len(embed_photos([tmp_path / "two.png"], recognizer).rows) == 1


def test_saving_is_repeatable_and_needs_a_folder(tmp_path: Path) -> None:
    rows = np.eye(3, 4, dtype=np.float32)
    quality = np.array([0.5, 1, 0], dtype=np.float32)
    kept = PhotoTemplates(("b.jpg", "ä/a.jpg", "c"), rows, quality, (PhotoFailure("d", "x", "y"),), "m")
    kept.save(tmp_path / "one.npz")
    kept.save(str(tmp_path / "two.npz"))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as read:
        assert read["files"].tolist() == ["b.jpg", "ä/a.jpg", "c"]
        np.testing.assert_array_equal(read["rows"], rows)
        assert read["quality"].dtype == np.float32
        assert str(read["model_id"]) == "m"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceUnavailable, match="cannot write"):
        kept.save(tmp_path / "file" / "one.npz")

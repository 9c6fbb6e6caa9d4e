"""The .bin sets: every way they are written reads alike, and a pickle that does anything else does nothing."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vultus import Faces, Recognizer
from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.evaluate.protocols.bins import extract_crops, read_bin
from vultus.types import UInt8Array


def encoded(seed: int, side: int = 112) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG")
    return stream.getvalue()


PHOTOS = [encoded(i) for i in range(8)]
SAME = [True, False, True, False]


def write(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "set.bin"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


def as_python_2_wrote_it(photos: list[bytes], same: list[bool]) -> bytes:
    """Protocol 2 with bytes as short or long BINSTRING, which Python 3 never writes."""
    out = [pickle.PROTO + b"\x02", pickle.EMPTY_LIST, pickle.MARK]
    out += [
        pickle.SHORT_BINSTRING + bytes([len(p)]) + p
        if len(p) < 256
        else pickle.BINSTRING + len(p).to_bytes(4, "little") + p
        for p in photos
    ]
    out += [pickle.APPENDS, pickle.EMPTY_LIST, pickle.MARK]
    out += [pickle.NEWTRUE if s else pickle.NEWFALSE for s in same]
    return b"".join([*out, pickle.APPENDS, pickle.TUPLE2, pickle.STOP])


def arrays(photos: list[bytes], shape: tuple[int, ...] = (-1,)) -> list[UInt8Array]:
    return [np.frombuffer(p, dtype=np.uint8).copy().reshape(shape) for p in photos]


WRITERS: dict[str, Any] = {
    "protocol 1": lambda: pickle.dumps((PHOTOS, SAME), 1),
    "protocol 2": lambda: pickle.dumps((PHOTOS, SAME), 2),
    "protocol 3": lambda: pickle.dumps((PHOTOS, SAME), 3),
    "protocol 4": lambda: pickle.dumps((PHOTOS, SAME), 4),
    "protocol 5": lambda: pickle.dumps((PHOTOS, SAME), 5),
    "python 2": lambda: as_python_2_wrote_it(PHOTOS, SAME),
    "a list of two": lambda: pickle.dumps([PHOTOS, SAME]),
    "tuples": lambda: pickle.dumps((tuple(PHOTOS), tuple(SAME))),
    "numbers": lambda: pickle.dumps((PHOTOS, [1, 0, 1, 0])),
    "bytearrays": lambda: pickle.dumps(([bytearray(p) for p in PHOTOS], SAME), 5),
    "arrays, protocol 2": lambda: pickle.dumps((arrays(PHOTOS), SAME), 2),
    "arrays, protocol 4": lambda: pickle.dumps((arrays(PHOTOS), SAME), 4),
    "columns, protocol 5": lambda: pickle.dumps((arrays(PHOTOS, (-1, 1)), SAME), 5),
    "numpy bools": lambda: pickle.dumps((PHOTOS, [np.bool_(s) for s in SAME]), 4),
    "numpy bools, protocol 2": lambda: pickle.dumps((PHOTOS, [np.bool_(s) for s in SAME]), 2),
    "an array of labels": lambda: pickle.dumps((PHOTOS, np.asarray(SAME)), 4),
    "an array of numbers": lambda: pickle.dumps((PHOTOS, np.asarray(SAME).astype(np.int64)), 5),
}


@pytest.mark.parametrize("how", WRITERS)
def test_every_way_of_writing_reads_alike(tmp_path: Path, how: str) -> None:
    assert len(WRITERS) == 17
    found = read_bin(write(tmp_path, WRITERS[how]()))
    assert [found.photos[i] for i in range(8)] == PHOTOS
    assert list(found.photos[2:4]) == PHOTOS[2:4]
    assert found.pairs.mated.tolist() == SAME
    assert found.pairs.first.tolist() == [0, 2, 4, 6]
    assert found.pairs.second.tolist() == [1, 3, 5, 7]
    assert found.pairs.files[3] == "set.bin#3"
    assert found.pairs.folds is not None
    assert found.pairs.folds.tolist() == [0, 2, 5, 7]
    assert found.pairs.name == "set"
    assert not any("missing" in n for n in found.pairs.notes)


def test_equal_photos_are_one(tmp_path: Path) -> None:
    found = read_bin(write(tmp_path, ([PHOTOS[0], PHOTOS[1], PHOTOS[0], PHOTOS[2]], [True, False])), name="twice")
    assert found.pairs.files == ("set.bin#0", "set.bin#1", "set.bin#3")
    assert list(found.photos) == PHOTOS[:3]
    assert found.pairs.first.tolist() == [0, 0]
    assert found.pairs.second.tolist() == [1, 2]
    assert found.pairs.subjects.tolist()[0] == found.pairs.subjects.tolist()[1] != found.pairs.subjects.tolist()[2]
    assert found.pairs.name == "twice"


def test_ten_folds_in_order(tmp_path: Path) -> None:
    photos = [b"photo %d" % i for i in range(60)]
    folds = read_bin(write(tmp_path, (photos, [True] * 30))).pairs.folds
    assert folds is not None
    assert folds.tolist() == [i // 3 for i in range(30)]


# --- pickles that want something ---------------------------------------------------------------------------------------


class Evil:
    def __init__(self, target: Any, *arguments: Any) -> None:
        self.what = (target, arguments)

    def __reduce__(self) -> Any:
        return self.what


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["photo", "label", "whole"])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int, place: str) -> None:
    mark = tmp_path / "executed"
    evil = Evil(os.mkdir, str(mark))
    content: object = {
        "photo": ([evil, *PHOTOS[1:]], SAME),
        "label": (PHOTOS, [evil, *SAME[1:]]),
        "whole": evil,
    }[place]
    path = write(tmp_path, content, protocol)
    with pytest.raises(BadArgument, match="nothing was run"):
        read_bin(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # the pickle does work where it is run


@pytest.mark.parametrize(
    "evil",
    [
        Evil(eval, "1"),
        Evil(getattr, "x", "upper"),
        Evil(np.load, "x"),
        Evil(Path, "x"),
        {"a": 1},
        1.5,
        {1, 2},
        np.asarray([object()]),
    ],
    ids=["eval", "getattr", "numpy.load", "class", "dict", "float", "set", "objects"],
)
def test_other_names_and_other_things_are_refused(tmp_path: Path, evil: object) -> None:
    with pytest.raises(BadArgument):
        read_bin(write(tmp_path, ([evil, *PHOTOS[1:]], SAME)))


def test_known_names_cannot_be_misused(tmp_path: Path) -> None:
    for program in (
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.",  # another codec
        b"\x80\x02cnumpy\nndarray\n)R.",  # a call of what is only named
        b"\x80\x02(lcnumpy\ndtype\na(lb.",  # a state for what has none
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(lR.",
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02K\x01\x85R.",
        b"\x80\x02a.",
        b"\x80\x02(e.",
        b"\x80\x02h\x05.",
        b"\x80\x02t.",
        b"\x80\x020.",
        b"\x80\x02.",
        b"\x80\x05\x97.",
    ):
        with pytest.raises(BadArgument):
            read_bin(write(tmp_path, program))


def test_a_pickle_that_grows_when_it_is_shown_is_not_shown(tmp_path: Path) -> None:
    nested: tuple[Any, ...] = (1,)
    for _ in range(60):
        nested = (nested, nested)
    array = np.frombuffer(PHOTOS[0], dtype=np.uint8).copy()

    class Shaped:
        def __reduce__(self) -> Any:
            call, arguments, state = tuple(array.__reduce__())
            return call, arguments, (state[0], nested, *state[2:])

    for content in ((nested, nested), ([Shaped(), *PHOTOS[1:]], SAME), (PHOTOS, [nested] * 4)):
        with pytest.raises(BadArgument) as caught:
            read_bin(write(tmp_path, content, 2))
        assert len(str(caught.value)) < 400


BASE = pickle.dumps(([b"abcd" * 80, b"bc", b"cd", b"de"], [True, False]), 4)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=4), st.integers(1, len(BASE)))
def test_damaged_files_read_or_give_a_typed_error(tmp_path: Path, changes: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(BASE)
    for place, value in changes:
        damaged[place] = value
    try:
        found = read_bin(write(tmp_path, bytes(damaged[:end])))
    except VultusError:
        return
    assert all(isinstance(p, bytes) for p in found.photos)


BAD: dict[str, tuple[object, str]] = {
    "three things": ((PHOTOS, SAME, []), "holds 3 things"),
    "one thing": (b"abc", "this is no sound pickle|expected"),
    "numbers for photos": (([1, 2], [True]), "photo 0 is a int"),
    "too few": ((PHOTOS[:3], SAME), "3 photos and 4 labels"),
    "none": (([], []), "0 photos and 0 labels"),
    "labels": ((PHOTOS, [True, 2, True, True]), "label 1 is a int other than"),
    "labels of text": ((PHOTOS, ["yes"] * 4), "label 0 is a Span other than"),
    "no labels": ((PHOTOS, None), "labels are a NoneType"),
    "no photos": ((None, SAME), "photos are a NoneType"),
    "pixels": (([np.zeros((4, 4, 3), dtype=np.uint8)] * 8, SAME), r"array of shape \(4, 4, 3\)"),
    "labels of floats": ((PHOTOS, np.zeros(4)), "kind 'f8'"),
    "a table of labels": ((PHOTOS, np.zeros((2, 2), dtype=bool)), r"labels of shape \(2, 2\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_contents_are_refused(tmp_path: Path, case: str) -> None:
    assert len(BAD) == 12
    content, message = BAD[case]
    with pytest.raises(BadArgument, match=message) as caught:
        read_bin(write(tmp_path, content))
    assert "set.bin" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        read_bin(tmp_path / "none.bin")
    with pytest.raises(SourceUnavailable):
        read_bin(tmp_path)
    with pytest.raises(BadArgument, match="is empty"):
        read_bin(write(tmp_path, b""))
    path = write(tmp_path, (PHOTOS, SAME))
    photos = read_bin(path).photos
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SourceUnavailable, match="shorter"):
        photos[7]
    path.unlink()
    with pytest.raises(SourceUnavailable, match="cannot read"):
        photos[0]


# --- templates of crops -------------------------------------------------------------------------------------------------


def test_crops_are_embedded_as_they_are(
    tmp_path: Path, recognizer: Recognizer, astronaut: UInt8Array, astronaut_face: Faces
) -> None:
    crop = recognizer.align(astronaut, astronaut_face)
    stream = io.BytesIO()
    Image.fromarray(crop[0]).save(stream, "PNG")
    photos = [stream.getvalue(), b"no picture", *(encoded(i) for i in range(20))]
    done: list[int] = []
    found = extract_crops([f"p{i}" for i in range(22)], photos, recognizer, progress=done.append)
    np.testing.assert_allclose(found.rows[0], recognizer.embed(crop)[0], atol=1e-5)
    assert list(found.failures) == [1]
    assert found.failures[1].startswith("parse_error: ")
    assert not found.rows[1].any()
    assert np.isnan(found.quality[1])
    assert np.isfinite(np.delete(found.quality, 1)).all()
    assert sum(done) == 22
    assert recognizer.embedder.id in found.model_id
    assert found.model_id != recognizer.model_id


def test_crops_of_another_size_are_refused(recognizer: Recognizer) -> None:
    with pytest.raises(BadArgument, match="big has 128 x 128 pixels; the embedder takes aligned crops of 112 x 112"):
        extract_crops(["big"], [encoded(0, 128)], recognizer)
    with pytest.raises(BadArgument, match="1 names for 2 photos"):
        extract_crops(["a"], [b"", b""], recognizer)

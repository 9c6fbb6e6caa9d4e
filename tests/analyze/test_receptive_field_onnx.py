"""Receptive fields of ONNX files: against onnxruntime on single pixels, and on the weights that vultus comes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vultus.analyze.onnx_graph import exposing
from vultus.analyze.receptive_field import PixelBox, ReceptiveFields, occlusion_field, receptive_field
from vultus.errors import AnalysisError, BadArgument, GraphError, SourceUnavailable
from vultus.weights import find_weights, load_manifest

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 22, 19


def model_of(
    nodes: list[Any], constants: dict[str, Array], *, size: Any = (3, HEIGHT, WIDTH), outputs: tuple[str, ...] = ("y",)
) -> bytes:
    """A model of nodes that go from x to the outputs."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *size))],
        [helper.make_empty_tensor_value_info(o) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def session_of(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def ones(*shape: int) -> Array:
    return np.full(shape, 0.125, dtype=np.float32)


def whole(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.int64)


node = helper.make_node
FIRST = node("Conv", ["x", "w"], ["c"], strides=[1, 2], pads=[0, 1, 2, 0])
W = {"w": ones(4, 3, 3, 2)}

# name: nodes after a convolution of asymmetric padding, constants, whether a formula holds
OPERATORS: dict[str, tuple[list[Any], dict[str, Array], bool]] = {
    "same upper": (
        [node("Conv", ["c", "v"], ["y"], auto_pad="SAME_UPPER", strides=[2, 3])],
        {"v": ones(4, 4, 4, 4)},
        True,
    ),
    "same lower": (
        [node("Conv", ["c", "v"], ["y"], auto_pad="SAME_LOWER", strides=[2, 1])],
        {"v": ones(4, 4, 4, 4)},
        True,
    ),
    "dilated group": ([node("Conv", ["c", "v"], ["y"], dilations=[3, 2], group=2)], {"v": ones(4, 2, 3, 3)}, True),
    "max pooling": ([node("MaxPool", ["c"], ["y"], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)], {}, True),
    "average pooling": ([node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], pads=[1, 0, 0, 1])], {}, True),
    "transposed": (
        [node("ConvTranspose", ["c", "v"], ["y"], strides=[2, 3], pads=[1, 0, 0, 2], output_padding=[1, 0])],
        {"v": ones(4, 2, 3, 2)},
        True,
    ),
    "transposed to a size": (
        [node("ConvTranspose", ["c", "v"], ["y"], strides=[2, 2], output_shape=[43, 18])],
        {"v": ones(4, 2, 4, 3)},
        True,
    ),
    "transposed same": (
        [node("ConvTranspose", ["c", "v"], ["y"], strides=[2, 2], auto_pad="SAME_LOWER")],
        {"v": ones(4, 2, 3, 5)},
        True,
    ),
    "pad": ([node("Pad", ["c", "p"], ["y"])], {"p": whole(0, 0, 2, -1, 0, 0, 0, 3)}, True),
    "pad mirrored": ([node("Pad", ["c", "p"], ["y"], mode="reflect")], {"p": whole(0, 0, 2, 1, 0, 0, 0, 3)}, True),
    "pad repeated": ([node("Pad", ["c", "p"], ["y"], mode="edge")], {"p": whole(0, 0, 2, 1, 0, 0, 0, 3)}, True),
    "resize nearest": (
        [
            node(
                "Resize",
                ["c", "", "s"],
                ["y"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        {"s": np.array([1, 1, 2, 1.5], dtype=np.float32)},
        True,
    ),
    "resize nearest by halves": (
        [node("Resize", ["c", "", "s"], ["y"], mode="nearest")],
        {"s": np.array([1, 1, 3, 0.5], dtype=np.float32)},
        True,
    ),
    "resize linear": (
        [node("Resize", ["c", "", "", "s"], ["y"], mode="linear")],
        {"s": whole(1, 4, 44, 5)},
        True,
    ),
    "resize linear on corners": (
        [node("Resize", ["c", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners")],
        {"s": whole(1, 4, 43, 19)},
        True,
    ),
    "resize linear from the corner": (
        [node("Resize", ["c", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="asymmetric")],
        {"s": np.array([1, 1, 2, 2], dtype=np.float32)},
        True,
    ),
    "space to depth": ([node("SpaceToDepth", ["c"], ["d"], blocksize=2), node("Relu", ["d"], ["y"])], {}, True),
    "every second row": (
        [node("Slice", ["c", "b", "e", "a", "t"], ["y"])],
        {"b": whole(1), "e": whole(99), "a": whole(2), "t": whole(2)},
        True,
    ),
    "branches": (
        [
            node("Conv", ["c", "v"], ["d"], pads=[2, 0, 2, 0]),
            node("Split", ["c", "h"], ["e", "f"], axis=1),
            node("Concat", ["d", "f"], ["g"], axis=1),
            node("Conv", ["g", "u"], ["k"]),
            node("Add", ["k", "k"], ["y"]),
        ],
        {"v": ones(4, 4, 5, 1), "h": whole(2, 2), "u": ones(2, 6, 1, 2)},
        True,
    ),
    "the mean of a map": (
        [node("GlobalAveragePool", ["c"], ["g"]), node("Add", ["c", "g"], ["y"])],
        {},
        False,
    ),
    "mean along rows": ([node("ReduceMean", ["c"], ["y"], axes=[3], keepdims=1)], {}, False),
    "tokens": (
        [node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]), node("Reshape", ["d", "r"], ["y"])],
        {"r": whole(0, -1, 4)},
        False,
    ),
    "a shape that is worked out": (
        [
            node("Shape", ["c"], ["s"], start=0, end=2),
            node("Concat", ["s", "m"], ["r"], axis=0),
            node("Reshape", ["c", "r"], ["y"]),
        ],
        {"m": whole(-1)},
        False,
    ),
    "product": (
        [node("Flatten", ["c"], ["d"]), node("Gemm", ["d", "v", "u"], ["y"], transB=1)],
        {"v": ones(5, 4 * 22 * 10), "u": ones(5)},
        False,
    ),
    "matrices": ([node("MatMul", ["c", "v"], ["y"])], {"v": ones(10, 3)}, False),
}


def mask_of(content: bytes, name: str, fields: ReceptiveFields) -> Array:
    """(units..., h, w): whether each unit of a value changes with each pixel, by lighting one pixel at a time."""
    session = session_of(content)
    height, width = fields.input_size[1:]
    lit = np.zeros((height * width, 3, height, width), dtype=np.float32)
    at = np.arange(height * width)
    lit[at, :, at // width, at % width] = 1
    batch = lit.shape[0]
    dark = session.run([name], {"x": np.zeros_like(lit[:1])})[0]
    changed = np.stack([session.run([name], {"x": lit[i : i + 1]})[0][0] for i in range(batch)]) != dark
    result: Array = np.moveaxis(changed, 0, -1).reshape(*dark.shape[1:], height, width)
    return result


def box_of(mask: Any) -> PixelBox | None:
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return PixelBox(int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])) if len(rows) else None


@pytest.mark.parametrize("kind", OPERATORS)
def test_each_operator_sees_what_changes_it(kind: str) -> None:
    nodes, constants, formula = OPERATORS[kind]
    content = model_of([FIRST, *nodes], {**W, **constants})
    fields = receptive_field(content, (3, HEIGHT, WIDTH))
    last = fields[-1]
    assert last.formula is formula
    mask = mask_of(content, "y", fields)
    assert mask.shape[:-2] == last.shape[1:]
    if mask.ndim == 5:  # all units of the map, channels together
        for i in range(mask.shape[1]):
            for j in range(mask.shape[2]):
                assert fields.seen(last.name, (i, j)) == box_of(mask[:, i, j].any(axis=0)), (i, j)
    else:
        for unit in {tuple(0 for _ in last.shape[1:]), tuple(n // 2 for n in last.shape[1:])}:
            assert fields.seen(last.name, unit) == box_of(mask[unit])
    if formula:
        assert fields.top_down(last.name) == last.size
        boxes = [fields.theoretical(last.name, (i, j)) for i in range(last.shape[2]) for j in range(last.shape[3])]
        assert max(b.bottom - b.top + 1 for b in boxes if b) == last.size[0]
        assert max(b.right - b.left + 1 for b in boxes if b) == last.size[1]


# --- weights that come with vultus ------------------------------------------------------------------------------------


def positive(content: bytes) -> Any:
    """The same graph with positive weights and norms without effect."""
    from vultus.weights.graph import Graph
    from vultus.weights.passes import fold_constants

    graph = Graph(onnx.load_model_from_string(content))
    fold_constants(graph)
    for step in graph.nodes:
        if step.op_type in {"Conv", "Gemm"}:
            weight = graph.constants[step.input[1]]
            graph.constants[step.input[1]] = np.full_like(weight, weight.shape[0] / weight.size)
            if len(step.input) > 2:
                graph.constants[step.input[2]] = np.zeros_like(graph.constants[step.input[2]])
        elif step.op_type == "BatchNormalization":
            for name, value in zip(step.input[1:], (1, 0, 0, 1), strict=True):
                graph.constants[name] = np.full_like(graph.constants[name], value)
        elif step.op_type == "Sub":
            graph.constants[step.input[1]] = np.zeros_like(graph.constants[step.input[1]])
    return graph.rebuild()


def assert_edges(content: bytes, fields: ReceptiveFields, names: list[str]) -> None:
    """The first and last row and column of the middle unit's box move it, and nothing beyond does."""
    values = [fields.value_of(name) for name in names]
    made = positive(content)
    del made.graph.output[:]
    made.graph.output.extend(helper.make_empty_tensor_value_info(v) for v in values)
    session = session_of(made.SerializeToString())
    height, width = fields.input_size[1:]

    def moves(index: int, lit: tuple[slice, ...]) -> bool:
        picture: Any = np.zeros((1, *fields.input_size), dtype=np.float32)
        picture[0, :, *lit] = 1
        value = session.run([values[index]], {session.get_inputs()[0].name: picture})[0]
        unit = value[0, ..., value.shape[2] // 2, value.shape[3] // 2] if value.ndim == 4 else value
        return bool((unit != 0).any())

    everything = slice(None)
    for i, name in enumerate(names):
        box = fields.seen(name)
        assert box is not None
        for first, last, size, turn in ((box.top, box.bottom, height, 1), (box.left, box.right, width, -1)):
            for lit, expected in (
                (slice(first, first + 1), True),
                (slice(last, last + 1), True),
                (slice(0, first), False),
                (slice(last + 1, size), False),
            ):
                assert moves(i, (lit, everything)[::turn]) is expected, (name, lit)


def test_sface() -> None:
    content = find_weights(load_manifest("sface-2021dec")).read_bytes()
    fields = receptive_field(content)
    assert fields.input_size == (3, 112, 112)
    # by hand: 3; depthwise 3 x 3 at jumps 1, 1 (stride), 2, 2 (stride), 4, 4 (stride), 8 five times, 8 (stride), 16
    assert fields["conv_14_relu"].size == (3 + 2 * (1 + 1 + 2 + 2 + 4 + 4 + 5 * 8 + 8 + 16) + 0,) * 2
    assert fields["conv_14_relu"].jump == (16, 16)
    assert fields["fc1"].size == (112, 112)
    assert not fields["fc1"].formula
    for known in fields:
        assert not known.formula or fields.top_down(known.name) == known.size
    assert_edges(content, fields, ["conv_1_relu", "conv_7_relu", "conv_11_dw_conv2d", "conv_14_relu", "fc1"])


def test_yunet_has_branches_of_three_jumps_and_one_size() -> None:
    manifest = load_manifest("yunet-2023mar")
    content = find_weights(manifest).read_bytes()
    fields = receptive_field(content)
    maps = [n for n in fields if n.formula and n.operator == "Conv"][-12:]
    assert {n.jump for n in maps} == {(8, 8), (16, 16), (32, 32)}
    regular = [n for n in fields if n.formula]
    assert len(regular) > 60
    for known in regular[::4]:
        assert fields.top_down(known.name) == known.size
    last = {n.jump: n for n in maps}
    assert {n.size for n in last.values()} == {(421, 421)}
    assert_edges(content, fields, ["MaxPool_5", *(n.name for n in last.values())])


def test_a_manifest_of_free_size_takes_a_size() -> None:
    content = model_of([node("Conv", ["x", "w"], ["y"])], W, size=(3, "h", "w"))
    assert receptive_field(content, (3, 9, 7))[0].shape == (1, 4, 7, 6)
    with pytest.raises(BadArgument, match="pass input_size"):
        receptive_field(content)
    with pytest.raises(BadArgument, match="3 channels, not of 1"):
        receptive_field(content, (1, 9, 7))


# --- effective field --------------------------------------------------------------------------------------------------


def test_occlusion_finds_the_squares_that_count() -> None:
    kernel = np.zeros((2, 3, 3, 3), dtype=np.float32)
    kernel[1, 0, 1, 2] = 1  # reads the pixel to the right
    content = model_of([node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["y"])], {"k": kernel})
    calls: list[int] = []
    image = np.random.default_rng(3).uniform(1, 2, (3, HEIGHT, WIDTH)).astype(np.float32)
    found = occlusion_field(
        content, input_size=(3, HEIGHT, WIDTH), unit=(7, 3), image=image, side=4, progress=calls.append
    )
    assert sum(calls) == 6 * 5
    assert found.seen == PixelBox(6, 2, 8, 4)
    assert np.argwhere(found.weight).tolist() == [[r, c] for r in range(4, 8) for c in range(4, 8)]
    assert found.pixels == 16
    assert found.side == 4
    inside = occlusion_field(content, "c", input_size=(3, HEIGHT, WIDTH), unit=(1, 7, 3), image=image, side=1)
    assert [inside.name, inside.pixels, np.argwhere(inside.weight).tolist()] == ["c", 1, [[7, 4]]]
    for wrong in ({"side": 0}, {"image": image[:1]}, {"unit": (99, 0)}, {"name": "z"}):
        with pytest.raises(BadArgument):
            occlusion_field(content, input_size=(3, HEIGHT, WIDTH), **wrong)


def test_a_value_inside_a_graph_can_be_read() -> None:
    content = model_of([FIRST, node("Relu", ["c"], ["y"])], W)
    session = session_of(exposing(content, "c", (3, HEIGHT, WIDTH)))
    x = -np.ones((1, 3, HEIGHT, WIDTH), dtype=np.float32)
    plain, inner = session.run(None, {"x": x})
    assert (plain == 0).all()
    assert inner.min() == pytest.approx(-18 * 0.125)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="cannot read"):
        receptive_field(tmp_path / "missing.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(GraphError, match="not an ONNX file"):
        receptive_field(broken)
    with pytest.raises(GraphError, match="no nodes"):
        receptive_field(b"")
    good = tmp_path / "good.onnx"
    good.write_bytes(model_of([FIRST, node("Relu", ["c"], ["y"])], W))
    assert receptive_field(good).model == "good.onnx"


def test_operators_that_are_not_known_are_refused_by_name() -> None:
    with pytest.raises(AnalysisError, match="'Det'"):
        receptive_field(model_of([node("Det", ["x"], ["y"])], {}, size=(3, 4, 4)))
    foreign = node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft")
    with pytest.raises(AnalysisError, match=r"'com\.microsoft'"):
        receptive_field(model_of([foreign], W))
    with pytest.raises(BadArgument, match="does not fit a picture"):
        receptive_field(model_of([node("Gemm", ["x", "w"], ["y"])], W))

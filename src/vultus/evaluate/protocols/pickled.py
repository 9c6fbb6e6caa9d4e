"""The one kind of pickle that the field hands round, read without running it.

A pickle is a program for a machine with a stack, and `pickle.load` lets it call anything. Here a machine that knows
lists, tuples, numbers, text and bytes goes through the same program. Of all that a pickle may name it knows what writers
of these files need: bytes as protocol 2 spells them, and numpy's arrays and scalars, for which it notes their bytes. Any
other name or instruction is an error, and nothing is imported or called.

Long runs of bytes are not kept: it is noted where in the file they are.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from mmap import mmap
from typing import IO, cast

from vultus.errors import BadArgument

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {
    ("_codecs", "encode"): "encode",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(module, "_reconstruct"): "empty array" for module in _NUMPY},
    **{(module, "scalar"): "scalar" for module in _NUMPY},
    ("numpy.core.numeric", "_frombuffer"): "filled array",
    ("numpy._core.numeric", "_frombuffer"): "filled array",
}
_TEXT_KEPT = 64  # longer texts stand for bytes; shorter ones may be names
_SIZES = {  # bytes of the length that comes between an instruction and its bytes
    "SHORT_BINSTRING": 1,
    "BINSTRING": 4,
    "SHORT_BINBYTES": 1,
    "BINBYTES": 4,
    "BINBYTES8": 8,
    "BYTEARRAY8": 8,
    "SHORT_BINUNICODE": 1,
    "BINUNICODE": 4,
    "BINUNICODE8": 8,
}


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in the file.

    Args:
        start, length: where it is.
        text: whether it is UTF-8 text whose characters stand for one byte each.
        short: the text, where it is no longer than a name.
    """

    start: int
    length: int
    text: bool = False
    short: str | None = None


@dataclass(slots=True)
class Array:
    """An array of numpy's, of which only the bytes are known; `kind` is a code such as u1 or b1."""

    kind: str = ""
    shape: tuple[int, ...] = ()
    content: Span | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle wants to have imported, as one of the few meanings that are known."""

    meaning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A dtype of numpy's."""

    code: str


@dataclass(slots=True)
class _Machine:
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def step(self, name: str, argument: object) -> bool:
        """Do one instruction; False where it is not one of those that are known."""
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "NONE" | "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4":
                self.stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "LIST":
                self.stack.append(self.since_mark())
            case "TUPLE":
                self.stack.append(tuple(self.since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self.last(int(name[-1]))))
            case "APPEND":
                self.extend(self.last(1))
            case "APPENDS":
                self.extend(self.since_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[cast("int", argument)] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[cast("int", argument)])
            case "GLOBAL":
                self.name(*str(argument).split(" ", 1))
            case "STACK_GLOBAL":
                self.name(*(s.short if isinstance(s, Span) else s for s in self.last(2)))
            case "REDUCE":
                self.call()
            case "BUILD":
                self.build()
            case _:
                return False
        return True

    def since_mark(self) -> list[object]:
        begin = self.marks.pop()
        found = self.stack[begin:]
        del self.stack[begin:]
        return found

    def last(self, count: int) -> list[object]:
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack holds too little")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("items are appended to what is no list")
        target.extend(items)

    def name(self, module: object, name: object) -> None:
        meaning = _NAMES.get((str(module), str(name)))
        if meaning is None:
            raise BadArgument(
                f"the pickle asks for {module}.{name}, which a list of photos does not need; nothing was run"
            )
        self.stack.append(Name(meaning))

    def call(self) -> None:
        """What calling a known name with simple arguments would give."""
        target, arguments = self.last(2)
        match target, arguments:
            case Name("encode"), (Span(text=True) as span, Span(short="latin1" | "latin-1")):
                result: object = span
            case Name("dtype"), (Span(short=str(code)), *_):
                result = Kind(code)
            case Name("empty array"), (Name("ndarray"), *_):
                result = Array()
            case Name("filled array"), (Span() as span, Kind(code), shape, *_):
                result = Array(code, _shape(shape), span)
            case Name("scalar"), (Kind(code), Span() as span):
                result = Array(code, (), span)
            case _:
                raise TypeError("a call that no list of photos needs")
        self.stack.append(result)

    def build(self) -> None:
        """Give an array the state that follows it; that of a dtype says nothing about single bytes."""
        target, state = self.stack[-2], self.stack[-1]
        match target, state:
            case Kind(), tuple():
                pass
            case Array(), (_, shape, Kind(code), _, Span() as span):
                target.kind, target.shape, target.content = code, _shape(shape), span
            case _:
                raise TypeError("a state that no list of photos needs")
        self.stack.pop()


def understood(content: mmap) -> object:
    """What a pickle says: lists, tuples, numbers, and `Span` and `Array` for bytes and what numpy made of them.

    Args:
        content: the whole file.

    Raises:
        BadArgument: no pickle, a damaged one, or one that holds or does anything else.
    """
    machine = _Machine()
    try:
        for code, argument, position in pickletools.genops(cast("IO[bytes]", content)):
            if code.name == "STOP":
                break
            if code.name in _SIZES:
                machine.stack.append(_span(code.name, argument, cast("int", position)))
            elif not machine.step(code.name, argument):
                raise BadArgument(
                    f"{code.name} at byte {position} is nothing that a list of photos needs; nothing was run. If the file "
                    "is sound, write it again with pickle's protocol 2 or a later one"
                )
        return machine.last(1)[0]
    except BadArgument:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as problem:
        raise BadArgument(f"this is no sound pickle of photos: {problem}") from problem


def _span(name: str, argument: object, position: int) -> Span:
    """Where the bytes of an instruction are; `argument` is what they were read as."""
    start = position + 1 + _SIZES[name]
    if "UNICODE" in name:
        text = str(argument)
        return Span(
            start,
            len(text.encode("utf-8", "surrogatepass")),
            text=True,
            short=text if len(text) <= _TEXT_KEPT else None,
        )
    content = cast("str | bytes", argument)  # text of one byte a character where a BINSTRING was read
    short = content if isinstance(content, str) and len(content) <= _TEXT_KEPT else None
    return Span(start, len(content), short=short)


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise TypeError("an array of no shape that a list of photos needs")
    return shape

"""A checkpoint on disk: safetensors and one JSON document, whole or not there at all. Nothing is ever unpickled.

    RUN/checkpoints/step-00000200/
        checkpoint.json              written last; names every other file with its size and sha256
        replicated.safetensors       what all ranks have in common, by rank 0
        rows-0-of-2.safetensors      class centres of ids [start, stop) with their optimiser state, one file a rank
        rank-0-of-2.safetensors      random states, one file a rank
    RUN/checkpoints/last.json, best.json    which folder is meant

All files are written into a folder of another name, flushed to the disk, and the folder is renamed; a full disk or a killed
process leaves the checkpoint before it as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vultus._export import export
from vultus.errors import CheckpointCorrupt, CheckpointMissing, CheckpointNotSaved
from vultus.train.distributed import World
from vultus.weights.lookup import file_sha256

FORMAT = 1
RECORD = "checkpoint.json"
REPLICATED = "replicated.safetensors"
_PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"}
_NAME = re.compile(r"step-(\d{8,})(?:-(\d+))?")


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What one rank puts into a checkpoint.

    Args:
        record: plain values that all ranks have in common.
        replicated: tensors that all ranks have in common; rank 0's are written.
        rows: tensors whose first axis is this rank's classes; empty where another rank writes them.
        span: (start, stop) of those classes.
        own: tensors of this rank alone.
    """

    record: Mapping[str, Any]
    replicated: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]
    span: tuple[int, int]
    own: Mapping[str, Tensor]


@export("vultus.train.Checkpoint")
@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint that was found and whose record was read. Use `open_checkpoint`.

    Args:
        folder: of its files.
        record: the JSON document.
    """

    folder: Path
    record: Mapping[str, Any]
    _sound: set[str] = field(default_factory=set, init=False, repr=False)  # files are read in parts, and hashed once

    @property
    def step(self) -> int:
        """Optimiser steps done when it was written."""
        return int(self.record["step"])

    def replicated(self) -> dict[str, Tensor]:
        """What all ranks had in common, by name.

        Raises:
            CheckpointCorrupt: a file is missing or damaged.
        """
        return self._read(REPLICATED)

    def own(self, rank: int) -> dict[str, Tensor]:
        """What one rank had alone; empty where there was no such rank.

        Raises:
            CheckpointCorrupt: a file is missing or damaged.
        """
        name = f"rank-{rank}-of-{self.record['world_size']}.safetensors"
        return self._read(name) if name in self.record["files"] else {}

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """The part of a tensor by class that belongs to the ids [start, stop), whatever ranks it was written by.

        Raises:
            CheckpointCorrupt: a file is missing or damaged, has no such tensor, or the ids are not all there.
        """
        parts, at = [], start
        for file, (low, high) in sorted(self.record["rows"].items(), key=lambda item: item[1]):
            begin, end = max(at, low), min(stop, high)
            if begin >= end or begin != at:
                continue
            self._checked(file)
            try:
                with safe_open(self.folder / file, framework="pt") as opened:
                    held = opened.get_slice(name)
                    each, rest = divmod(held.get_shape()[0], high - low)
                    if rest:
                        raise CheckpointCorrupt(
                            f"{self.folder / file}: {name!r} has {held.get_shape()[0]} rows for {high - low} classes"
                        )
                    parts.append(held[(begin - low) * each : (end - low) * each])
            except (SafetensorError, OSError) as problem:
                raise CheckpointCorrupt(f"{self.folder / file}: cannot read {name!r}: {problem}") from problem
            at = end
        if at < stop or not parts:
            raise CheckpointCorrupt(f"{self.folder} has {name!r} only up to class {at} of {stop}")
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def row_names(self) -> frozenset[str]:
        """Names of the tensors by class."""
        return frozenset(self.record["row_names"])

    def verify(self) -> None:
        """Compare every file with its size and sha256.

        Raises:
            CheckpointCorrupt: names the file that is missing or differs.
        """
        for name in self.record["files"]:
            self._checked(name)

    def _read(self, name: str) -> dict[str, Tensor]:
        path = self._checked(name)
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as problem:
            raise CheckpointCorrupt(f"{path} cannot be read: {problem}") from problem

    def _checked(self, name: str) -> Path:
        path = self.folder / name
        known = self.record["files"].get(name)
        if known is None:
            raise CheckpointCorrupt(f"{self.folder / RECORD} knows no file {name!r}")
        if name in self._sound:
            return path
        if not path.is_file():
            raise CheckpointCorrupt(f"{path} is missing; use another checkpoint of the run")
        if path.stat().st_size != known["bytes"] or file_sha256(path) != known["sha256"]:
            raise CheckpointCorrupt(
                f"{path} is not the file that was saved: its size or sha256 differs from {RECORD}; use another checkpoint "
                "of the run"
            )
        self._sound.add(name)
        return path


@export("vultus.train.open_checkpoint")
def open_checkpoint(path: str | os.PathLike[str], *, which: str = "last") -> Checkpoint:
    """Find a checkpoint and read its record; the tensors are read, and their files checked, when they are asked for.

    Args:
        path: of a checkpoint's folder, or of a run's.
        which: "last" or "best" of a run.

    Raises:
        CheckpointMissing: there is none.
        CheckpointCorrupt: the record cannot be read, is of another format, or the path is one of a pickle.
    """
    given = Path(path)
    if given.suffix.lower() in _PICKLES:
        raise CheckpointCorrupt(
            f"{given}: pickles can run code and are not read; a checkpoint of vultus is a folder with {RECORD}"
        )
    folder = given
    if not (folder / RECORD).is_file():
        pointer = given / "checkpoints" / f"{which}.json"
        if not pointer.is_file():
            raise CheckpointMissing(f"no checkpoint at {given}: neither {RECORD} nor checkpoints/{which}.json is there")
        name = _json(pointer).get("folder")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CheckpointCorrupt(f"{pointer} names no folder of a checkpoint")
        folder = given / "checkpoints" / name
        if not (folder / RECORD).is_file():
            raise CheckpointCorrupt(f"{pointer} names {name}, which is not there or has no {RECORD}")
    record = _json(folder / RECORD)
    if record.get("format") != FORMAT:
        raise CheckpointCorrupt(
            f"{folder / RECORD} is of the format {record.get('format')!r}; this version of vultus reads {FORMAT}"
        )
    needed = {"step", "world_size", "files", "rows", "row_names", "recipe"}
    if missing := sorted(needed - record.keys()):
        raise CheckpointCorrupt(f"{folder / RECORD} has no {missing[0]!r}")
    return Checkpoint(folder, record)


def open_best(path: str | os.PathLike[str]) -> Checkpoint:
    """The best checkpoint of a run, or the last one where nothing was evaluated; or the checkpoint that the path is of.

    Raises:
        CheckpointMissing, CheckpointCorrupt: as `open_checkpoint`.
    """
    best = (Path(path) / "checkpoints" / "best.json").is_file()
    return open_checkpoint(path, which="best" if best else "last")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise CheckpointCorrupt(f"{path} cannot be read: {problem}") from problem
    if not isinstance(found, dict):
        raise CheckpointCorrupt(f"{path} holds a {type(found).__name__}; expected an object")
    return found


def save(run: Path, step: int, content: Content, world: World, *, marks: tuple[str, ...] = ("last",)) -> None:
    """Write a checkpoint and point `marks` at it. Called by all ranks.

    Args:
        run: folder of the run, which all ranks share.
        step: optimiser steps done.
        content: of this rank.
        world: the ranks.
        marks: "last", "best" or both.

    Raises:
        CheckpointNotSaved: a rank could not write; names it. Nothing that was there before has changed.
    """
    base = run / "checkpoints"
    draft = base / f".draft-{step:08d}"
    report: dict[str, Any] = {"files": {}, "rows": {}, "row_names": [], "problem": ""}
    try:
        if world.first:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
    except OSError as problem:
        report["problem"] = str(problem)
    _together(world, report, draft)
    try:
        if world.first:
            report["files"][REPLICATED] = _write(draft / REPLICATED, content.replicated)
        if content.rows:
            name = f"rows-{world.rank}-of-{world.size}.safetensors"
            report["files"][name] = _write(draft / name, content.rows)
            report["rows"][name] = list(content.span)
            report["row_names"] = sorted(content.rows)
        if content.own:
            name = f"rank-{world.rank}-of-{world.size}.safetensors"
            report["files"][name] = _write(draft / name, content.own)
    except (OSError, SafetensorError) as problem:
        report["problem"] = str(problem)
    reports = _together(world, report, draft)
    try:
        if world.first:
            record = {
                "format": FORMAT,
                **content.record,
                "step": step,
                "world_size": world.size,
                "files": {k: v for r in reports for k, v in r["files"].items()},
                "rows": {k: v for r in reports for k, v in r["rows"].items()},
                "row_names": reports[0]["row_names"],
            }
            final = _commit(record, draft, base / f"step-{step:08d}")
            for mark in marks:
                _replace(base / f"{mark}.json", {"folder": final.name, "step": step})
            _flush(base)
    except OSError as problem:
        report["problem"] = str(problem)
    _together(world, report, draft)


def discard_old(run: Path, *, keep: int) -> None:
    """Remove all checkpoints but the newest `keep` and those that a mark points at, and drafts that were never finished."""
    base = run / "checkpoints"
    marked = set()
    for mark in ("last", "best"):
        if (base / f"{mark}.json").is_file():
            marked.add(str(_json(base / f"{mark}.json").get("folder")))
    whole = sorted((p for p in base.iterdir() if _NAME.fullmatch(p.name)), key=_age)
    for old in whole[: max(0, len(whole) - keep)]:
        if old.name not in marked:
            shutil.rmtree(old, ignore_errors=True)
    for draft in base.glob(".draft-*"):
        shutil.rmtree(draft, ignore_errors=True)


def _age(folder: Path) -> tuple[int, int]:
    found = _NAME.fullmatch(folder.name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _together(world: World, report: dict[str, Any], draft: Path) -> list[dict[str, Any]]:
    """What all ranks did; where one failed, nobody goes on and the draft is removed."""
    reports: list[dict[str, Any]] = world.told(report, what="writing a checkpoint")
    for rank, other in enumerate(reports):
        if other["problem"]:
            if world.first:
                shutil.rmtree(draft, ignore_errors=True)
            raise CheckpointNotSaved(
                f"rank {rank} cannot write the checkpoint {draft.name.replace('.draft', 'step')} below {draft.parent}: "
                f"{other['problem']}; free some space and resume: the checkpoint before it is whole"
            )
    return reports


def _write(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    held = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    seen: set[int] = set()
    for name, tensor in held.items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in seen:
            held[name] = tensor.clone()  # two names of one tensor: each is written
        seen.add(held[name].untyped_storage().data_ptr())
    save_file(held, path)
    _flush(path)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _commit(record: Mapping[str, Any], draft: Path, wanted: Path) -> Path:
    """Complete a draft and give it its name, or one beside it where the step was saved before."""
    for name, facts in record["files"].items():
        path = draft / name
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            raise OSError(
                f"rank 0 does not see {path}; all ranks must write into one folder, such as one on a shared file system"
            )
    (draft / RECORD).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _flush(draft / RECORD)
    _flush(draft)
    final, again = wanted, 0
    while final.exists():
        again += 1
        final = wanted.with_name(f"{wanted.name}-{again}")
    draft.rename(final)
    return final


def _replace(path: Path, record: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
    _flush(draft)
    draft.replace(path)


def _flush(path: Path) -> None:
    """Have the system write a file or the entries of a folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

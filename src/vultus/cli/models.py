"""`vultus models`: which weights there are, whether they are what they should be, and how to get them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vultus.cli.output import FAILED, OK, AcceptLicence, Json, console, print_json, table


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="List, check and fetch weights.", no_args_is_help=True)
    group.command("list")(list_models)
    group.command("check")(check)
    group.command("pull")(pull)
    group.command("record")(record)
    app.add_typer(group, name="models")


def list_models(json: Json = False) -> int:
    """The built-in models, with licence and where their weights lie."""
    from vultus.errors import WeightsError
    from vultus.weights import builtin_names, find_weights, load_manifest

    rows = []
    for name in builtin_names():
        manifest = load_manifest(name)
        try:
            where, state = str(find_weights(manifest)), "ok"
        except WeightsError as problem:
            where, state = "", problem.code
        rows.append(
            {
                "name": name,
                "task": manifest.task,
                "licence": manifest.licence.name,
                "commercial_use": manifest.licence.commercial,
                "training_data": manifest.licence.training_data,
                "sha256": manifest.sha256,
                "state": state,
                "file": where,
            }
        )
    if json:
        print_json(rows)
    else:
        table(
            ["model", "task", "licence", "commercial use", "weights"],
            [
                [
                    str(r["name"]),
                    str(r["task"]),
                    str(r["licence"]),
                    "yes" if r["commercial_use"] else "no",
                    str(r["state"]),
                ]
                for r in rows
            ],
        )
    return OK


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or manifest paths. Default: all built-in ones.")
    ] = None,
    json: Json = False,
) -> int:
    """Check sha256, prepare the graph and compare with the known answer."""
    from vultus.errors import VultusError
    from vultus.runtime import Settings, open_session
    from vultus.weights import builtin_names, load_manifest

    rows = []
    for name in names or builtin_names():
        try:
            manifest = load_manifest(name)
            open_session(manifest, Settings.of(None, None))
            rows.append(
                {
                    "name": name,
                    "ok": True,
                    "code": None,
                    "message": None,
                    "known_answer": manifest.known_answer is not None,
                }
            )
        except VultusError as problem:
            rows.append(
                {"name": name, "ok": False, "code": problem.code, "message": str(problem), "known_answer": None}
            )
    if json:
        print_json(rows)
    else:
        for row in rows:
            state = "ok" if row["ok"] else f"{row['code']}: {row['message']}"
            console.print(f"{row['name']}: {state}", markup=False)
    wanted = rows if names else [r for r in rows if r["code"] != "weights_missing"]
    return OK if all(r["ok"] for r in wanted) else FAILED


def pull(
    names: Annotated[list[str], typer.Argument(help="Names or manifest paths.")],
    accept_licence: AcceptLicence = False,
    json: Json = False,
) -> int:
    """Download weights into the cache. Nothing else in vultus downloads anything."""
    from vultus.weights import load_manifest
    from vultus.weights import pull as fetch

    rows = []
    for name in names:
        path = fetch(load_manifest(name), accept_licence=accept_licence)
        rows.append({"name": name, "file": str(path)})
        if not json:
            console.print(f"{name}: {path}")
    if json:
        print_json(rows)
    return OK


def record(manifest_path: Annotated[Path, typer.Argument(help="A manifest of your own.")], json: Json = False) -> int:
    """Record the known answer of your own weights in their manifest, on a machine that you trust."""
    from dataclasses import replace

    from vultus.runtime import Settings, answer, open_session
    from vultus.weights import load_manifest, save_manifest
    from vultus.weights.manifest import KnownAnswer

    manifest = replace(load_manifest(manifest_path), known_answer=None)
    session = open_session(manifest, Settings.of(None, None))
    height, width = manifest.input.size or (128, 160)
    values = answer(session, manifest.input, height=height, width=width)
    known = KnownAnswer(height=height, width=width, values=tuple(round(float(v), 6) for v in values))
    save_manifest(replace(manifest, known_answer=known), manifest_path)
    if json:
        print_json({"name": manifest.name, "values": list(known.values)})
    else:
        console.print(f"{len(known.values)} values recorded in {manifest_path}")
    return OK

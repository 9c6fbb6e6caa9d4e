"""`python -m vultus.train RECIPE`: what torchrun starts on every rank."""

from __future__ import annotations

import argparse
import os
import sys

from vultus.errors import VultusError


def main(arguments: list[str] | None = None) -> int:
    """Train as a recipe says; gives the exit code: 0 done, 2 error, 3 stopped by a signal and to be resumed."""
    parser = argparse.ArgumentParser(
        prog="python -m vultus.train",
        description="Train as a recipe says, as one process or as one rank of torchrun's.",
    )
    parser.add_argument("recipe", help="a TOML file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, where there is one")
    given = parser.parse_args(arguments)
    rank = os.environ.get("RANK", "0")
    try:
        from vultus.train.config import Config
        from vultus.train.loop import run

        result = run(Config.load(given.recipe, overrides=given.overrides), resume=given.resume)
    except VultusError as problem:
        sys.stderr.write(f"vultus: rank {rank}: {problem.code}: {problem}\n")
        sys.stderr.flush()
        return 2
    if rank == "0":
        shown = "".join(f", {f.name} {f.merit:.2%}" for f in result.figures)
        sys.stdout.write(f"{result.folder}: step {result.steps}, loss {result.loss:.4f}{shown}\n")
    return 3 if result.stopped else 0


if __name__ == "__main__":
    sys.exit(main())

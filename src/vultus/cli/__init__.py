"""The command line: it parses and prints; what it does is done elsewhere."""

import sys


def main() -> None:
    """Entry point of `vultus`; answers --version before anything is imported."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from vultus import __version__

        print(f"vultus {__version__}")  # noqa: T201
        return
    from vultus.cli.app import run

    sys.exit(run())

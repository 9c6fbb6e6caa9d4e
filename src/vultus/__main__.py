"""`python -m vultus`."""

from vultus.cli import main

main()

"""Which classes lie on which rank: neighbouring ids together, shares that differ by one class at most."""

from __future__ import annotations

from vultus.errors import BadArgument, WorldSizeError


def span(classes: int, rank: int, size: int) -> tuple[int, int]:
    """(start, stop) of the class ids that a rank holds.

    Raises:
        BadArgument: fewer than two classes.
        WorldSizeError: more ranks than classes.
    """
    if classes < 2:
        raise BadArgument(f"classes is {classes}; a loss over classes needs at least 2")
    if size > classes:
        raise WorldSizeError(
            f"{size} ranks share {classes} classes, so that ranks {classes} to {size - 1} would hold none; use at most "
            f"{classes} ranks, or heads.Chunked, which holds all classes on every rank"
        )
    each, more = divmod(classes, size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)

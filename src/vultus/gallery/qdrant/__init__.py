"""A gallery that a Qdrant server keeps, in shards and replicas, for galleries past one machine.

    with vultus.Gallery.open("qdrant://host:6333/staff", model=rec.model_id) as gallery:
        ...

The address is `qdrant://host:port/gallery`, or `qdrants://` for TLS, with these parameters:

- `shards`, `replicas`: of a new gallery's collections; 1 each unless given.
- `oversampling`: search by the rows in 8 bits a number, and score again from the originals this many times as many as are
  asked for (1 to 1000), instead of scoring all originals. Its answers are approximate; measure by `Gallery.recall` how much.
- `timeout`: seconds that a request may take; 30 unless given.
- `key_file`: file whose first line is the server's API key; the key may stand before the host as well: `qdrant://:KEY@host/`.

How it is kept: `vultus.gallery.qdrant.head` has the scheme.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vultus.errors import ExtraMissing

if TYPE_CHECKING:
    from vultus.gallery.engine import Engine
    from vultus.gallery.qdrant.address import Address


def open_qdrant(
    address: str, *, model: str | None, read_only: bool, busy_seconds: float, clock: Callable[[], float]
) -> Engine:
    """The engine of the gallery at an address.

    Args:
        address: `qdrant://...`, see above.
        model: the model that its templates are, or will be, of.
        read_only: never write.
        busy_seconds: how long to wait for others who write.
        clock: seconds since 1970.

    Raises:
        BadArgument: an address that is refused.
        ExtraMissing: the client's package is not installed.
        GalleryError: there is no such gallery, or it cannot be opened.
        ModelMismatch: its templates are of another model.
    """
    where = parsed(address)
    from vultus.gallery.qdrant.engine import QdrantEngine

    return QdrantEngine.open(where, model=model, read_only=read_only, busy_seconds=busy_seconds, clock=clock)


def parsed(address: str) -> Address:
    """The parts of an address.

    Raises:
        BadArgument: an address that is refused.
        ExtraMissing: the client's package is not installed.
        SourceUnavailable: the file of its key cannot be read.
    """
    try:
        import qdrant_client  # noqa: F401 - what is missing is to be said before anything else
    except ImportError as problem:
        raise ExtraMissing(
            f"a gallery on Qdrant needs {problem.name}; install it with: pip install 'vultus[qdrant]'"
        ) from problem
    from vultus.gallery.qdrant.address import parse_address

    return parse_address(address)

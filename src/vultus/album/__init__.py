"""An album: a collection of photos by the people whom they show, as pages that need nothing but a browser."""

from vultus.album.build import Album, make_album
from vultus.album.changes import Change, read_changes
from vultus.album.enrol import enrol_named

__all__ = ["Album", "Change", "enrol_named", "make_album", "read_changes"]

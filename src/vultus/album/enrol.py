"""People who have a name in an album, into a gallery that identifies them in other photos."""

from __future__ import annotations

from collections.abc import Sequence

from vultus._export import export
from vultus.album.build import Album
from vultus.gallery import Gallery
from vultus.gallery.records import Enrolment
from vultus.types import Template


@export("vultus.album.enrol_named")
def enrol_named(album: Album, gallery: Gallery, *, consent: str | None = None) -> Sequence[Enrolment]:
    """Enrol everybody who has a name, under that name, with the templates that the gallery does not have yet.

    A template counts as known where the subject has one of the same photo. Nothing is taken out of the gallery: what a
    later decision moves to somebody else has to be deleted there.

    Args:
        album: as `make_album` gave it.
        gallery: of the same model.
        consent: reference to the consent that the templates are kept under.

    Returns:
        what was done for each subject who got templates, by name.

    Raises:
        ModelMismatch: the gallery is of another model.
        BadArgument: a consent that is no such text.
        GalleryError: it could not be made durable; subjects before this one are enrolled.
    """
    done = []
    for group, name in sorted(album.names.items(), key=lambda entry: entry[1]):
        known = {t.photo_sha256 for t in gallery.templates(name)} if name in gallery else set()
        templates, photos = [], []
        for face in album.groups.members(group).tolist():
            digest = album.photos[int(album.faces.photos[face])].sha256
            if digest not in known:
                quality = float(album.faces.quality[face])
                templates.append(Template(album.faces.rows[face], album.model_id, quality=quality))
                photos.append(digest)
        if templates:
            take = gallery.add if name in gallery else gallery.enrol
            done.append(take(name, templates, consent=consent, photo_sha256=photos))
    return done

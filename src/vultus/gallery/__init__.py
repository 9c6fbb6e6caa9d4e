"""The gallery: enrolled subjects in a store that loses nothing, and searches in it that may answer "nobody"."""

from vultus.gallery.decide import expected_fpir
from vultus.gallery.gallery import Gallery
from vultus.gallery.intake import NewSubject
from vultus.gallery.photos import photos_by_sha256
from vultus.gallery.recall import Recall
from vultus.gallery.records import Deletion, Enrolment, StoredTemplate, Subject
from vultus.gallery.reembed import LeftBehind, Migration, migrate
from vultus.gallery.rekeying import Rekeying, rekey
from vultus.gallery.results import Identification, Integrity, Stats, SubjectVerification

__all__ = [
    "Deletion",
    "Enrolment",
    "Gallery",
    "Identification",
    "Integrity",
    "LeftBehind",
    "Migration",
    "NewSubject",
    "Recall",
    "Rekeying",
    "Stats",
    "StoredTemplate",
    "Subject",
    "SubjectVerification",
    "expected_fpir",
    "migrate",
    "photos_by_sha256",
    "rekey",
]

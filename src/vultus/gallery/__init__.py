"""The gallery: enrolled subjects in a store that loses nothing, and searches in it that may answer "nobody"."""

from vultus.gallery.decide import expected_fpir
from vultus.gallery.gallery import Gallery
from vultus.gallery.intake import NewSubject
from vultus.gallery.records import Deletion, Enrolment, StoredTemplate, Subject
from vultus.gallery.results import Identification, Integrity, Stats, SubjectVerification

__all__ = [
    "Deletion",
    "Enrolment",
    "Gallery",
    "Identification",
    "Integrity",
    "NewSubject",
    "Stats",
    "StoredTemplate",
    "Subject",
    "SubjectVerification",
    "expected_fpir",
]

"""vultus: from a photo to a decision about identity that one can defend.

Names are loaded when they are first used, so that `import vultus` is quick and takes neither the runtime nor what only
evaluation, training or the service need. `vultus api` lists every public name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vultus import calibrate, errors, evaluate, face3d, subspace, train
    from vultus.compare import score, similarity, template_of, top_k
    from vultus.detect import Detector, choose
    from vultus.embed import Embedder
    from vultus.gallery import Gallery
    from vultus.geometry import fit_similarity
    from vultus.image import Limits, Photo, read_image
    from vultus.quality import Quality, measure_quality
    from vultus.recognizer import Recognizer, Sample
    from vultus.types import Candidate, Faces, SearchThreshold, Template, Threshold, Verification
    from vultus.weights import Manifest, load_manifest, save_manifest

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "Detector",
    "Embedder",
    "Faces",
    "Gallery",
    "Limits",
    "Manifest",
    "Photo",
    "Quality",
    "Recognizer",
    "Sample",
    "SearchThreshold",
    "Template",
    "Threshold",
    "Verification",
    "calibrate",
    "choose",
    "errors",
    "evaluate",
    "face3d",
    "fit_similarity",
    "load_manifest",
    "measure_quality",
    "read_image",
    "save_manifest",
    "score",
    "similarity",
    "subspace",
    "template_of",
    "top_k",
    "train",
]

_ROOMS = {
    "vultus.compare": ("score", "similarity", "template_of", "top_k"),
    "vultus.detect": ("Detector", "choose"),
    "vultus.embed": ("Embedder",),
    "vultus.gallery": ("Gallery",),
    "vultus.geometry": ("fit_similarity",),
    "vultus.image": ("Limits", "Photo", "read_image"),
    "vultus.quality": ("Quality", "measure_quality"),
    "vultus.recognizer": ("Recognizer", "Sample"),
    "vultus.types": ("Candidate", "Faces", "SearchThreshold", "Template", "Threshold", "Verification"),
    "vultus.weights": ("Manifest", "load_manifest", "save_manifest"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = ("calibrate", "errors", "evaluate", "face3d", "subspace", "train")


def __getattr__(name: str) -> object:
    if name in _HOME:
        value: object = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"vultus.{name}")
    else:
        raise AttributeError(f"module 'vultus' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

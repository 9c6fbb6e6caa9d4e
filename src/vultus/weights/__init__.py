"""Weights: what a file is (manifest), where it lies (lookup), and how it is made ready for the runtime (prepare)."""

from vultus.weights.lookup import default_cache, find_weights, prepared_weights
from vultus.weights.manifest import Manifest, builtin_names, load_manifest, save_manifest
from vultus.weights.pull import pull

__all__ = [
    "Manifest",
    "builtin_names",
    "default_cache",
    "find_weights",
    "load_manifest",
    "prepared_weights",
    "pull",
    "save_manifest",
]

"""A learned restorer: harmed aligned crops to what the face would look like, had it been photographed well."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, ManifestError
from vultus.runtime import Settings, open_session, to_input
from vultus.types import UInt8Array
from vultus.weights import Manifest, load_manifest


@export("vultus.restore.Restorer")
class Restorer:
    """Restores aligned crops. What comes out is a guess of the network's: use it for a template, never as evidence.

    Args:
        model: path of a restorer's manifest, or a manifest.
        threads: inside one call; all cores that the process may use unless told otherwise.
        providers: execution providers by preference, such as ["cuda"].
        cache: where prepared weights are kept; the user's cache folder unless told otherwise.

    Raises:
        ManifestError: the manifest is of another task.
        WeightsError: the weights cannot be had or do not work.
        ProviderUnavailable: this onnxruntime has no such provider.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Manifest,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.manifest = model if isinstance(model, Manifest) else load_manifest(model)
        if self.manifest.restoration is None or self.manifest.input.size is None:
            raise ManifestError(f"{self.manifest.name!r} is no restorer: its task is {self.manifest.task!r}")
        self.spec = self.manifest.restoration
        self.size = self.manifest.input.size
        self._session = open_session(self.manifest, Settings.of(threads, providers), cache=cache)

    @classmethod
    def load(cls, model: str | os.PathLike[str] | Manifest, *, threads: int | None = None) -> Restorer:
        """The restorer of a manifest; the same as calling the class.

        Args:
            model: path of a restorer's manifest, or a manifest.
            threads: inside one call.
        """
        return cls(model, threads=threads)

    @property
    def id(self) -> str:
        """Name and start of the sha256 of the weights."""
        return self.manifest.id

    def __call__(self, crops: UInt8Array) -> UInt8Array:
        """Restored copies of a batch of crops.

        Args:
            crops: (n, height, width, 3) uint8 RGB, aligned to the manifest's template.

        Returns:
            the same shape and type.

        Raises:
            BadArgument: crops of another type or shape.
        """
        crops = np.asarray(crops)
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (*self.size, 3):
            raise BadArgument(
                f"crops are {crops.dtype} of shape {crops.shape}; expected uint8 (n, {self.size[0]}, {self.size[1]}, 3) in RGB"
            )
        if not len(crops):
            return crops.copy()
        spec = self.manifest.input
        planes = self._session.run(to_input(crops, spec))[0]
        mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (spec.mean, spec.std))
        pixels = np.clip(np.rint(planes * std + mean), 0, 255).astype(np.uint8)
        if spec.channels == "BGR":
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

"""Feature extraction: aligned crops to unit rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, BadTemplate, ManifestError
from vultus.runtime import Settings, open_session, to_input
from vultus.types import FloatArray, UInt8Array
from vultus.weights import Manifest, load_manifest


@export("vultus.Embedder")
class Embedder:
    """Turns aligned crops into embeddings.

    Args:
        model: name or path of an embedder's manifest, or a manifest.
        threads: inside one call; all cores that the process may use unless told otherwise.
        providers: execution providers by preference, such as ["cuda"].
        cache: where prepared weights are kept; the user's cache folder unless told otherwise.

    Raises:
        WeightsError: the weights cannot be had or do not work.
        ProviderUnavailable: this onnxruntime has no such provider.
    """

    def __init__(
        self,
        model: str | Path | Manifest = "sface-2021dec",
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.manifest = model if isinstance(model, Manifest) else load_manifest(model)
        if self.manifest.embedding is None or self.manifest.input.size is None:
            raise ManifestError(f"{self.manifest.name!r} is no embedder: its task is {self.manifest.task!r}")
        self.spec = self.manifest.embedding
        self.size = self.manifest.input.size
        self._settings, self._cache = Settings.of(threads, providers), cache
        self._session = open_session(self.manifest, self._settings, cache=cache)

    def single_threaded(self) -> Embedder:
        """The same weights in a session of one thread, for callers that are many."""
        return Embedder(self.manifest, threads=1, providers=self._settings.providers, cache=self._cache)

    @property
    def id(self) -> str:
        """Name and start of the sha256 of the weights."""
        return self.manifest.id

    def __call__(self, crops: UInt8Array, *, mirror: bool = False) -> FloatArray:
        """Embeddings of a batch of crops.

        Args:
            crops: (n, height, width, 3) uint8 RGB, aligned to the manifest's template.
            mirror: sum each embedding with that of the mirrored crop.

        Returns:
            (n, d) float32 rows of length 1.

        Raises:
            BadArgument: crops of another type or shape.
            BadTemplate: the model gave a row without length or with NaN.
        """
        crops = np.asarray(crops)
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (*self.size, 3):
            raise BadArgument(
                f"crops are {crops.dtype} of shape {crops.shape}; expected uint8 (n, {self.size[0]}, {self.size[1]}, 3) in RGB"
            )
        if not len(crops):
            return np.zeros((0, self.spec.dimension), dtype=np.float32)
        rows = self._session.run(to_input(crops, self.manifest.input))[0]
        if mirror:
            rows = unit_rows(rows) + unit_rows(
                self._session.run(to_input(np.ascontiguousarray(crops[:, :, ::-1]), self.manifest.input))[0]
            )
        return unit_rows(rows)


def unit_rows(rows: FloatArray) -> FloatArray:
    """Rows scaled to length 1.

    Raises:
        BadTemplate: a row with NaN, infinity or no length.
    """
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 1e-12).all()):
        raise BadTemplate("the model gave an embedding that is not finite or has no length")
    unit: FloatArray = (rows / lengths).astype(np.float32)
    return unit

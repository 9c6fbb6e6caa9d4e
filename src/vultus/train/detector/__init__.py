"""A small face detector: feature pyramid, anchor-free; trained on marked photos or drawn scenes."""

from __future__ import annotations

from vultus.train.detector.config import Config
from vultus.train.detector.export import export_model
from vultus.train.detector.training import run

__all__ = ["Config", "export_model", "run"]

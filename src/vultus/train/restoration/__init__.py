"""A restorer of aligned faces: U-Net, trained on harmed and true views with a loss on what a frozen embedder sees."""

from __future__ import annotations

from vultus.train.restoration.config import Config
from vultus.train.restoration.export import export_model
from vultus.train.restoration.training import run

__all__ = ["Config", "export_model", "run"]

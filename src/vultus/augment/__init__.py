"""One photo to many: what harms recognition, done on purpose and by measured severity."""

from vultus.augment.degrade import DEGRADATIONS, degrade

__all__ = ["DEGRADATIONS", "degrade"]

"""One photo to many: what harms recognition, done on purpose and by measured severity."""

from vultus.augment.degrade import DEGRADATIONS, degrade
from vultus.augment.pose import turn

__all__ = ["DEGRADATIONS", "degrade", "turn"]

"""Many to one: harmed, turned or unevenly lit faces brought back towards a canonical view."""

from vultus.restore.frontal import Frontal
from vultus.restore.lighting import LIGHTING, balance, equalise, lit_half, self_quotient, tan_triggs
from vultus.restore.restorer import Restorer
from vultus.restore.ways import AugmentedViews, Beside, Learned, Light

__all__ = [
    "LIGHTING",
    "AugmentedViews",
    "Beside",
    "Frontal",
    "Learned",
    "Light",
    "Restorer",
    "balance",
    "equalise",
    "lit_half",
    "self_quotient",
    "tan_triggs",
]

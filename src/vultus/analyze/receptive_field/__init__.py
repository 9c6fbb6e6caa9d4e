"""Receptive fields: which pixels of the picture a unit of a network sees, by formula, exactly, and by weight."""

from vultus.analyze.receptive_field.chain import Layer, chain_bottom_up, chain_top_down
from vultus.analyze.receptive_field.effective import (
    EffectiveField,
    effective_receptive_field,
    occlusion_field,
)
from vultus.analyze.receptive_field.fields import Node, PixelBox, ReceptiveFields
from vultus.analyze.receptive_field.measure import receptive_field
from vultus.analyze.receptive_field.picture import draw_fields

__all__ = [
    "EffectiveField",
    "Layer",
    "Node",
    "PixelBox",
    "ReceptiveFields",
    "chain_bottom_up",
    "chain_top_down",
    "draw_fields",
    "effective_receptive_field",
    "occlusion_field",
    "receptive_field",
]

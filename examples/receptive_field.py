"""What a unit of a network sees: by two formulas, exactly, and by weight. Run: python examples/receptive_field.py [out.png]"""

from __future__ import annotations

import sys

from torch import nn

from vultus.analyze.receptive_field import (
    Layer,
    chain_bottom_up,
    chain_top_down,
    effective_receptive_field,
    receptive_field,
)
from vultus.train.backbones import build


def main() -> dict[str, object]:
    # 1. By hand: two 3 x 3 convolutions of stride 2, then one of stride 1.
    two = [Layer(3, stride=2), Layer(3, stride=2)]
    three = [*two, Layer(3)]
    print("two 3 x 3 of stride 2, then one of stride 1")
    for layers in (two, three):
        size, jump, _ = chain_bottom_up(layers)[-1]
        print(
            f"  {len(layers)} layers: from the bottom up {size} pixels, jump {jump}; top down {chain_top_down(layers)}"
        )

    # 2. AlexNet up to pool5: 195 pixels, and 32 from one unit to the next.
    alexnet = nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    pool5 = receptive_field(alexnet, (3, 227, 227))[-1]
    print(f"AlexNet pool5: {pool5.size[0]} pixels, jump {pool5.jump}, centre of the first unit at {pool5.start}")

    # 3. A face network: the field passes the picture's 112 pixels early; what moves a unit is much less.
    network = build("mobilefacenet", dim=128)
    fields = receptive_field(network, (3, 112, 112))
    last: object = None
    print("MobileFaceNet")
    for node in fields:
        if node.formula and node.size != last:
            print(f"  {node.name:22} {node.size[0]:4} pixels, jump {node.jump}")
            last = node.size
    before = "place.0.2"
    effective = effective_receptive_field(network, before, input_size=(3, 112, 112), pictures=1)
    print(f"  {before}: sees {fields.seen(before)}; with new weights, a square of side {effective.side:.0f} moves it")
    if len(sys.argv) > 1 and sys.argv[1].endswith(".png"):
        from vultus.analyze.receptive_field import draw_fields
        from vultus.cli.analyze import aligned_portrait

        draw_fields(fields, aligned_portrait((112, 112)), effective=effective).save(sys.argv[1])
    return {
        "two": chain_bottom_up(two)[-1][:2],
        "three": chain_bottom_up(three)[-1][:2],
        "pool5": (pool5.size[0], pool5.jump),
        "mobilefacenet": fields[before].size[0],
        "effective side": effective.side,
    }


if __name__ == "__main__":
    main()

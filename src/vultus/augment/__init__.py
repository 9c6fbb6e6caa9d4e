"""One photo to many: what harms recognition, done on purpose and by measured severity.

Functions change pictures by explicit numbers; `Policy` composes them from TOML, by severity and chance; `degrade` harms a
photo by one factor, for evaluation. Everything is deterministic.
"""

from vultus.augment.blurring import defocus, gaussian_blur, motion_blur
from vultus.augment.coding import jpeg, low_resolution
from vultus.augment.colour import adjust, brightness, contrast, gamma, hue, saturation, white_balance
from vultus.augment.degrade import DEGRADATIONS, degrade
from vultus.augment.geometric import crop, mirror, move, rescale, rotate, shift
from vultus.augment.lighting import directional_light
from vultus.augment.occluding import cover, glasses, hand, mask
from vultus.augment.operations import OPERATIONS
from vultus.augment.patching import multi_patch
from vultus.augment.policy import Policy, Step, vary
from vultus.augment.pose import turn
from vultus.augment.sensing import sensor_noise
from vultus.augment.views import Views

__all__ = [
    "DEGRADATIONS",
    "OPERATIONS",
    "Policy",
    "Step",
    "Views",
    "adjust",
    "brightness",
    "contrast",
    "cover",
    "crop",
    "defocus",
    "degrade",
    "directional_light",
    "gamma",
    "gaussian_blur",
    "glasses",
    "hand",
    "hue",
    "jpeg",
    "low_resolution",
    "mask",
    "mirror",
    "motion_blur",
    "move",
    "multi_patch",
    "rescale",
    "rotate",
    "saturation",
    "sensor_noise",
    "shift",
    "turn",
    "vary",
    "white_balance",
]

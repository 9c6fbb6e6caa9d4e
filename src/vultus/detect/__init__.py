"""Finding faces: which parts of a photo to look at (views), what outputs mean (decoders), and the detector itself."""

from vultus.detect.choose import Policy, choose
from vultus.detect.detector import Detector

__all__ = ["Detector", "Policy", "choose"]

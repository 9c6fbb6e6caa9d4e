"""DeepID (2014) and DeepID2: small networks, each on a patch of the face, whose features are joined and compared by PCA and
Joint Bayesian.
"""

from vultus.train.backbones.deepid.network import DeepID
from vultus.train.backbones.deepid.patches import PATCHES, Patch
from vultus.train.backbones.deepid.regions import RegionConv2d, region_conv2d
from vultus.train.deepid.verifier import Verifier, extract, fit_verifier

__all__ = ["PATCHES", "DeepID", "Patch", "RegionConv2d", "Verifier", "extract", "fit_verifier", "region_conv2d"]

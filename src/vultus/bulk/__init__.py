"""Templates of a whole photo collection: on this machine's cores, or on many machines with Ray Data."""

from vultus.bulk.on_ray import embed_on_ray
from vultus.bulk.templates import PhotoFailure, PhotoTemplates, embed_photos

__all__ = ["PhotoFailure", "PhotoTemplates", "embed_on_ray", "embed_photos"]

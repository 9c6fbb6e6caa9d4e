"""The face in three dimensions: a mean face, its pose in a photo, what is hidden, and the photo seen from elsewhere."""

from vultus.face3d.fit import Pose3D, fit, rotation
from vultus.face3d.mesh import Mesh, height, mean_face
from vultus.face3d.screen import seen
from vultus.face3d.views import View, canonical, frontal, view

__all__ = ["Mesh", "Pose3D", "View", "canonical", "fit", "frontal", "height", "mean_face", "rotation", "seen", "view"]

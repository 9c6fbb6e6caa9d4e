"""Data to train on: aligned faces from folders, shards, tars and RecordIO, in batches, with augmentation."""

from vultus.train.data import samplers
from vultus.train.data.augment import Augment, Augmented, ByPolicy, policy
from vultus.train.data.dataset import Dataset, to_input, to_tensor
from vultus.train.data.folder import Folder
from vultus.train.data.judging import Preparation
from vultus.train.data.loading import loader
from vultus.train.data.opening import open_dataset
from vultus.train.data.preparing import prepare
from vultus.train.data.recordio import RecordIO
from vultus.train.data.report import PreparationReport
from vultus.train.data.shards import ShardManifest, Shards, verify_shards
from vultus.train.data.synthetic import DrawnFaces, draw_face, write_faces
from vultus.train.data.tars import Tars, write_tars
from vultus.train.data.views import InMemory, Subset, Tolerant

__all__ = [
    "Augment",
    "Augmented",
    "ByPolicy",
    "Dataset",
    "DrawnFaces",
    "Folder",
    "InMemory",
    "Preparation",
    "PreparationReport",
    "RecordIO",
    "ShardManifest",
    "Shards",
    "Subset",
    "Tars",
    "Tolerant",
    "draw_face",
    "loader",
    "open_dataset",
    "policy",
    "prepare",
    "samplers",
    "to_input",
    "to_tensor",
    "verify_shards",
    "write_faces",
    "write_tars",
]

"""Sources of stored samples: images by position, with labels and ids."""

from ssl_data.sources.array import ArraySource
from ssl_data.sources.beton.reader import BetonSource
from ssl_data.sources.beton.writer import write_beton
from ssl_data.sources.folder import FolderSource
from ssl_data.sources.indexed import IndexedSource
from ssl_data.sources.label_noise import Relabelled
from ssl_data.sources.samples import SampleSource
from ssl_data.sources.shards import ShardSource
from ssl_data.sources.source import Source
from ssl_data.sources.subset import Subset
from ssl_data.sources.torchvision_source import TorchvisionSource

__all__ = [
    "ArraySource",
    "BetonSource",
    "FolderSource",
    "IndexedSource",
    "Relabelled",
    "SampleSource",
    "ShardSource",
    "Source",
    "Subset",
    "TorchvisionSource",
    "write_beton",
]

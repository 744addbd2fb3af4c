"""Sources of stored samples: images by position, with labels and ids."""

from ssl_data.sources.adapters.indexed import IndexedSource
from ssl_data.sources.adapters.samples import SampleSource
from ssl_data.sources.adapters.torchvision_source import TorchvisionSource
from ssl_data.sources.array import ArraySource
from ssl_data.sources.beton.reader import BetonSource
from ssl_data.sources.beton.writer import write_beton
from ssl_data.sources.derived.label_noise import Relabelled
from ssl_data.sources.derived.subset import Subset
from ssl_data.sources.files.folder import FolderSource
from ssl_data.sources.files.listed_images import ListedImages
from ssl_data.sources.paired.paired_folder import PairedFolder
from ssl_data.sources.shards.shards import ShardSource
from ssl_data.sources.source import Source

__all__ = [
    "ArraySource",
    "BetonSource",
    "FolderSource",
    "IndexedSource",
    "ListedImages",
    "PairedFolder",
    "Relabelled",
    "SampleSource",
    "ShardSource",
    "Source",
    "Subset",
    "TorchvisionSource",
    "write_beton",
]

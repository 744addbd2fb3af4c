"""ssl-data: sources, views and loaders, reproducible on every machine.

Names are loaded when they are first used, so that reading a configuration does not wait for torch or numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_data.augment.presets import view_names, views
    from ssl_data.augment.view_spec import ViewSpec
    from ssl_data.config import DataConfig
    from ssl_data.corruptions.corrupt import corrupt
    from ssl_data.inspection.contact_sheet import show_views
    from ssl_data.inspection.describe import describe
    from ssl_data.loader import Loader
    from ssl_data.opening.open_data import DataLoaders
    from ssl_data.sources import (
        ArraySource,
        BetonSource,
        FolderSource,
        IndexedSource,
        ListedImages,
        PairedFolder,
        Relabelled,
        SampleSource,
        ShardSource,
        Subset,
        TorchvisionSource,
        write_beton,
    )
    from ssl_data.stream_loader import StreamLoader

_HOME = {
    "ArraySource": "sources",
    "BetonSource": "sources",
    "DataConfig": "config",
    "DataLoaders": "opening.open_data",
    "FolderSource": "sources",
    "IndexedSource": "sources",
    "ListedImages": "sources",
    "Loader": "loader",
    "PairedFolder": "sources",
    "Relabelled": "sources",
    "SampleSource": "sources",
    "ShardSource": "sources",
    "StreamLoader": "stream_loader",
    "Subset": "sources",
    "TorchvisionSource": "sources",
    "ViewSpec": "augment.view_spec",
    "corrupt": "corruptions.corrupt",
    "describe": "inspection.describe",
    "show_views": "inspection.contact_sheet",
    "view_names": "augment.presets",
    "views": "augment.presets",
    "write_beton": "sources",
}

__all__ = [
    "ArraySource",
    "BetonSource",
    "DataConfig",
    "DataLoaders",
    "FolderSource",
    "IndexedSource",
    "ListedImages",
    "Loader",
    "PairedFolder",
    "Relabelled",
    "SampleSource",
    "ShardSource",
    "StreamLoader",
    "Subset",
    "TorchvisionSource",
    "ViewSpec",
    "corrupt",
    "describe",
    "show_views",
    "view_names",
    "views",
    "write_beton",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ssl_data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ssl_data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""The .beton format of FFCV: reader and writer."""

from ssl_data.sources.beton.reader import BetonSource
from ssl_data.sources.beton.writer import write_beton

__all__ = ["BetonSource", "write_beton"]

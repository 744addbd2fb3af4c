"""Images with the bands and the depth that they are stored with: ``pixels="stored"``."""

from ssl_data.sources.stored.array import stored_array
from ssl_data.sources.stored.files import read_stored
from ssl_data.sources.stored.pillow import stored_image

__all__ = ["read_stored", "stored_array", "stored_image"]

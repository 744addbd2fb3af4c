"""Views on the CPU in one compiled pass: a sample stays in the cache for all operations of a view.

The same parameters and the same arithmetic as :mod:`ssl_data.reference`, on float32 images in [0, 1], without the
interpreter's lock: threads work side by side. Images are planes, ``(C, size * size)``, until the last step lays the channels
side by side, so that the loops over pixels are loops over neighbours in memory, which compilers know how to widen.
"""

from ssl_data.fused.executor import FusedView

__all__ = ["FusedView"]

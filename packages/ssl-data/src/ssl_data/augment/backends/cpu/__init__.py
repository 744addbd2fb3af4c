"""Views on the CPU in one compiled pass: a sample stays in the cache for all operations of a view.

Parameters and arithmetic are those of :mod:`ssl_data.augment.backends.reference`, on float32 images in [0, 1]. The code runs
without the interpreter's lock, so that threads run in parallel. Images are planes, ``(C, size * size)``, until the last step
interleaves the channels: the loops over pixels are loops over neighbours in memory, which compilers vectorise.
"""

from ssl_data.augment.backends.cpu.executor import CPUView

__all__ = ["CPUView"]

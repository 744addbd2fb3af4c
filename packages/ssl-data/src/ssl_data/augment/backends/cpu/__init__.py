"""Views on the CPU in one compiled pass: a sample stays in the cache for all operations of a view.

Parameters and arithmetic are those of :mod:`ssl_data.augment.backends.reference`, on float32 images in [0, 1]. Written by hand
since torchvision makes a pass over memory for each operation, and takes the interpreter's lock between them (ratios:
``runs/bench/RESULTS.rst``). The code runs without that lock, so that threads run in parallel. Images are planes,
``(C, size * size)``, until the last step interleaves the channels: loops over pixels read neighbours in memory, which
compilers vectorise.
"""

from ssl_data.augment.backends.cpu.executor import CPUView

__all__ = ["CPUView"]

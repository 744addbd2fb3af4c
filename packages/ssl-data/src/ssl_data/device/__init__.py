"""Views of a whole batch on the device of the model, from images that are already there.

The same parameters and the same arithmetic as :mod:`ssl_data.reference`; operations are torch's, each over all samples, with
the parameters of each sample. Nothing waits for the device: no shape and no branch depends on what was drawn.
"""

from ssl_data.device.executor import DeviceView

__all__ = ["DeviceView"]

"""Views on the device that the model is on, from images that already lie there, a whole batch at a time.

The same parameters and the same arithmetic as :mod:`ssl_data.reference`; operations are torch's, each over all samples, with
the parameters of each sample. Nothing waits for the device: no shape and no branch depends on what was drawn.
"""

from ssl_data.device.executor import DeviceView

__all__ = ["DeviceView"]

"""Views of a whole batch on the device of the model, from images that are already there.

Parameters and arithmetic are those of :mod:`ssl_data.augment.backends.reference`. Operations are torch's, each over all samples
with the parameters of each sample; torchvision's take one set of parameters for a batch. Nothing waits for the device: shapes
and branches do not depend on the parameters.
"""

from ssl_data.augment.backends.gpu.executor import GPUView

__all__ = ["GPUView"]

"""FastSiam (Pototzky, Sultan & Schmidt-Thieme 2022, https://doi.org/10.1007/978-3-031-16788-1_4).

SimSiam with more than two views: the prediction of a view matches the mean embedding of the other views. The mean is a steadier
target, so that small batches and few epochs are enough.
"""

from ssl_core.methods.simsiam import SimSiam


class FastSiam(SimSiam):
    """SimSiam whose target is the mean of the other views; the paper uses four."""

    num_views = None

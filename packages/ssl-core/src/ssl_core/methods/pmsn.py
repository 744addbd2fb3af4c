"""PMSN (Assran, Balestriero, Duval, Bordes, Misra, Bojanowski, Vincent, Rabbat & Ballas 2023, https://arxiv.org/abs/2210.07277).

MSN favours classes of equal size, because its mean assignment is pulled towards a uniform distribution. PMSN pulls it towards a
power law, for data with a long tail. Targets are not balanced by Sinkhorn-Knopp.
"""

from dataclasses import dataclass

from ssl_core.config import option
from ssl_core.methods.msn import MSN, MaskedSiameseConfig
from ssl_losses import PMSNLoss


@dataclass
class PMSNConfig(MaskedSiameseConfig):
    """Keys of PMSN."""

    prior: float = option(1.0, low=0.0)  # lambda, weight of the divergence from the power law
    exponent: float = option(0.25, low=0.0)  # tau of the power law k^-tau; 0: uniform, as MSN


class PMSN(MSN):
    """MSN with a power law as the prior of the prototypes."""

    config_class = PMSNConfig
    assignment_loss = None  # the power law adds to log K

    def make_loss(self) -> PMSNLoss:
        """Return the loss."""
        model = self.config.model
        sizes = model.num_prototypes, model.projector[-1]
        options = model.temperature, model.target_sharpening
        return PMSNLoss(*sizes, *options, prior=model.prior, exponent=model.exponent)

"""User-defined parameter groups: learning rate, schedule, weight decay and frozen epochs of each part.

python3 own_optimizer_groups.py
"""

from ssl_core.methods.byol import BYOL
from ssl_core.optimizers import other_parameters
from ssl_launch import launch


class FastPredictor(BYOL):
    """BYOL whose predictor has a constant rate, ten times as large, and whose projector is frozen in the first epoch."""

    def parameter_groups(self):
        projector, predictor = list(self.projector.parameters()), list(self.predictor.parameters())
        return [
            {"params": other_parameters(self, projector + predictor)},  # as the run: optim.lr, optim.weight_decay, ...
            {"params": projector, "frozen_epochs": 1},
            {"params": predictor, "lr_scale": 10.0, "lr_schedule": "constant", "weight_decay": 0.0},
        ]


if __name__ == "__main__":
    launch(FastPredictor)

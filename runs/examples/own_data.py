"""Your own data: spectrograms from a torch Dataset, with user-defined views.

python3 own_data.py
python3 own_data.py data.fraction=0.5 optim.epochs=5
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from ssl_core import BaseModel
from ssl_core.modules.heads import mlp
from ssl_data import DataConfig
from ssl_launch import launch
from ssl_losses import vicreg


def spectrograms(count, seed):
    """Return tones of four heights in noise, ``(count, 1, 40, 100)``, and their heights."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    x = 0.5 * torch.rand(count, 1, 40, 100, generator=generator)
    x[torch.arange(count), :, labels * 10 + 3] += 1.0
    return TensorDataset(x, labels)


def view(sample, generator):
    """Shift in time and mask a band. Random numbers come from the generator: a resumed run is exact."""
    sample = sample.roll(int(torch.randint(100, (), generator=generator)), dims=-1).clone()
    start = int(torch.randint(90, (), generator=generator))
    sample[..., start : start + 10] = 0.0
    return sample


class Tones(BaseModel):
    """VICReg on spectrograms."""

    def initialize_modules(self):
        features = [nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d((8, 1)), nn.Flatten()]
        self.backbone = nn.Sequential(*features)
        self.projector = mlp([128, 64, 64])
        self.classifier = nn.Linear(128, self.num_classes)

    def forward(self, x):
        return self.classifier(self.backbone(x).detach())

    def compute_loss(self):
        first, second = (self.projector(self.backbone(view)) for view in self.data.views)
        online = nn.functional.cross_entropy(self.forward(self.data.views[0]), self.data.labels)
        return {"vicreg": vicreg(first, second), "classifier": online}


if __name__ == "__main__":
    data = DataConfig.of(train=spectrograms(512, 0), test=spectrograms(128, 1), views=[view, view])
    launch(Tones, data=data)

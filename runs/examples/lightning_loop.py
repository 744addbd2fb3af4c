"""PyTorch Lightning's loop with the losses of ssl_losses and the views of ssl_data.

python3 lightning_loop.py
"""

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torchvision.models import resnet18

from ssl_data import ArraySource, Loader, views
from ssl_losses import NTXentLoss


class SimCLR(pl.LightningModule):
    """SimCLR (Chen et al. 2020)."""

    def __init__(self):
        super().__init__()
        self.backbone = resnet18()
        self.backbone.fc = nn.Identity()
        self.projector = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 64))
        self.criterion = NTXentLoss(temperature=0.2)  # uses the samples of all ranks

    def training_step(self, batch, batch_idx):
        (first, second), _labels, _ids = batch
        loss = self.criterion(self.projector(self.backbone(first)), self.projector(self.backbone(second)))
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)
    loader = Loader(ArraySource(images), views("simclr", size=32), batch_size=64, seed=0)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(SimCLR(), loader)
    print(f"loss {trainer.callback_metrics['loss']:.3f}")

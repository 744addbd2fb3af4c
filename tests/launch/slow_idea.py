"""A method for the tests on a real SLURM that waits to be interrupted, and ends in a chosen way.

SLOW_HOLD: steps that last until the run is stopped or released, each of them once, e.g. "15 25".
SLOW_DEAF: a step that lasts longer than the notice of SLURM, once.
SLOW_END: how the runs of some seeds end at step 5, e.g. "1=raise 2=diverge 3=kill 4=leave".
"""

import os
import signal
import time

import torch
from torch import nn

from ssl_core import BaseModel
from ssl_core.errors import Preempted
from ssl_launch import launch


class Slow(BaseModel):
    """A classifier with dropout; each rank writes the numbers of its steps to a file."""

    def initialize_modules(self):
        channels, height, width = self.image_shape
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 16), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(16, self.num_classes))

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        loss = nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])
        if self.progress.step == 5:
            ends = dict(each.split("=") for each in os.environ.get("SLOW_END", "").split())
            match ends.get(str(self.config.hardware.seed)):
                case "raise":
                    raise ValueError("error of the user")
                case "diverge":
                    return loss * torch.nan
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "leave":  # like a run that is stopped before it has saved anything
                    os._exit(Preempted.exit_code)
        return loss

    def before_train_step(self):
        super().before_train_step()
        held = self.run.folder.path / f"held_{self.progress.step}_{self.run.distributed.rank}"
        if str(self.progress.step) in os.environ.get("SLOW_HOLD", "").split() and not held.exists():
            held.touch()
            while self.run.stop.name is None and held.exists():
                time.sleep(0.05)
        deaf = self.run.folder.path / "deaf"
        if str(self.progress.step) == os.environ.get("SLOW_DEAF") and not deaf.exists():
            deaf.touch()
            while True:
                time.sleep(1)

    def after_train_step(self):
        super().after_train_step()
        with open(self.run.folder.path / f"steps_{self.run.distributed.rank}", "a") as file:
            print(self.progress.step, file=file)


if __name__ == "__main__":
    launch(Slow)

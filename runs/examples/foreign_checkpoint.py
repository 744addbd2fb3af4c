"""Evaluate the checkpoint of another program: kNN, linear probe and rank of its features.

python3 foreign_checkpoint.py FILE      # a torchvision ResNet-18, saved by any training loop; without FILE: a random one
"""

import sys
import tempfile
from pathlib import Path

import torch
from torchvision.models import resnet18

from ssl_core.backbones import build_backbone
from ssl_core.checkpoint.pretrained import load_backbone
from ssl_data import DataConfig
from ssl_eval import Features, Protocol, evaluate_features

if len(sys.argv) > 1:
    file = sys.argv[1]
else:
    file = str(Path(tempfile.mkdtemp(), "model.pt"))
    torch.save({"state_dict": {f"module.{name}": value for name, value in resnet18().state_dict().items()}}, file)

data = DataConfig("digits", size=72, per_class=40, eval_fraction=0.5).open(batch_size=100, seed=0)
backbone = build_backbone("resnet18", (3, 72, 72)).eval()
load_backbone(backbone, file)  # weights only, never code; removes "module." and the classifier, and logs what it did


@torch.no_grad()
def features(loader):
    """Return the features and labels of all images of a loader, in order."""
    batches = [(backbone(views[0].expand(-1, 3, -1, -1)), labels) for views, labels, _ids in loader]
    return [torch.cat(each) for each in zip(*batches)]


found = Features(*features(data.reference), *features(data.evaluation["digits"]), class_names=data.class_names)
for name, value in evaluate_features(found, Protocol(few=[])).metrics.items():
    print(f"{name:20} {value:.3f}")

"""A user-defined method in three functions.

python3 own_method.py                   # on the embedded digits
python3 own_method.py optim.lr=0.05 -m hardware.seed=0,1,2
"""

from torch import nn
from torch.nn import functional as F

from ssl_core import BaseModel
from ssl_core.backbones import build_backbone
from ssl_core.modules.heads import mlp
from ssl_launch import launch
from ssl_losses import nt_xent


class MyIdea(BaseModel):
    """SimCLR with an online classifier."""

    def initialize_modules(self):
        self.backbone = build_backbone("resnet9", self.image_shape, width=16)
        self.projector = mlp([self.backbone.num_features, 256, 64])
        self.classifier = nn.Linear(self.backbone.num_features, self.num_classes)

    def forward(self, x):  # the prediction: logits
        return self.classifier(self.backbone(x).detach())

    def compute_loss(self):
        first, second = (self.projector(self.backbone(view)) for view in self.data.views)
        online = F.cross_entropy(self.forward(self.data.views[0]), self.data.labels)
        return {"contrastive": nt_xent(first, second, temperature=0.2), "classifier": online}


if __name__ == "__main__":
    launch(MyIdea)

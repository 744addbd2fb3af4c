"""A user-defined method in one file: BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733) in three functions.

python3 custom_model.py                                     # on the embedded digits
python3 custom_model.py --config-name=simclr_cifar10_sgd    # on CIFAR-10, with the optimizer of that recipe
"""

from torch import nn

from ssl_core import BaseModel, Teacher
from ssl_core.backbones import build_backbone
from ssl_core.modules.heads import mlp
from ssl_launch import launch
from ssl_losses import negative_cosine_similarity


class BYOL(BaseModel):
    """A student predicts the output of its moving average for the other view."""

    def initialize_modules(self):
        self.backbone = build_backbone(
            self.config.model.backbone, self.image_shape, **self.config.model.backbone_options
        )
        self.projector = mlp([self.backbone.num_features, 512, 128])
        self.predictor = mlp([128, 512, 128])
        self.teacher = Teacher(nn.Sequential(self.backbone, self.projector), momentum=0.99)

    def forward(self, x):
        return self.probes.scores("backbone", self.backbone(x))  # the online linear probe: logits

    def compute_loss(self):
        a, b = self.data[0]  # two views of the same images
        student_a, student_b = (self.predictor(self.projector(self.backbone(view))) for view in (a, b))
        teacher_a, teacher_b = self.teacher(a), self.teacher(b)
        return negative_cosine_similarity(student_a, teacher_b) + negative_cosine_similarity(student_b, teacher_a)


if __name__ == "__main__":
    launch(BYOL)

"""Several batches to an optimizer step. Whose gradient it is, is compared in ``test_distributed_run.py``."""

import pytest
import torch
from torch import nn

from ssl_core import BaseModel, Teacher
from ssl_core.batch import Batch, concatenate
from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
from ssl_losses import DINOLoss, InfoNCELoss


class Counting(JointEmbedding):
    """Remembers of how many samples each loss was."""

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        self.projector = nn.Linear(4, 2)
        self.compared = []

    def embedding_loss(self, first, second):
        self.compared.append(len(first))
        return (first - second).square().mean()


class Own(Counting):
    def compute_loss(self):
        return super().compute_loss()


@pytest.mark.parametrize(("method", "compared"), [(Counting, [24, 24, 12]), (Own, [12] * 5)])
def test_accumulated_loss_compares_embeddings_across_batches(make_config, method, compared):
    """5 batches of 12 an epoch, two to an optimizer step: its last one has what is left, a batch."""
    config = make_config(optim__accumulation_steps=2, optim__epochs=1, optim__batch_size=12)
    config.model = JointEmbeddingConfig(name="counting")
    model = method(config)
    model.fit()
    assert model.compared == compared


def test_batches_become_one():
    def batch(first, *, views):
        x = torch.arange(first, first + 2)
        return Batch([x[:, None]] * views, x, -x)

    for views in (1, 2):
        joined = concatenate([batch(0, views=views), batch(2, views=views)])
        assert len(joined.views) == views
        assert torch.equal(joined.views[-1], torch.arange(4)[:, None])
        assert torch.equal(joined[1], torch.arange(4))
        assert torch.equal(joined[2], -torch.arange(4))


class Stateful(BaseModel):
    """A centre, a queue and a teacher; each loss is a mean over samples, so that micro-batches are exact."""

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.LayerNorm(6))
        self.teacher = Teacher(self.backbone, momentum=0.9, final_momentum=1.0)
        self.distillation, self.contrast = DINOLoss(6, center_momentum=0.5), InfoNCELoss(queue_size=100)

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        students, teachers = ([module(view) for view in self.data[0]] for module in (self.backbone, self.teacher))
        return self.distillation(students, teachers) + self.contrast(students[0], teachers[1])


def trained(make_config, method, **changes):
    model = method(make_config(hardware__precision="fp64", optim__epochs=3, **changes))
    model.fit()
    return model


def test_centre_queue_and_teacher_are_those_of_large_batches(make_config):
    """64 images: one batch, or four micro-batches, for each optimizer step."""
    large = trained(make_config, Stateful, log__run="large", optim__batch_size=64)
    small = trained(make_config, Stateful, log__run="small", optim__batch_size=16, optim__accumulation_steps=4)
    assert small.progress.step == large.progress.step == 3
    assert len(small.contrast.queue.rows) == 100
    torch.testing.assert_close(small.state_dict(), large.state_dict(), rtol=1e-9, atol=1e-12)


def test_run_stopped_between_micro_batches_resumes_exactly(make_config):
    class Stopped(Stateful):
        def before_train_step(self):
            if (self.progress.epoch, self.progress.batch) == (1, 3):
                raise KeyboardInterrupt

    changes = {"optim__accumulation_steps": 2, "log__checkpoint_every_steps": 1}
    whole = trained(make_config, Stateful, log__run="whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        trained(make_config, Stopped, **changes)
    resumed = trained(make_config, Stateful, **changes)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0.0, atol=0.0)

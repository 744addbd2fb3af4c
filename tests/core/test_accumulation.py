"""Several batches to an optimizer step. Whose gradient it is, is compared in ``test_distributed_run.py``."""

import pytest
import torch
from torch import nn

from ssl_core.batch import concatenate
from ssl_core.models.joint_embedding import JointEmbedding, JointEmbeddingConfig


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
def test_embeddings_are_compared_across_batches_and_one_s_own_loss_is_averaged(make_config, method, compared):
    """5 batches of 12 an epoch, two to an optimizer step: its last one has what is left, a batch."""
    config = make_config(optim__accumulation_steps=2, optim__epochs=1, optim__batch_size=12)
    config.model = JointEmbeddingConfig(name="counting")
    model = method(config)
    model.fit()
    assert model.compared == compared


def test_batches_become_one():
    def batch(first, *, views):
        x = torch.arange(first, first + 2)
        return [[x[:, None]] * views if views > 1 else x[:, None], x, -x, [{"angle": x}]]

    for views in (1, 2):
        joined = concatenate([batch(0, views=views), batch(2, views=views)])
        assert torch.equal(joined[0][1] if views > 1 else joined[0], torch.arange(4)[:, None])
        assert torch.equal(joined[1], torch.arange(4))
        assert torch.equal(joined[2], -torch.arange(4))
        assert torch.equal(joined[3][0]["angle"], torch.arange(4))

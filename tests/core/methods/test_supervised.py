"""Supervised learning with missing labels on two ranks. Oracle: torch's cross-entropy of the whole batch."""

import multiprocessing
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.nn.functional as F

from ssl_core.batch import Batch
from ssl_core.methods.supervised import Supervised

LABELS = torch.tensor([2, -1, -1, -1, 0, 1, 2, 1])  # one on the first rank, four on the second
IMAGES = torch.linspace(-1, 2, 40, dtype=torch.float64).view(8, 5).sin()


def save_gradient(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own, weight = slice(4 * rank, 4 * rank + 4), torch.eye(3, 5, dtype=torch.float64, requires_grad=True)
    data, config = Batch([IMAGES[own]], LABELS[own], LABELS[own]), SimpleNamespace(label_smoothing=0.1)
    model = SimpleNamespace(data=data, config=SimpleNamespace(model=config), forward=lambda x: F.linear(x, weight))
    loss = Supervised.compute_loss(model)
    loss.backward()
    dist.all_reduce(weight.grad)  # as DistributedDataParallel, which averages
    torch.save((loss.detach(), weight.grad / 2), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_labels_of_two_ranks_weigh_the_same(tmp_path):
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=save_gradient, args=(rank, tmp_path)) for rank in range(2)]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join()
    weight = torch.eye(3, 5, dtype=torch.float64, requires_grad=True)
    expected = F.cross_entropy(F.linear(IMAGES, weight), LABELS, ignore_index=-1, label_smoothing=0.1)
    expected.backward()
    for rank in range(2):
        loss, gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-10, atol=1e-14)

"""A loop of your own with nothing but torch and ssl_losses.

python3 plain_loop.py
torchrun --nproc-per-node=2 plain_loop.py    # batch normalisation is that of each rank; the loss is that of the whole batch
"""

import os

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_losses import BarlowTwinsLoss

if "RANK" in os.environ:
    torch.distributed.init_process_group("gloo")
rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

torch.manual_seed(0)
images = torch.rand(256, 64)
network = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 32))
if ranks > 1:
    network = DistributedDataParallel(
        nn.SyncBatchNorm.convert_sync_batchnorm(network) if torch.cuda.is_available() else network
    )
criterion = BarlowTwinsLoss()  # uses the samples of all ranks
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

for epoch in range(5):
    for batch in torch.randperm(256, generator=torch.Generator().manual_seed(epoch)).split(64):
        x = images[batch[rank::ranks]]
        first, second = (network(x + 0.1 * torch.randn_like(x)) for _ in range(2))
        loss = criterion(first, second)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if rank == 0:
        print(f"epoch {epoch}: loss {loss.item():.3f}")

"""Measurements within the environment of a peer; ``peers.py`` starts this file there. Runs on Python 3.8.

python peer_child.py ranks lightly                 # gradients of NT-Xent at two ranks, relative to one process
python peer_child.py resume lightning FOLDER 20    # a small SimCLR; kill -9 in the 20th step, 0: not
"""

import os
import signal
import sys
from pathlib import Path

SAMPLES, BATCH, EPOCHS, TEMPERATURE = 256, 32, 4, 0.5


# ---- the gradients of two ranks


def loss_of(peer):
    """Return NT-Xent of a peer as a function of two views."""
    if peer == "stable-ssl":
        from ssl_losses import NTXentLoss

        return NTXentLoss(temperature=TEMPERATURE)
    if peer.startswith("lightly"):
        from lightly.loss import NTXentLoss

        return NTXentLoss(temperature=TEMPERATURE, gather_distributed=peer == "lightly, gather_distributed")
    if peer == "stable-pretraining":
        from stable_pretraining.losses import NTXEntLoss

        return NTXEntLoss(temperature=TEMPERATURE)
    if peer == "solo-learn":
        from solo.losses.simclr import simclr_loss_func

        return lambda a, b: simclr_loss_func(a, b, temperature=TEMPERATURE)
    if peer == "VISSL":
        import torch
        from classy_vision.generic.distributed_util import set_cpu_device
        from vissl.config import AttrDict
        from vissl.losses.simclr_info_nce_loss import SimclrInfoNCELoss

        set_cpu_device()
        ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        sizes = AttrDict({"world_size": ranks, "embedding_dim": 8, "effective_batch_size": 2 * BATCH})
        criterion = SimclrInfoNCELoss(AttrDict({"temperature": TEMPERATURE, "buffer_params": sizes}))
        return lambda a, b: criterion(torch.cat([a, b]), None)
    raise SystemExit("no loss of " + peer)


def gradient(peer, rank, ranks):
    """Return the gradient of a linear layer, averaged over ranks that have equal parts of a batch."""
    import torch

    torch.manual_seed(0)
    views = torch.randn(2, BATCH, 16, dtype=torch.float64)
    layer = torch.nn.Linear(16, 8, bias=False).double()
    size = BATCH // ranks
    first, second = (layer(view[rank * size : (rank + 1) * size]) for view in views)
    loss_of(peer)(first, second).backward()
    if ranks > 1:
        torch.distributed.all_reduce(layer.weight.grad)
    return layer.weight.grad / ranks


def _rank(rank, peer, file, results):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=2)
    found = gradient(peer, rank, 2)
    if rank == 0:
        results.put(found.tolist())
    dist.barrier()
    dist.destroy_process_group()


def compare_ranks(peer):
    import tempfile

    import torch
    import torch.multiprocessing as multiprocessing

    loss_of(peer)  # imported once, before the fork
    results = multiprocessing.get_context("fork").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = peer, folder + "/store", results
        context = multiprocessing.start_processes(_rank, arguments, nprocs=2, join=False, start_method="fork")
        two = torch.tensor(results.get(), dtype=torch.float64)
        context.join()
    one = gradient(peer, 0, 1)
    print(f"{float((two - one).norm() / one.norm()):.1e}")


# ---- kill and resume


def images():
    """Return images with random noise, another each time, as a torch data set."""
    import torch

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return SAMPLES

        def __getitem__(self, index):
            image = torch.sin(torch.arange(48.0) * (index % 7 + 1)).view(3, 4, 4)
            return {"views": [image + 0.1 * torch.randn(3, 4, 4) for _ in range(2)]}

    return torch.utils.data.DataLoader(Noisy(), batch_size=BATCH, shuffle=True)


def digest(module):
    import hashlib

    state = sorted(module.state_dict().items())
    return hashlib.sha256(b"".join(value.detach().numpy().tobytes() for _, value in state)).hexdigest()[:16]


def kill_in(step, now):
    if step and now + 1 == step:
        os.kill(os.getpid(), signal.SIGKILL)


def network():
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 16))


def lightning_run(folder, step):
    """The loop of Lightning, which the examples of lightly use as well, with a checkpoint after each epoch."""
    import lightning
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    lightning.seed_everything(0)

    class SimCLR(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, batch_idx):
            kill_in(step, self.global_step)
            a, b = (torch.nn.functional.normalize(self.net(view)) for view in batch["views"])
            return torch.nn.functional.cross_entropy(a @ b.T / TEMPERATURE, torch.arange(len(a)))

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    model, last = SimCLR(), folder / "last.ckpt"
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True)],
    )  # fmt: skip
    trainer.fit(model, images(), ckpt_path=str(last) if last.exists() else None)
    return digest(model.net)


def stable_pretraining_run(folder, step):
    """Its Manager. The second start is given the last checkpoint: only a requeue by SLURM finds it by itself."""
    import lightning
    import stable_pretraining as spt
    import torch

    spt.set(cache_dir=str(folder))
    torch.manual_seed(0)

    def forward(self, batch, stage):
        kill_in(step, self.trainer.global_step)
        a, b = (self.net(view) for view in batch["views"])
        return {"loss": self.ntxent(a, b)}

    module = spt.Module(
        net=network(), ntxent=spt.losses.NTXEntLoss(TEMPERATURE), forward=forward,
        optim={"optimizer": {"type": "AdamW", "lr": 1e-3}, "scheduler": {"type": "ConstantLR", "factor": 1.0}},
    )  # fmt: skip
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_progress_bar=False, num_sanity_val_steps=0
    )
    last = sorted(folder.glob("**/last*.ckpt"))
    data = spt.data.DataModule(train=images())
    spt.Manager(
        trainer=trainer, module=module, data=data, seed=0, ckpt_path=str(last[0]) if last else None, weights_only=False
    )()
    return digest(module.net)


def stable_ssl_run(folder, step):
    from ssl_core import Config, HardwareConfig, LogConfig, OptimConfig
    from ssl_core.methods.joint_embedding import JointEmbedding, JointEmbeddingConfig
    from ssl_data import DataConfig
    from ssl_losses import nt_xent

    class SimCLR(JointEmbedding):
        def embedding_loss(self, first, second):
            kill_in(step, self.progress.step)
            return nt_xent(first, second, temperature=TEMPERATURE)

    model = SimCLR(
        Config(
            data=DataConfig(dataset="digits", views="digits", size=8, fraction=0.2, num_workers=0),
            model=JointEmbeddingConfig("simclr", backbone="resnet9", backbone_options={"width": 4}),
            optim=OptimConfig(optimizer="AdamW", lr=1e-3, batch_size=BATCH, epochs=EPOCHS, warmup_epochs=0),
            hardware=HardwareConfig(device="cpu", num_threads=1),
            log=LogConfig(folder=str(folder), run="run", checkpoint_every=1, progress=False, report=False),
        )
    )
    model.fit()
    return digest(model.backbone)


RUNS = {"Lightning": lightning_run, "stable-pretraining": stable_pretraining_run, "stable-ssl": stable_ssl_run}

if __name__ == "__main__":
    part, peer = sys.argv[1:3]
    if part == "ranks":
        compare_ranks(peer)
    else:
        print("\nweights", RUNS[peer](Path(sys.argv[3]), int(sys.argv[4])))

"""The loader in other people's loops. Oracle: a plain loop without interruption; the recipes are those of the README."""

import contextlib
import copy
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore

from code_blocks import code_blocks
from ssl_data import ArraySource, Loader, ViewSpec

README = Path(__file__).parents[2] / "packages" / "ssl-data" / "README.rst"
OPTIONS = {"batch_size": 4, "seed": 3, "num_workers": 1}
VIEWS = [ViewSpec(size=8, flip=0.5, jitter=1.0, brightness=0.5)] * 2
STEPS = 5  # of an epoch, of 22 samples


class Stopped(Exception):
    """The process ends here."""


def recipe(name):
    """Return what a block of the README defines."""
    found = {}
    blocks = code_blocks(README.read_text())
    exec(next(block for block in blocks if re.search(rf"(def|class) {name}\b", block)), found)
    return found[name]


def source(samples=22, seed=0):
    rng = np.random.default_rng(seed)
    return ArraySource(rng.integers(0, 256, (samples, 8, 8, 3), dtype=np.uint8), np.arange(samples) % 3)


@pytest.fixture
def loader():
    return Loader(source(), VIEWS, **OPTIONS)


def identity(batch):
    """Return what makes a batch: the ids, and the bytes of its views."""
    return batch[2].tolist(), [view.numpy().tobytes() for view in batch[0]]


def epochs_of(count):
    """Return the batches of some epochs, each with a new loader that starts there."""
    starts = [Loader(source(), VIEWS, **OPTIONS).start(epoch) for epoch in range(count)]
    return [[identity(batch) for batch in loader] for loader in starts]


def batches_of(count):
    """Return the batches of some epochs of a plain loop, in a row."""
    return [batch for epoch in epochs_of(count) for batch in epoch]


def test_iterators_that_are_not_used_change_nothing(loader):
    first, second = iter(loader), iter(loader)
    assert loader.state_dict()["epoch"] == 0
    assert [identity(batch) for batch in second] == epochs_of(1)[0]
    assert (loader.state_dict()["epoch"], loader.state_dict()["step"]) == (1, 0)
    assert [identity(batch) for batch in first] == epochs_of(2)[1]


def test_epoch_that_is_left_early_is_not_continued(loader):
    next(iter(loader))
    assert [identity(batch) for batch in loader] == epochs_of(2)[1]


def test_set_epoch_does_not_depend_on_earlier_epochs(loader):
    plain = epochs_of(4)
    for epoch in (2, 2, 0, 3):
        loader.set_epoch(epoch)
        assert identity(next(iter(loader))) == plain[epoch][0]


@pytest.mark.parametrize("taken", [0, 1, 3, STEPS, STEPS + 2])
@pytest.mark.parametrize("sets_epoch", [False, True])
def test_state_continues_with_the_next_batch(loader, taken, sets_epoch):
    plain = batches_of(3)
    seen, state, later = [], loader.state_dict(), Loader(source(), VIEWS, **OPTIONS)
    for epoch in range(2):
        if sets_epoch:
            loader.set_epoch(epoch)
        for batch in loader:
            if len(seen) == taken:
                break
            seen.append(identity(batch))
            state = loader.state_dict()
        if len(seen) == taken:
            break
    later.load_state_dict(copy.deepcopy(state))
    for epoch in range(state["epoch"], 3):
        if sets_epoch:
            later.set_epoch(epoch)
        seen += [identity(batch) for batch in later]
    assert seen == plain


def test_state_fits_other_ranks_and_no_other_options(loader):
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    halves = [Loader(source(), VIEWS, **OPTIONS, rank=rank, world_size=2) for rank in range(2)]
    ids = []
    for half in halves:
        half.load_state_dict(state)
        ids += next(iter(half))[2].tolist()
    assert ids == next(iterator)[2].tolist()
    for options in ({"batch_size": 2}, {"seed": 4}):
        with pytest.raises(ValueError, match=rf"^{next(iter(options))}=.: the state is of a loader with"):
            Loader(source(), VIEWS, **{**OPTIONS, **options}).load_state_dict(state)
    with pytest.raises(ValueError, match=r"^num_samples=20: .* num_samples=22"):
        Loader(source(20), VIEWS, **OPTIONS).load_state_dict(state)


@pytest.fixture
def two_processes():
    """Make this process one of two: torch's own process group for tests, which sends nothing."""
    torch.distributed.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    yield
    torch.distributed.destroy_process_group()


def test_ranks_that_are_not_given_warn_once_in_a_process_group(two_processes, loader):
    with pytest.warns(UserWarning, match="one of 2 processes.*pass rank= and world_size="):
        next(iter(loader))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(iter(loader))
        next(iter(Loader(source(), VIEWS, **OPTIONS, rank=0, world_size=1)))


@pytest.mark.parametrize("stop", [2, STEPS, STEPS + 3])
def test_recipe_of_a_plain_loop(loader, stop):
    train, seen, states = recipe("train"), [], []

    def save(state):
        states.append(state)
        if len(states) == stop:
            raise Stopped

    with pytest.raises(Stopped):
        train(loader, lambda batch: seen.append(identity(batch)), 2, save)
    train(Loader(source(), VIEWS, **OPTIONS), lambda batch: seen.append(identity(batch)), 2, states.append, states[-1])
    assert seen == batches_of(2)


def lightning_module(stop=None):
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.seen = torch.nn.Linear(192, 4), []

        def training_step(self, batch):
            parts = batch.values() if isinstance(batch, dict) else [batch]
            self.seen.append([identity(part) for part in parts])
            return sum(self.layer(view.flatten(1)).square().mean() for part in parts for view in part[0])

        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == stop:
                self.trainer.save_checkpoint("last.ckpt")
                raise Stopped

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    return Module()


def fit(module, data, checkpoint=None, **options):
    import pytorch_lightning as pl

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about SLURM, its own dependencies and numbers of workers
        trainer = pl.Trainer(accelerator="cpu", max_epochs=3, num_sanity_val_steps=0, **quiet, **options)
        trainer.fit(module, datamodule=data(), ckpt_path=checkpoint, weights_only=True if checkpoint else None)


@pytest.mark.parametrize(
    ("name", "limit"), [("Data", STEPS), ("Data", 3), ("TwoSources", 6)], ids=["epochs", "limited", "combined"]
)
def test_recipe_of_lightning(tmp_path, monkeypatch, name, limit):
    """Also for epochs that Lightning leaves early, and for two sources, of which the smaller is repeated."""
    monkeypatch.chdir(tmp_path)
    sources = source() if name == "Data" else {"labelled": source(10, 1), "unlabelled": source(26)}

    def data():
        return recipe(name)(sources, VIEWS, **OPTIONS)

    whole = lightning_module()
    fit(whole, data, limit_train_batches=limit)
    assert len(whole.seen) == 3 * limit
    if name == "Data":
        assert whole.seen == [[batch] for epoch in epochs_of(3) for batch in epoch[:limit]]
    for stop in (limit - 1, limit + 1):
        stopped, resumed = lightning_module(stop), lightning_module()
        with pytest.raises(Stopped):
            fit(stopped, data, limit_train_batches=limit)
        fit(resumed, data, checkpoint="last.ckpt", limit_train_batches=limit)
        assert stopped.seen + resumed.seen == whole.seen
        assert torch.equal(resumed.layer.weight, whole.layer.weight)


@pytest.mark.parametrize("stop", [2, STEPS])
def test_recipe_of_accelerate(tmp_path, stop):
    pytest.importorskip("accelerate")
    accelerated = recipe("accelerated")

    def run(folder, resume=False, stop=None):
        torch.manual_seed(0)
        model, seen = torch.nn.Linear(192, 4), []
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

        def loss_of(model, images, ids):
            if len(seen) == stop:
                raise Stopped
            seen.append((ids.tolist(), [view.numpy().tobytes() for view in images]))
            return sum(model(view.flatten(1)).square().mean() for view in images)

        with contextlib.suppress(Stopped):
            accelerated(source(), VIEWS, model, optimizer, loss_of, 2, tmp_path / folder, resume, **OPTIONS)
        return seen, model.weight

    whole, expected = run("whole")
    assert whole == batches_of(2)
    before, _ = run("stopped", stop=stop)
    after, weight = run("stopped", resume=True)
    assert before + after == whole
    assert torch.equal(weight, expected)

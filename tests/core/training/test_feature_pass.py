"""The pass over all training samples before an epoch. Oracle: the model on all images at once."""

import pytest
import torch

from ssl_core import ConfigError, Preempted
from ssl_core.run.folder import RunFolder
from ssl_core.training.feature_pass import feature_pass


@pytest.fixture
def make_passing(make_config, tiny_model):
    """Return a function that makes a model that goes over all samples before its second epoch."""

    class Passing(tiny_model):
        found = None

        def before_train_epoch(self):
            if self.progress.epoch == 1:
                self.found = *feature_pass(self, self.backbone, num_views=2), self.expected()

        @torch.no_grad()
        def expected(self):
            loader = self.run.loaders.train
            assert not self.training
            return self.backbone(loader.images)

    return lambda **changes: Passing(make_config(optim__epochs=2, log__eval_every=0, **changes))


@pytest.mark.parametrize("batch_size", [16, 24])  # 24: an epoch of training leaves 16 of 64 samples out
def test_pass_gives_every_sample_once_in_the_order_of_ids(make_passing, batch_size):
    model = make_passing(optim__batch_size=batch_size)
    model.fit()
    ids, embeddings, expected = model.found
    assert torch.equal(ids, torch.arange(64))
    assert embeddings.shape == (64, 2, 16)
    for view in (0, 1):
        torch.testing.assert_close(embeddings[:, view], expected)


def test_signal_in_a_pass_saves_and_the_pass_is_repeated(make_passing):
    whole, stopped, resumed = make_passing(), make_passing(log__run="stopped"), make_passing(log__run="stopped")
    whole.fit()
    passes = []

    def embed(images):
        passes.append(len(images))
        stopped.run.stop.name = "SIGTERM"
        return stopped.backbone(images)

    stopped.expected = lambda: None
    stopped.before_train_epoch = lambda: stopped.progress.epoch == 1 and feature_pass(stopped, embed)
    with pytest.raises(Preempted):
        stopped.fit()
    assert passes == [16]
    resumed.fit()
    assert all(map(torch.equal, resumed.found, whole.found))
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))


def test_loader_without_order_raises(make_passing, toy_data):
    class Unordered(toy_data):
        def open(self, *arguments):
            loaders = super().open(*arguments)
            train = loaders.train

            class Loader:
                __len__, __iter__ = (lambda self: len(train)), (lambda self: iter(train))
                start = train.start

            loaders.train = Loader()
            return loaders

    model = make_passing()
    model.config.data = Unordered()
    with pytest.raises(ConfigError, match=r"^data: the training loader has no in_order\(\)"):
        model.fit()
    assert RunFolder.of(model.config).read_summary()["status"] == "failed"

"""``BaseModel.from_run`` and ``extract``. Oracle: the model that was trained, still in memory."""

import shutil

import pytest
import torch

from ssl_core import BaseModel, ConfigError, RunFolder
from ssl_core.methods import SimCLR
from ssl_core.methods.simclr import SimCLRConfig

IMAGES = torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trained(make_config, tiny_model):
    model = tiny_model(make_config(log__checkpoint_every_steps=5, log__keep_checkpoints=9))
    model.fit()
    return model.eval()


def test_model_from_a_run_equals_the_trained_model(trained, toy_data, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(trained.run.folder.path, folder)
    loaded = type(trained).from_run(folder, data=toy_data)
    assert not loaded.training
    assert loaded.progress.step == 12
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), trained(IMAGES))
    assert torch.equal(loaded.extract(IMAGES), trained.features(IMAGES))
    torch.testing.assert_close(loaded.extract(IMAGES, batch_size=3), trained.features(IMAGES))  # but for the last bits


def test_model_from_an_earlier_checkpoint(trained, toy_data):
    loaded = type(trained).from_run(trained.run.folder.path, checkpoint=5, data=toy_data)
    assert loaded.progress.step == 5
    assert not torch.equal(loaded.extract(IMAGES), trained.features(IMAGES))
    with pytest.raises(ConfigError, match=r"checkpoint=6: expected 'newest' or one of the steps .*5, .*10, 12"):
        type(trained).from_run(trained.run.folder.path, checkpoint=6, data=toy_data)


def test_shipped_method_is_found_by_its_folder(make_config, toy_data):
    """With its online probe: ``forward`` gives its logits."""
    config = make_config(optim__epochs=1)
    config.model = SimCLRConfig("simclr", "resnet9", {"width": 4}, projector=[8, 4])
    model = SimCLR(config)
    model.fit()
    loaded = BaseModel.from_run(RunFolder.of(config).path, data=toy_data)
    assert type(loaded) is SimCLR
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), model.eval()(IMAGES))


def test_class_of_the_user_is_found_by_the_run(tmp_path, monkeypatch):
    """Trained in one process, loaded with nothing but the folder; data and method are in a file of the user."""
    import ssl_core.run.source_location as source_location

    file = tmp_path / "mine.py"
    file.write_text(
        "import dataclasses, torch\n"
        "from types import SimpleNamespace\n"
        "from ssl_core import BaseModel, ModelConfig\n"
        "class Loader(list):\n"
        "    def start(self, epoch, step):\n"
        "        return self\n"
        "@dataclasses.dataclass\n"
        "class Data:\n"
        "    size: int = 8\n"
        "    def open(self, batch_size, seed, rank, world_size):\n"
        "        x, y = torch.randn(8, 3, self.size, self.size), torch.arange(8) % 2\n"
        "        batches = Loader([([x], y, torch.arange(8))])\n"
        "        return SimpleNamespace(train=batches, reference=batches, evaluation={}, num_classes=2,\n"
        "                               image_shape=(3, self.size, self.size))\n"
        "class Mine(BaseModel):\n"
        "    def initialize_modules(self):\n"
        "        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))\n"
        "    def forward(self, x):\n"
        "        return self.backbone(x)\n"
        "    def compute_loss(self):\n"
        "        return self(self.data[0][0]).square().mean()\n"
    )
    from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig

    mine, data = (source_location.load_class(f"{file}:{name}") for name in ("Mine", "Data"))
    config = Config(
        data(), ModelConfig("mine"), OptimConfig(epochs=1, batch_size=8), HardwareConfig(device="cpu"),
        LogConfig(folder=str(tmp_path / "outputs"), run="run", progress=False),
    )  # fmt: skip
    model = mine(config)
    model.fit()
    loaded = BaseModel.from_run(tmp_path / "outputs" / "run")
    assert type(loaded).__name__ == "Mine"
    assert torch.equal(loaded.extract(IMAGES), model.eval().features(IMAGES))


def test_batches_of_a_loader_are_extracted_with_their_labels(trained):
    loader = trained.run.loaders.evaluation["toy"]
    features, labels = trained.extract(loader)
    assert torch.equal(features, torch.cat([trained.features(views[0]) for views, _, _ in loader]))
    assert torch.equal(labels, torch.cat([label for _, label, _ in loader]))


def test_folder_that_is_not_a_run_is_named(tmp_path):
    from ssl_core import RunError

    with pytest.raises(RunError, match=r"no|not"):
        BaseModel.from_run(tmp_path)

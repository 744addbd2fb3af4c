"""``hardware.compile``. Oracle: the run that is not compiled.

The graph of each method is captured and run without a compiler (backend ``eager``). A method with every kind of state is
traced with ``aot_eager``, which does everything that the compiler does except making kernels; one run makes them. That each
loss can be traced is a test of ssl-losses.
"""

import dataclasses
import os

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from ssl_core import BaseModel, Teacher
from ssl_core.backbones.named_vits import vit
from ssl_core.methods import METHODS, backbone_method, method_class
from ssl_core.methods.masked_image import MaskedImageModel
from ssl_core.modules.heads import mlp
from ssl_core.run.folder import RunFolder
from ssl_core.training import loss_module
from ssl_losses import DINOLoss, InfoNCELoss

pytestmark = pytest.mark.filterwarnings("ignore")  # the compiler's own


@pytest.fixture(autouse=True)
def _fresh_compiler():
    import torch._dynamo

    torch._dynamo.reset()
    counters.clear()
    # Torch's own
    with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=False, force_parameter_static_shapes=True):
        yield


@pytest.fixture
def use_backend(monkeypatch):
    """Return a function that sets the backend of the compiler."""
    plain = torch.compile
    return lambda name: monkeypatch.setattr(torch, "compile", lambda module, options: plain(module, backend=name))


def train_lines(config):
    """The lines of a run, timings aside."""
    found = RunFolder.of(config).read_metrics()
    return [
        {k: v for k, v in line.items() if k.startswith("train/") and k != "train/images_per_second"} for line in found
    ]


class TinyBackbone(nn.Module):
    """One convolution: the compiler takes seconds for each layer that a real backbone has more."""

    num_features = 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        return self.forward_dense(x)[0]

    def forward_dense(self, x):
        feature_map = self.layers(x)
        return feature_map.mean((2, 3)), feature_map


def tiny_backbone(name, image_shape, **options):
    return vit(name, image_shape, **options) if options else TinyBackbone()


class Everything(BaseModel):
    """A queue that grows, a centre, a teacher, dropout, a temperature that follows the progress of the run."""

    def initialize_modules(self):
        self.backbone = tiny_backbone("resnet9", self.image_shape)
        self.projector = nn.Sequential(nn.Dropout(0.1), mlp([self.backbone.num_features, 8]))
        self.teacher = Teacher(nn.Sequential(self.backbone, self.projector), momentum=0.9, final_momentum=1.0)
        self.contrast = InfoNCELoss(temperature=0.2, queue_size=56)
        self.distillation = DINOLoss(num_prototypes=8)

    def forward(self, x):
        return self.probes.scores("backbone", self.backbone(x))

    def compute_loss(self):
        a, b = self.data[0]
        students, teachers = (
            [self.projector(self.backbone(view)) for view in (a, b)],
            [self.teacher(b), self.teacher(a)],
        )
        weight = 1 + self.progress.step / self.run.plan.total_steps
        return {
            "contrast": self.contrast(students[0], teachers[1]),
            "distillation": weight * self.distillation(students, teachers),
        }


SMALL = {
    "projector": [8, 4],
    "predictor": [8],
    "queue_size": 24,
    "num_slices": 8,
    "whitening_size": 8,
    "dim": 4,
    "num_prototypes": 6,
    "num_groups": 6,
    "num_heads": 2,
    "num_layers": 1,
    "patch_size": 4,
    "num_permutations": 5,
    "patch_width": 6,
    "num_negatives": 20,
    "dropout": 0.0,
    "map_projector": [8, 4],
    "num_matches": [2, 2],
    "decoder_width": 4,
    "decoder_depth": 1,
    "decoder_heads": 1,
    "predictor_width": 4,
    "predictor_depth": 1,
    "predictor_heads": 1,
    "top_blocks": 1,
    "head_width": 4,
    "head_depth": 1,
}
VIT = {"patch_size": 2, "width": 4, "depth": 1, "num_heads": 1}  # of the methods that mask patches
# Of the methods that mask patches one of each kind: visible patches, a mask token, attention to earlier patches
MASKED = ("mae", "data2vec", "aim")
COMPILED = sorted(
    name
    for name in METHODS
    if name in MASKED or not (name == "baseline" or issubclass(method_class(name), MaskedImageModel))
)
TWO_GRAPHS = ("all4one", "densecl", "dino", "everything", "moco_v2", "nnbyol", "nnclr", "pirl", "ressl", "smog")


@pytest.fixture
def small(make_config, monkeypatch):
    """Return a function that makes a small model of a method."""
    monkeypatch.setattr(backbone_method, "build_backbone", tiny_backbone)

    def make(name, **changes):
        config = make_config(log__eval_every=0, **changes)
        if name == "everything":
            return Everything(config)
        kind = method_class(name).config_class
        keys = {field.name: SMALL[field.name] for field in dataclasses.fields(kind) if field.name in SMALL}
        config.data.views = method_class(name).num_views or 2
        if issubclass(method_class(name), MaskedImageModel):
            keys |= {"backbone": "vit_tiny", "backbone_options": {**kind().backbone_options, **VIT}}
        config.model = kind(name=name, **keys)
        return method_class(name)(config)

    return make


@pytest.mark.parametrize("name", [*COMPILED, "everything"])
def test_compiled_method_equals_eager_and_compiles_once(small, use_backend, name):
    """No graph break, no compilation at every step, the probes see the features, and nothing is called ``_orig_mod``."""
    use_backend("aot_eager" if name in ("everything", "simclr") else "eager")
    epochs = 3 if name == "everything" else 1  # until the queue is full
    models = {}
    for run in ("plain", "compiled"):
        changes = {"log__run": run, "optim__epochs": epochs, "optim__lr": 0.01, "hardware__compile": run == "compiled"}
        models[run] = small(name, **changes)
        models[run].fit()
    ours, theirs = (train_lines(models[run].config) for run in ("compiled", "plain"))
    assert len(ours) == 4 * epochs
    for our, their in zip(ours, theirs):
        assert "train/probe_backbone_loss" in our
        assert our == pytest.approx(their, rel=1e-5, abs=1e-7)
    assert models["compiled"].state_dict().keys() == models["plain"].state_dict().keys()
    assert not counters["graph_break"]
    # Empty queue and step 0, then any
    assert counters["stats"]["unique_graphs"] == (2 if name in TWO_GRAPHS else 1)


def test_compiled_run_resumes_bit_identically(make_config, tiny_model):
    """With the compiler's own kernels, in bf16, and with a residual and a maximum, whose gradient they made NaN."""

    class Pooled(tiny_model):
        def initialize_modules(self):
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
            self.head = nn.Linear(16, self.num_classes)

        def forward(self, x):
            features = self.stem(x)
            return self.head((features + torch.relu(0.3 * features)).amax((2, 3)))

    class Killed(Pooled):
        def before_train_step(self):
            if self.progress.step == 6:
                raise KeyboardInterrupt
            super().before_train_step()

    plain, whole, killed = (
        make_config(
            log__run=run, log__checkpoint_every_steps=1, hardware__compile=run != "plain", hardware__precision="bf16"
        )
        for run in ("plain", "whole", "killed")
    )
    Pooled(plain).fit()
    uninterrupted = Pooled(whole)
    uninterrupted.fit()
    with pytest.raises(KeyboardInterrupt):
        Killed(killed).fit()
    resumed = Pooled(killed)
    resumed.fit()
    assert train_lines(killed) == train_lines(whole)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in uninterrupted.state_dict().items())
    assert counters["stats"]["unique_graphs"] == 3  # one a process: whole, killed, resumed
    for ours, theirs in zip(train_lines(whole), train_lines(plain)):
        assert ours == pytest.approx(theirs, rel=0.05)  # bf16 has three digits


@pytest.mark.parametrize("named", [None, "mine"])
def test_compiler_cache_is_private_unless_named(monkeypatch, named):
    """A process that was killed while it compiled leaves truncated files in its cache."""
    monkeypatch.delenv(loss_module.CACHE_VARIABLE, raising=False)
    if named:
        monkeypatch.setenv(loss_module.CACHE_VARIABLE, named)
    loss_module._private_cache.cache_clear()
    folder = loss_module._private_cache()
    assert (folder is None) == bool(named)
    assert os.environ[loss_module.CACHE_VARIABLE] == (named or folder.name)
    assert loss_module._private_cache() is folder
    loss_module._private_cache.cache_clear()
    if folder:
        folder.cleanup()

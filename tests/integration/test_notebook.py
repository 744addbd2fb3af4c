"""Notebooks in a real kernel: the one of the repository, and interrupting, resuming and loading in one kernel."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "runs" / "first_run.ipynb"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # warnings of the kernel's client are not ours


def execute(notebook, folder, monkeypatch, **options):
    """Return the outputs of the code cells, executed in a kernel in ``folder``."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}, **options)
    client.execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def progress_of(outputs):
    return [each.data["text/plain"] for each in outputs if each.output_type == "display_data"]


def test_notebook_of_the_repository_shows_table_and_figure(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")  # stored without outputs
    *others, fit, loaded = execute(notebook, tmp_path, monkeypatch)
    assert others == [[], []]
    [progress, result] = fit  # and no warning on stderr
    assert progress.data["text/plain"].startswith("epoch 6: 100%")
    assert len(str(progress)) < 300
    page = result.data["text/html"]
    for text in ("trained encoder", "untrained encoder", "raw pixels", "after 6 epochs", "affine_digits/knn"):
        assert text in page
    png = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', page)[1])
    assert png == (tmp_path / "outputs" / "first_run" / "curves.png").read_bytes()
    assert len(page) < 200_000
    assert "torch.Size([4, 64])" in loaded[0].data["text/plain"]


DEFINITIONS = """
import dataclasses, logging, signal, sys, types
import torch
from torch import nn
from ssl_core import BaseModel, Config, LogConfig, ModelConfig, OptimConfig
from ssl_launch import launch

class Loader(list):
    position = 0

    def start(self, epoch, step):
        self.position = step

    def __iter__(self):
        return iter(self[self.position :])

@dataclasses.dataclass
class Noise:
    size: int = 8

    def open(self, batch_size, seed, rank, world_size):
        images = torch.randn(64, 1, self.size, self.size, generator=torch.Generator().manual_seed(seed))
        labels, batches = torch.arange(64) % 2, Loader()
        for part in torch.arange(64).split(batch_size):
            batches.append(([images[part]], labels[part], part))
        return types.SimpleNamespace(
            train=Loader(batches), reference=batches, evaluation={"noise": batches}, num_classes=2, image_shape=(1, 8, 8)
        )

class MyIdea(BaseModel):
    interrupts = False

    def initialize_modules(self):
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        self.head = nn.Linear(8, self.num_classes)

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        return nn.functional.cross_entropy(self.forward(self.data.views[0]), self.data.labels)

    def after_train_step(self):
        if self.interrupts and self.progress.step == 6:
            signal.raise_signal(signal.SIGINT)  # as the stop button does

def config(run):
    return Config(
        Noise(), ModelConfig("my_idea"), OptimConfig(epochs=3, batch_size=16, warmup_epochs=0),
        log=LogConfig(run=run, report=False),
    )

logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
"""
CELLS = {
    "definitions": DEFINITIONS,
    "interrupted": "MyIdea.interrupts = True\nMyIdea(config('run')).fit()",
    "resumed": "MyIdea.interrupts = False\nMyIdea(config('run')).fit()",
    "finished": "MyIdea(config('run')).fit()",
    "uninterrupted": "MyIdea(config('other')).fit()",
    "loaded": (
        "models = [BaseModel.from_run(f'outputs/{run}') for run in ('run', 'other')]\n"
        "weights = [model.state_dict().values() for model in models]\n"
        "all(map(torch.equal, *weights)), [type(each) is MyIdea for each in models], type(models[0].config.data) is Noise"
    ),
    "changed": "def other_loss(self):\n    return MyIdea.forward(self, self.data.views[0]).mean()\n"
    "MyIdea.compute_loss = other_loss\nresult = MyIdea(config('run')).fit()",
    "misspelt": "wrong = config('wrong')\nwrong.optim.lr = -1\nMyIdea(wrong).fit()",
    "launched": "launch(MyIdea)",
}


def test_interrupt_resume_and_load_in_one_kernel(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    outputs = dict(zip(CELLS, execute(notebook, tmp_path, monkeypatch, allow_errors=True)))
    assert outputs["definitions"] == []
    error = outputs["interrupted"][-1]
    assert error.traceback == ["Preempted: SIGINT at step 6: the state is saved; rerun to resume"]
    assert re.match(r"(epoch 2: +)?50%", progress_of(outputs["interrupted"])[0])
    lines = {
        "resumed": ["resumed from outputs/run/checkpoints/step_00000006.pt", "epoch 3: noise/accuracy"],
        "finished": ["resumed from outputs/run/checkpoints/step_00000012.pt"],
        "uninterrupted": ["epoch 3: noise/accuracy"],
    }
    for name, expected in lines.items():
        progress, *others, result = outputs[name]
        assert " 100%" in f" {progress.data['text/plain']}"
        logged = "".join(each.text for each in others).splitlines()  # each message once, and no warning
        assert [line.startswith(start) for line, start in zip(logged, expected, strict=True)] == [True] * len(expected)
        assert result.data == outputs["resumed"][-1].data or name == "uninterrupted"  # the rate differs
    assert outputs["loaded"][-1].data["text/plain"] == "(True, [True, True], True)"
    logged = "".join(each.text for each in outputs["changed"] if each.output_type == "stream")
    assert logged.count("the code of MyIdea has changed since this run was trained: 'the notebook'") == 1
    assert outputs["misspelt"][-1].traceback == ["ConfigError: optim.lr=-1: expected a number, at least 0"]
    [line] = outputs["launched"][-1].traceback
    assert "call MyIdea(Config(...)).fit() instead" in line

"""Several ranks, really started by torchrun (gloo, one thread each)."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

SCRIPT = """
import importlib.util, sys
import torch
spec = importlib.util.spec_from_file_location("toy", {conftest!r})
toy = importlib.util.module_from_spec(spec)
sys.modules["toy"] = toy
spec.loader.exec_module(toy)
from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig
from ssl_losses import nt_xent

class Double(torch.nn.Module):
    def forward(self, x):
        return x.double()

class Contrastive(toy.TinyModel):  # no batch statistics: they are per rank in DDP
    def initialize_modules(self):
        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), Double(), torch.nn.Linear(192, 16))
        self.head = torch.nn.Linear(16, self.num_classes)
        self.double()

    def forward(self, x):
        return self.head(self.backbone(x))

    def compute_loss(self):
        first, second = (self.backbone(view) for view in self.data[0])
        classes = torch.nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])
        return {{"contrastive": nt_xent(first, second, temperature=0.2), "classes": classes}}

torch.set_num_threads(1)
Contrastive(Config(
    data=toy.ToyData(), model=ModelConfig(name="tiny"),
    optim=OptimConfig(batch_size=16, epochs=3, lr=0.1, accumulation_steps={accumulation}),
    hardware=HardwareConfig(device="cpu", precision="fp32", num_threads=1),
    log=LogConfig(folder={folder!r}, run="run", every_steps=1, report=False, progress=False, eval_every=1),
)).fit()
"""


def run(folder: Path, ranks: int, accumulation: int = 1) -> tuple[list[dict], dict]:
    """Run the script at so many ranks; return its metrics and its final state."""
    folder.mkdir()
    script = folder / "script.py"
    conftest = str(Path(__file__).with_name("conftest.py"))
    script.write_text(textwrap.dedent(SCRIPT.format(conftest=conftest, folder=str(folder), accumulation=accumulation)))
    launcher = [] if ranks == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    result = subprocess.run(
        [sys.executable, *launcher, str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-4000:]
    metrics = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    newest = max((folder / "run" / "checkpoints").glob("*.pt"))
    return metrics, torch.load(newest, weights_only=True)


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_loss_curve_is_that_of_one_process(tmp_path, ranks):
    """Oracle: the same run in one process; a contrastive loss, float64, to 1e-10. Accuracies are counted, hence equal."""
    alone, alone_state = run(tmp_path / "one", 1)
    several, several_state = run(tmp_path / "several", ranks)
    assert [line["step"] for line in several] == [line["step"] for line in alone] == list(range(1, 13))
    for ours, theirs in zip(several, alone):
        assert ours.keys() == theirs.keys()
        for name in theirs.keys() - {"train/images_per_second"}:
            tolerance = {"rel": 1e-10} if not name.startswith("train/probe") else {"rel": 1e-4}  # the probe is float32
            if name.startswith("toy/"):
                tolerance = {"abs": 0.0}
            assert ours[name] == pytest.approx(theirs[name], **tolerance), name
    for name, tensor in alone_state["model"].items():
        torch.testing.assert_close(several_state["model"][name], tensor, rtol=1e-10, atol=1e-12)

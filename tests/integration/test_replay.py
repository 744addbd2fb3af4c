"""A run that diverges and is taken again from its folder: shipped data and method, and two real ranks.

Oracle: ``diverged.json``, compared bit by bit by the replay itself, which ends with 1 where it finds another step.
"""

import json
from pathlib import Path

import pytest
import torch

import forked
from ssl_core import Config, DivergedError, HardwareConfig, LogConfig, OptimConfig
from ssl_core.diagnostics.replay import main
from ssl_core.methods.simclr import SimCLR, SimCLRConfig
from ssl_data.config import DataConfig

TOY = Path(__file__).parents[1] / "core" / "conftest.py"

# on rank 1 alone the loss falls off a cliff, in step 3
TWO_RANKS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("toy", {toy!r})
toy = importlib.util.module_from_spec(spec)
sys.modules["toy"] = toy
spec.loader.exec_module(toy)
from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig

Data = toy.ToyData

class Falling(toy.TinyModel):
    def compute_loss(self):
        terms = super().compute_loss()
        factor = float("inf") if (self.progress.step, self.run.distributed.rank) == (3, 1) else 1
        return {{**terms, "cliff": terms["classes"] * factor}}

if __name__ == "__main__":
    log = LogConfig(folder={folder!r}, run="run", checkpoint_every_steps=2, report=False, progress=False)
    hardware = HardwareConfig(device="cpu", precision="fp32", num_threads=1)
    Falling(Config(Data(), ModelConfig("falling"), OptimConfig(batch_size=32, epochs=9), hardware, log)).fit()
"""


def two_ranks(*words, cwd):
    """Run a script on two ranks, as tasks of a SLURM step; return their exit codes, and the output and errors of both."""
    out, errors = cwd / "out", cwd / "errors"
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": str(words[0].stem), "SLURM_NTASKS": "2"}
    ranks = [
        forked.Forked(words, cwd, out, errors, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), **step)
        for rank in (0, 1)
    ]
    codes = [rank.wait(timeout=140) for rank in ranks]
    return codes, out.read_text(), errors.read_text()


def test_replay_of_a_shipped_method_needs_only_the_folder(tmp_path, capsys):
    """The folder is moved, its configuration read back, its method and its data are found by what is installed."""
    torch.set_num_threads(1)
    config = Config(
        DataConfig(fraction=0.2, num_workers=1),
        SimCLRConfig("simclr", "resnet9", {"width": 4}, projector=[16, 8]),
        OptimConfig(batch_size=64, epochs=2, lr=1e30),
        HardwareConfig(device="cpu", precision="bf16", num_threads=1),
        LogConfig(folder=str(tmp_path), run="wild", checkpoint_every_steps=2, report=False, progress=False),
    )
    with pytest.raises(DivergedError, match=r"'python3 -m ssl_core.diagnostics.replay .*wild' shows the step again"):
        SimCLR(config).fit()
    moved = (tmp_path / "wild").rename(tmp_path / "moved")
    assert main([str(moved)]) == 0
    shown, record = capsys.readouterr().out, json.loads((moved / "diverged.json").read_text())
    assert f"samples    64: {' '.join(map(str, record['samples'][0]))}\n" in shown
    assert shown.endswith(": the same, bit by bit\n")


@pytest.mark.slow
def test_divergence_on_one_rank_ends_both_and_is_replayed(tmp_path):
    script = tmp_path / "falling.py"
    script.write_text(TWO_RANKS.format(toy=str(TOY), folder=str(tmp_path)))
    codes, _, errors = two_ranks(script, cwd=tmp_path)
    assert codes == [1, 1]
    assert errors.count("DivergedError: cliff is inf at epoch 2, batch 1, step 3, rank 1; ") == 2
    record = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert (record["rank"], record["ranks"], record["checkpoint"]) == (1, 2, "step_00000002.pt")
    assert [len(samples) for samples in record["samples"]] == [16, 16]
    assert not set(record["samples"][0]) & set(record["samples"][1])
    replay = tmp_path / "replay.py"
    replay.write_text("from ssl_core.diagnostics.replay import main\nraise SystemExit(main())")
    options = [f"--method={script}:Falling", f"--data={script}:Data"]
    codes, shown, errors = two_ranks(replay, tmp_path / "run", *options, cwd=tmp_path)
    assert codes == [0, 0], shown + errors
    assert "rank 0\n" in shown
    assert "rank 1\n" in shown
    assert shown.count("recorded   cliff is inf: the same, bit by bit") == 1

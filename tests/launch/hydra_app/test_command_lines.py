"""Whole command lines in separate processes, from ``runs/``. ``submitit_local`` replaces SLURM: a job is a process."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import forked

RUNS = Path(__file__).parents[3] / "runs"
QUICK = [
    "++optim.epochs=1", "++optim.warmup_epochs=0", "++optim.max_steps=2", "++optim.batch_size=32", "++data.dataset=FakeData",
    "++data.views=simclr", "++data.fraction=0.2", "++data.size=16", "++model.backbone=resnet9",
    "++model.backbone_options={width: 4}", "++model.projector=[16, 8]", "++hardware.num_threads=1", "++data.num_workers=1",
]  # fmt: skip


def command(folder, *arguments, script="main.py", cwd=RUNS):
    return forked.run([script, f"++log.folder={folder}", *arguments], cwd, SSL_DATA_ROOT=str(folder / "no data"))


def summaries(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/summary.json"))}


def submitted(folder):
    return list((folder / ".submitit").glob("*/*_result.pkl"))


def test_training_by_name_writes_only_its_folder(tmp_path):
    here = tmp_path / "here"  # a runs/ in which nobody else works meanwhile
    shutil.copytree(RUNS / "configs", here / "configs")
    shutil.copy(RUNS / "main.py", here)
    before = sorted(here.rglob("*"))
    tmp_path = tmp_path / "out"
    result = command(tmp_path, "--config-name=simclr_cifar10_sgd", *QUICK, "++optim.lr=2", "++log.run=mine", cwd=here)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert sorted(here.rglob("*")) == before
    config = yaml.safe_load((tmp_path / "mine" / "config.yaml").read_text())
    assert config["optim"]["lr"] == 2.0
    assert config["optim"]["momentum"] == 0.9  # a default of the dataclass
    assert result.stdout.splitlines()[-2:] == [
        str(tmp_path / "mine" / "table.md"),
        str(tmp_path / "mine" / "curves.png"),
    ]
    assert all(Path(path).stat().st_size > 0 for path in result.stdout.splitlines()[-2:])
    again = command(tmp_path, "--config-name=simclr_cifar10_sgd", *QUICK, "++optim.lr=3", "++log.run=mine")
    assert again.returncode == 2
    assert "optim.lr was 2.0, is 3.0" in again.stderr
    assert len(again.stderr.splitlines()) == 1


def test_train_only_writes_no_table(tmp_path):
    result = command(tmp_path, "--config-name=vicreg_cifar10", "--config-path", "configs/", *QUICK, script="train.py")
    assert result.returncode == 0, result.stderr
    [folder] = summaries(tmp_path)
    assert folder.startswith("vicreg_cifar10-")
    assert not (tmp_path / folder / "table.md").exists()


def test_a_launcher_named_in_a_configuration_submits_as_well(tmp_path):
    """The shipped slurm example, its launcher replaced by the local one in a copy."""
    configs = tmp_path / "configs"
    configs.mkdir()
    for name in ("simclr_cifar10_sgd", "slurm_simclr_cifar10"):
        text = (RUNS / "configs" / f"{name}.yaml").read_text()
        local = text.replace("submitit_slurm", "submitit_local").replace("    gpus_per_task: 1\n", "")  # SLURM's alone
        (configs / f"{name}.yaml").write_text(local)
    out = tmp_path / "out"
    result = command(
        out, "--config-name=slurm_simclr_cifar10", "--config-path", str(configs), *QUICK, "++log.report=false"
    )
    assert result.returncode == 0, result.stderr
    assert len(submitted(out)) == 1


def test_slurm_launcher_without_slurm_raises(tmp_path):
    if shutil.which("sbatch"):
        pytest.skip("this machine has a SLURM")
    result = command(tmp_path, *QUICK, "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=3")
    assert result.returncode != 0
    assert summaries(tmp_path) == {}
    assert "srun" in result.stderr or "sbatch" in result.stderr or "slurm" in result.stderr.lower()


def test_user_defined_method_is_trained_by_a_job(tmp_path):
    script = tmp_path / "my_idea.py"
    script.write_text(
        "import torch\n"
        "from ssl_core import BaseModel\n"
        "from ssl_launch import launch\n"
        "class MyIdea(BaseModel):\n"
        "    def initialize_modules(self):\n"
        "        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, self.num_classes))\n"
        "    def forward(self, x):\n"
        "        return self.backbone(x)\n"
        "    def compute_loss(self):\n"
        "        return torch.nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])\n"
        "if __name__ == '__main__':\n"
        "    launch(MyIdea)\n"
    )
    quick = ["++optim.epochs=1", "++optim.warmup_epochs=0", "++hardware.num_threads=1", "++log.report=false"]
    result = command(tmp_path / "out", *quick, "hydra/launcher=submitit_local", script=str(script), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    [(name, summary)] = summaries(tmp_path / "out").items()
    assert name.startswith("MyIdea-simclr_affine_digits-")
    assert summary["method"]["class"] == "MyIdea"
    assert summary["method"]["file"] == str(script)  # the class came into the job without its file
    assert summary["status"] == "finished"


@pytest.mark.parametrize(
    "arguments",
    [["optim.lrr=2"], ["model.temprature=2"], ["hydra.launcher.n_job=2"], ["data.dataset=ImageFolder", "data.root=/x"]],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments):
    """In processes. ``error_messages.txt`` has the sentences of many more."""
    result = command(tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_cifar10_without_network_names_the_way_out(tmp_path):
    result = command(tmp_path / "out", "--config-name=simclr_cifar10_sgd", "++data.download=false")
    assert result.returncode == 2
    assert "CIFAR10 is not there" in result.stderr
    assert "SSL_DATA_ROOT" in result.stderr

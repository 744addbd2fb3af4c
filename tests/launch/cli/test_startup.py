"""Help, errors of the command line and reading a run do not import torch, which takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import forked
from ssl_launch import launch
from ssl_launch.cli import main

RUNS = Path(__file__).parents[3] / "runs"
SEVERAL_COMMANDS = """
import contextlib, io, json, runpy, sys

for arguments in json.loads(sys.argv[1]):
    sys.argv = [arguments[0], *arguments[1:]]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(arguments[0], run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    print(json.dumps({"said": said.getvalue(), "code": code, "torch": "torch" in sys.modules}))
"""


def answers(tmp_path, *commands, torch=False):
    """Run several command lines in one process, one after the other: a new one, or a forked one that has imported torch."""
    script = tmp_path / "several_commands.py"
    script.write_text(SEVERAL_COMMANDS)
    words = [str(script), json.dumps(commands)]
    if torch:
        done = forked.run(words, RUNS)
    else:
        done = subprocess.run([sys.executable, *words], cwd=RUNS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_and_configuration_errors_import_no_torch(tmp_path):
    wrong = [
        "optim.lrr=2", "optim.optimizer=Addam", "optim.warmup_epochs=300", "optim.freeze.backbone=0", "optim.patience=3",
        "data.views=simlcr", "data.fraction=0", "hardware.precision=bf17", "log.label_free=[rank]", "model.name=simclrr",
    ]  # fmt: skip
    wrong_protocol = ["eval.drwas=3", "eval.knn=[20,0]", "eval=ful", "checkpoint=3", "++eval.finetune.optimizer=Addam"]
    said = answers(
        tmp_path, ["main.py", "--help"], ["eval.py", "--help"], ["eval.py", "--cfg", "job"],
        *(["main.py", each] for each in wrong), *(["eval.py", "run=configs", each] for each in wrong_protocol),
    )  # fmt: skip
    assert [each["code"] for each in said] == [0] * 3 + [2] * (len(said) - 3)
    assert not any(each["torch"] for each in said)
    for each in said[3:]:
        assert len(each["said"].splitlines()) == 1
    for each in said[:2]:
        assert len(each["said"].splitlines()) <= 24
        assert max(map(len, each["said"].splitlines())) <= 80


def test_file_of_cfg_job_gives_the_same_run(tmp_path):
    [whole] = answers(
        tmp_path, ["main.py", "--cfg", "job", "optim.lr=3", "hydra/launcher=submitit_slurm", "-m"], torch=True
    )
    config = yaml.safe_load(whole["said"])
    assert (config["optim"]["lr"], config["optim"]["momentum"]) == (3.0, 0.9)  # given; a default of the dataclass
    assert config["log"].pop("run") == "simclr_affine_digits-lr=3"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    [again, part] = answers(
        tmp_path, ["main.py", f"--config-dir={tmp_path}", "--config-name=mine", "--cfg=job"],
        ["main.py", "--cfg", "job", "--package", "optim", "optim.lr=3"], torch=True,
    )  # fmt: skip
    read = yaml.safe_load(again["said"])
    assert read["log"].pop("run") == "mine"
    assert read == config
    assert "lr: 3" in part["said"]  # Hydra's own: what was composed of one group


def test_reading_runs_imports_no_torch():
    code = (
        "import sys, ssl_eval.cli, ssl_eval.watch, ssl_eval.runs.live_run, ssl_core.run.load_config, ssl_core.run.folder; "
        "import ssl_launch; "
        "from ssl_eval import RunRecord, find_runs; assert 'torch' not in sys.modules; "
        "import ssl_core, ssl_data\n"
        "for package in (ssl_core, ssl_data, ssl_eval, ssl_launch):\n"
        "    assert dir(package) == sorted(package.__all__)\n"
        "    for name in package.__all__: getattr(package, name)\n"
        "    assert callable(package.launch if package is ssl_launch else print)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_deleted_working_directory_is_one_line(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("PWD", str(gone))
    monkeypatch.setattr(sys, "argv", ["stable-ssl", "ls"])
    gone.rmdir()
    reason = "does not exist (No such file or directory); change to another one with cd"
    line = f"the working directory '{gone}' {reason}\n"
    assert main.main() == 2
    assert capsys.readouterr() == ("", line)
    with pytest.raises(SystemExit) as ended:
        launch()
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", line)

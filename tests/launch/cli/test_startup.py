"""What is answered at once: help, refusals and the reading of a run wait for no torch, which takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def answers(*commands):
    """Run several command lines in one new process, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_COMMANDS, json.dumps(commands)],
        cwd=RUNS, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_and_refusals_import_no_torch():
    refused = {
        "++optim.lrr=2": "did you mean 'optim.lr'?",
        "++model.temprature=2": "did you mean 'model.temperature'?",
        "++model.name=simclrr": "did you mean 'simclr'?",
        "++model.backbone=resnet19": "did you mean 'resnet18'?",
        "++model.backbone=timm/resnet19": "timm has no such model",
        "++model.backbone_options.widht=3": "did you mean 'width'?",
        "++optim.optimizer=Addam": "did you mean 'Adam'?",
        "++optim.warmup_epochs=300": "longer than the run",
        "++optim.freeze.backbone=0": "expected a whole number of epochs",
        "++optim.patience=3": "give optim.monitor",
        "++data.views=simlcr": "data.views='simlcr': expected one of",
        "++data.fraction=0": "expected a number, at most 1 and above 0",
        "++hardware.precision=bf17": "did you mean 'bf16'?",
        "++log.label_free=[rank]": "did you mean 'rankme'?",
    }
    of_a_protocol = {
        "++eval.drwas=3": "did you mean 'eval.draws'?",
        "++eval.draws=0": "eval.draws=0: expected a whole number, at least 1",
        "++eval.knn=[20,0]": "eval.knn=[20, 0]: expected numbers of at least 1",
        "++eval.few=[1.5]": "eval.few=[1.5]: expected whole numbers of labels a class, or shares between 0 and 1",
        "++eval.name=a/b": "eval.name='a/b': expected the name of a file",
        "++eval.finetune.optimizer=Addam": "did you mean 'Adam'?",
        "++eval.finetune.fractions=[0]": "eval.finetune.fractions=[0]: expected shares above 0, at most 1",
        "eval=ful": "did you mean 'full'?",
        "checkpoint=3": "runs/outputs/run': there is no such folder",
    }
    answered = [["main.py", "--help"], ["eval.py", "--help"], ["main.py", "--cfg", "job"], ["eval.py", "--cfg", "job"]]
    said = answers(
        *answered, *(["main.py", each] for each in refused), *(["eval.py", "run=outputs/run", each] for each in of_a_protocol)
    )  # fmt: skip
    assert [each["code"] for each in said] == [0] * 4 + [2] * (len(said) - 4)
    assert not any(each["torch"] for each in said)
    for sentence, each in zip([*refused.values(), *of_a_protocol.values()], said[4:]):
        assert sentence in each["said"]
        assert len(each["said"].splitlines()) == 1
    for each in said[:2]:
        assert len(each["said"].splitlines()) <= 24
        assert max(map(len, each["said"].splitlines())) <= 80


def test_cfg_job_is_the_whole_configuration_and_a_file_of_it_is_the_same_run(tmp_path):
    [whole] = answers(["main.py", "--cfg", "job", "optim.lr=3", "hydra/launcher=submitit_slurm", "-m"])
    config = yaml.safe_load(whole["said"])
    assert (config["optim"]["lr"], config["optim"]["momentum"]) == (3.0, 0.9)  # given; a default of the dataclass
    assert config["log"].pop("run") == "simclr_digits-lr=3"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    [again, part] = answers(
        ["main.py", f"--config-dir={tmp_path}", "--config-name=mine", "--cfg=job"],
        ["main.py", "--cfg", "job", "--package", "optim", "optim.lr=3"],
    )
    read = yaml.safe_load(again["said"])
    assert read["log"].pop("run") == "mine"
    assert read == config
    assert "lr: 3" in part["said"]  # Hydra's own: what was composed of one group


def test_no_shipped_configuration_is_refused():
    names = [path.stem for path in (RUNS / "configs").glob("*.yaml") if path.stem != "evaluation"]
    assert len(names) > 6
    said = answers(*(["main.py", f"--config-name={name}", "--cfg=job"] for name in names))
    assert [each["code"] for each in said] == [0] * len(names), said


def test_reading_runs_imports_no_torch():
    code = (
        "import sys, ssl_eval.cli, ssl_eval.watch, ssl_eval.live_run, ssl_core.run.load_config, ssl_core.run.folder; "
        "import ssl_launch; "
        "from ssl_eval import RunRecord, find_runs; assert 'torch' not in sys.modules; "
        "import ssl_core, ssl_core.methods, ssl_data\n"
        "for package in (ssl_core, ssl_core.methods, ssl_data, ssl_eval, ssl_launch):\n"
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
    reason = "does not exist any more (No such file or directory); change to another one with cd"
    line = f"the working directory '{gone}' {reason}\n"
    assert main.main() == 2
    assert capsys.readouterr() == ("", line)
    with pytest.raises(SystemExit) as ended:
        launch()
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", line)

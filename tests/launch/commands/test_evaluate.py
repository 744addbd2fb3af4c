"""``runs/eval.py``: what it judges, in which jobs, and what it refuses, each in one line."""

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

import forked
from ssl_core import RunFolder
from ssl_core.errors import ConfigError
from ssl_launch.commands.evaluate import OPTIONS, _appearing, _target, name_runs
from ssl_launch.hydra_app.arguments import parse_arguments

RUNS = Path(__file__).parents[3] / "runs"


def run(*words):
    return forked.run(words, RUNS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs on the digits, whose name holds what means something to Hydra, with both checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    made = run(
        "main.py", "++optim.epochs=2", "++optim.max_steps=2", "++log.checkpoint_every=1", "++log.report=false",
        "++model.backbone_options={width: 4}", f"++log.folder={folder}", "++log.run='lr=1,seed=0'",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "lr=1,seed=0"


@pytest.mark.slow
def test_all_checkpoints_are_one_job_each(trained):
    jobs = run(
        "eval.py", f"run={trained.parent}/*", "checkpoint=all", "++eval.few=[2]", "++eval.map_samples=0",
        "hydra/launcher=submitit_local", f"hydra.launcher.submitit_folder={trained.parent.parent}/jobs", "view_samples=20",
    )  # fmt: skip
    assert jobs.returncode == 0, jobs.stderr
    assert len(list(trained.parent.parent.glob("jobs/*_result.pkl"))) == 2
    files = sorted(path.name for path in (trained / "eval").glob("*.json"))
    assert files == ["standard.json", "standard_step_2.json"]
    document = json.loads((trained / "eval" / "standard.json").read_text())
    assert document["settings"]["few"] == [2]
    assert 0.2 < document["metrics"]["linear"] <= 1
    assert document["per_class"]["names"][3] == "3"
    again = run("eval.py", f"run={trained}", "++eval.few=[2]", "++eval.map_samples=0", "view_samples=20")
    assert re.search(r"kNN \(k=20\) +\d+\.\d", again.stdout)
    assert json.loads((trained / "eval" / "standard.json").read_text())["metrics"] == document["metrics"]


@pytest.mark.slow
def test_killed_fine_tuning_resumes_and_reaches_the_probe(trained):
    """On digits; the command is killed (SIGKILL) after a checkpoint of its second run, and goes on there."""
    command = ["eval.py", f"run={trained}", "eval=finetune", "eval.few=[]", "view_samples=0"]
    command += ["eval.linear=true", "++eval.finetune.fractions=[0.1,1.0]", "++eval.finetune.epochs=12"]
    process = forked.Forked(command, RUNS, os.devnull, os.devnull)
    deadline = time.monotonic() + 120
    tuned = trained / "eval" / "fine_tuning"
    while not list(tuned.glob("100_percent_*/checkpoints/*.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (trained / "eval" / "finetune.json").exists()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert "resumed from" in again.stdout
    document = json.loads((trained / "eval" / "finetune.json").read_text())
    assert document["metrics"]["fine_tuning_100_percent"] >= document["metrics"]["linear"]
    assert [each["images"] for each in document["fine_tuning"]] == [141, 1433]
    report = run("stable-ssl", "report", trained)
    assert "fine-tuning, 10 % of labels" in report.stdout
    assert "12 epochs of AdamW, lr 0.001, layer decay 0.75, batch size 64, last epoch" in " ".join(
        report.stdout.split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run={run}", "++eval.finetune.epoch=3"],
            "eval.finetune.epoch: unknown key; did you mean 'eval.finetune.epochs'?",
        ),
        (["run={run}", "eval.dras=3"], "eval.dras: unknown key; did you mean 'eval.draws'?"),
        (["run={run}", "eval=standart"], "eval=standart: no such choice; did you mean 'standard'?"),
        (["run={run}", "eval.draws=many"], "eval.draws='many': expected an integer, at least 1"),
        (
            ["run={run}", "ood=[digits,digits]"],
            "ood='digits': another data set has the name 'digits', too; expected different names",
        ),
        (
            ["run={run}", "ood=FakeData"],
            "ood='fakedata': 'FakeData': its images have 3 bands; expected 1, as those of the model",
        ),
        (["run={run}", "view_samples=-1"], "view_samples=-1: expected an integer, at least 0"),
        ([], "run: name a run, e.g. run=simclr_affine_digits, or a backbone without a run, e.g. backbone=resnet18"),
    ],
)
def test_invalid_settings_are_one_line(trained, arguments, message):
    result = run("eval.py", *(each.format(run=trained) for each in arguments))
    assert (result.returncode, result.stderr.strip()) == (2, message)


def named(*typed):
    """Return whether several jobs evaluate, and the overrides of Hydra."""
    arguments = parse_arguments(typed, OPTIONS)
    name_runs(arguments)
    return arguments.multirun, arguments.overrides


def test_pattern_is_one_job_for_each_run(tmp_path, monkeypatch):
    names = ["a", "b=1,c=2", "it's"]
    for name in names:
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints" / "step_00000001.pt").touch()
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "report").mkdir()
    (tmp_path / "multirun.yaml").touch()
    quoted = [f'"{tmp_path}/{name}"' for name in names]
    assert named("eval=full", f"run={tmp_path}/*") == (True, ["eval=full", f"run={','.join(quoted)}"])
    assert named(f"run={tmp_path}/b=1,c=2") == (False, [f"run={quoted[1]}"])
    assert named("~eval.few", f"{tmp_path}/a") == (False, ["~eval.few", f"run={quoted[0]}"])
    assert named("--watch", f"run={tmp_path}/a") == (False, ["watch=true", f"run={quoted[0]}"])
    multirun, [*_, runs] = named(f"run={tmp_path}/*", "checkpoint=all")
    assert (multirun, runs.count('/checkpoints/step_00000001.pt"')) == (True, 3)
    with pytest.raises(ConfigError, match="no run "):
        named(f"run={tmp_path}/z*")
    with pytest.raises(ConfigError, match="has no checkpoint"):
        named(f"run={tmp_path}/report", "checkpoint=all")
    monkeypatch.chdir(tmp_path)
    assert named("eval=full", "b=1,c=2", "--method", "a b.py:Mine", "it's", "--cfg", "job") == (
        False, ["eval=full", 'method_class="a b.py:Mine"', f"run={quoted[1]}"],
    )  # fmt: skip


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_runs_and_checkpoints_may_have_plus_signs(tmp_path, monkeypatch, capsys, plus):
    monkeypatch.chdir(tmp_path)
    for name in ("outputs/a", "outputs/b", "outputs/new"):
        Path(name, "checkpoints").mkdir(parents=True)
        Path(name, "config.yaml").touch()
    for file in ("a/checkpoints/step_1.pt", "a/checkpoints/step_2.pt", "b/checkpoints/step_1.pt"):
        Path("outputs", file).touch()
    found = parse_arguments([f"{plus}run=[abn]*", f"{plus}checkpoint=all"], OPTIONS)
    name_runs(found)
    steps = [
        tmp_path / "outputs" / f"{name}/checkpoints/step_{step}.pt" for name, step in (("a", 1), ("a", 2), ("b", 1))
    ]
    assert found.overrides == ["run=" + ",".join(f'"{step}"' for step in steps)]
    assert capsys.readouterr().err == "skipped: 'outputs/new' has no checkpoint\n"
    with pytest.raises(ConfigError, match=r"checkpoint='all': expected with a run on the command line"):
        _target("outputs/a", "all")


def test_checkpoint_is_named_by_file_or_step(tmp_path):
    path = tmp_path / "checkpoints" / "step_00000012.pt"
    path.parent.mkdir()
    path.touch()
    for asked in ((str(path), "newest"), (str(tmp_path), 12)):
        folder, found = _target(*asked)
        assert (folder.path, found) == (tmp_path, path)
    assert _target(str(tmp_path), "newest")[1] is None
    for run_, checkpoint, message in (
        (tmp_path, 13, "has no such checkpoint; expected one of 12"),
        (tmp_path, "best", "newest, all or the number"),
        (tmp_path / "other", "newest", "this folder does not exist"),
        (path.with_name("step_00000013.pt"), "newest", "this checkpoint does not exist"),
    ):
        with pytest.raises(ConfigError, match=message):
            _target(str(run_), checkpoint)


def test_watch_yields_each_checkpoint_once(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_launch.commands.evaluate.POLL_SECONDS", 0.01)
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()

    def finish(step):
        path = folder.checkpoints / f"step_{step:08d}.pt"
        path.touch()
        return path

    folder.write_summary({"status": "running"})
    watching = _appearing(folder)
    first = finish(1)
    assert next(watching) == first
    (folder.checkpoints / ".step_00000002.pt.tmp").touch()  # being written
    third = finish(3)
    timer = threading.Timer(0.1, folder.write_summary, [{"status": "finished"}])
    timer.start()
    assert list(watching) == [third]
    timer.join()

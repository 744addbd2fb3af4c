"""Sweeps on this machine: complete command lines, and small stand-in processes that end in every way."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

import forked
from hydra_plugins.ssl_launch_plugin.side_by_side_launcher import SideBySideLauncher
from ssl_core.config import Config
from ssl_core.errors import ConfigError, RunError
from ssl_core.run.folder import RunFolder, plain_config
from ssl_core.run.source_location import load_class, source_of
from ssl_launch import launch
from ssl_launch.hydra_app.override_syntax import check_axes
from ssl_launch.sweep.runner import Sweep, WorkerSlot, sweep_table
from ssl_launch.sweep.sweep_run import SweepRun, merge_duplicates

# A method that waits until its sibling runs as well, and writes the cores that it may use.
METHOD = """
import os, time, torch
from pathlib import Path
from ssl_core import BaseModel
from ssl_launch import launch
from ssl_launch.hydra_app.override_syntax import check_axes

class Idea(BaseModel):
    def initialize_modules(self):
        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, self.num_classes))
    def forward(self, x):
        return self.backbone(x)
    def compute_loss(self):
        return torch.nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])
    def before_train_epoch(self):
        wait = Path(os.environ.get("WAIT_FOR_SIBLINGS", "")).name
        begun, patience = self.run.folder.path.parent, time.monotonic() + 60
        (self.run.folder.path / "cores").write_text(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
        while wait and len(list(begun.glob("*/cores"))) < int(wait):
            assert time.monotonic() < patience, "no other run has started"
            time.sleep(0.05)
    def after_train_step(self):
        time.sleep(float(os.environ.get("SLOW", "0")))

if __name__ == "__main__":
    launch(Idea)
"""
QUICK = [
    "++optim.epochs=1", "++optim.warmup_epochs=0", "++optim.max_steps=4", "++hardware.num_threads=1", "++data.num_workers=1",
    "++log.report=false",
]  # fmt: skip


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "idea.py"
    path.write_text(METHOD)
    return path


def words(script, *arguments):
    return [script, f"++log.folder={out_folder(script)}", *QUICK, *arguments]


def run(script, *arguments, **environment):
    done = forked.run(words(script, *arguments), script.parent, **environment)
    return done.returncode, done.stdout, done.stderr


def out_folder(script):
    return script.parent / "out"


def summary(run_folder):
    return json.loads((run_folder / "summary.json").read_text())


def weights(run_folder):
    import torch

    newest = sorted(run_folder.glob("checkpoints/step_*.pt"))[-1]
    return torch.load(newest, weights_only=True)["model"]


@pytest.mark.slow
def test_runs_side_by_side_and_second_sweep_resumes(script):
    """Two at a time, on separate cores; the third diverges: its error is in its folder and in the table."""
    (script.parent / "configs").mkdir()
    (script.parent / "configs" / "grid.yaml").write_text(
        "defaults: [simclr_digits, _self_]\nhydra: {sweeper: {params: {++optim.lr: '0.1,0.2,1e30'}}}\n"
    )
    arguments = ["--config-name=grid", "hydra.launcher.n_jobs=2"]  # no -m: a grid in a file is a sweep
    code, out, err = run(script, *arguments, WAIT_FOR_SIBLINGS="2")
    assert code == 1, err
    assert err == "1 of 3 runs of the sweep did not finish; see their output.log\n"
    folders = {RunFolder(path).read_config()["optim"]["lr"]: path for path in out_folder(script).glob("*/")}
    assert {lr: summary(path)["status"] for lr, path in folders.items()} == {
        0.1: "finished", 0.2: "finished", 1e30: "failed",
    }  # fmt: skip
    cores = [set((folders[lr] / "cores").read_text().split()) for lr in (0.1, 0.2)]
    if len(os.sched_getaffinity(0)) > 1:
        assert not cores[0] & cores[1]
    assert "loss is " in (folders[1e30] / "output.log").read_text()
    table = out[out.index("3 runs: 2 finished, 1 failed") :]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.startswith("optim.lr=")}
    assert rows["optim.lr=0.1"][0] == "finished"
    assert rows["optim.lr=0.1"][-1].endswith(folders[0.1].name)
    assert float(rows["optim.lr=0.1"][1]) == pytest.approx(
        100 * summary(folders[0.1])["metrics"]["digits/accuracy"], abs=0.051
    )
    assert "optim.lr=1e+30: exit code 4: DivergedError: loss is " in " ".join(table.split())

    before = {lr: (path / "output.log").stat().st_mtime for lr, path in folders.items()}
    code, out, err = run(script, *arguments)
    assert code == 1, err
    assert "3 runs: 2 finished, 1 failed earlier, 0 to do" in out
    assert "started" not in out
    assert {lr: (path / "output.log").stat().st_mtime for lr, path in folders.items()} == before


@pytest.mark.slow
def test_stopped_sweep_resumes_to_the_same_weights(script):
    """SIGTERM to the sweep alone, as a scheduler would send it. Oracle: the run trained alone, bit by bit."""
    arguments = ["++hardware.seed=1", "++log.checkpoint_every_steps=1"]
    errors = script.parent / "errors"
    process = forked.Forked(words(script, "-m", *arguments), script.parent, os.devnull, errors, SLOW="0.7")
    deadline = time.monotonic() + 100
    while not list(out_folder(script).glob("*/checkpoints/step_*1.pt")):
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75, errors.read_text()
    assert "the sweep was stopped by SIGTERM" in errors.read_text()
    [swept] = out_folder(script).glob("*/")
    assert summary(swept)["status"] == "preempted"
    code, out, err = run(script, "-m", *arguments)
    assert code == 0, err
    assert "1 run: 1 finished" in out
    code, _, err = run(script, *arguments, "++log.run=alone")
    assert code == 0, err
    ours, alone = weights(swept), weights(out_folder(script) / "alone")
    assert ours.keys() == alone.keys()
    assert all((ours[name] == alone[name]).all() for name in ours)


@pytest.mark.slow
def test_run_of_a_sweep_with_several_ranks(script):
    code, _, err = run(script, "-m", "++hardware.seed=1", "hydra.launcher.tasks_per_node=2")
    assert code == 0, err
    [swept] = out_folder(script).glob("*/")
    assert summary(swept)["ranks"] == 2
    assert (swept / "output.log").read_text().count("epoch 1: ") == 1  # rank 0 only


@pytest.mark.slow
def test_optuna_maximizes_accuracy_and_resumes(script):
    pytest.importorskip("optuna")
    optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "++optim.lr=tag(log, interval(0.01, 1))"]
    code, out, err = run(script, *optuna, "hydra.launcher.n_jobs=2")
    assert code == 0, err
    best = (out_folder(script) / "optimization_results.yaml").read_text()
    accuracies = [summary(path)["metrics"]["affine_digits/accuracy"] for path in out_folder(script).glob("*/")]
    assert f"best_value: {max(accuracies)}" in best
    code, out, err = run(script, *optuna)
    assert code == 0, err
    assert "2 runs: 2 finished earlier, 0 to do" in out  # the same suggestions: the sampler is seeded


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["++optim.lr=0.1,-3"], {}, "optim.lr=-3: expected a number, at least 0"),
        (["++hardware.seed=range(3,3)"], {}, "++hardware.seed=range(3,3): no value to sweep over"),
        (["++optim.lr=1,2", "++log.run=mine"], {}, "log.run='mine': two runs of the sweep have the same folder"),
        (
            ["++optim.lr=1,2"],
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            "-m: this is one of 2 processes",
        ),
    ],
)
def test_invalid_sweep_is_one_line_and_starts_nothing(tmp_path, monkeypatch, capsys, arguments, environment, line):
    script, out = Path(__file__).parents[3] / "runs" / "main.py", tmp_path / "out"
    monkeypatch.setattr(sys, "argv", [str(script), f"++log.folder={out}", *QUICK, "-m", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        launch()
    err = capsys.readouterr().err
    assert (ended.value.code, err[: len(line)], err.count("\n")) == (2, line, 1)
    assert not list(out.glob("*/"))


# ---- the same without torch: stand-ins that take the command of a run and end in every way
STAND_IN = """
import json, os, signal, sys, time
folder, code = sys.argv[1:3]
print("I am", folder, flush=True)
def stop(number, frame):
    json.dump({"status": "preempted"}, open(folder + "/summary.json", "w"))
    sys.exit({signal.SIGINT: 130}.get(number, 75))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
open(folder + "/up", "w").close()
if code == "wait":
    time.sleep(60)
if code == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if code == "0":
    json.dump({"status": "finished", "metrics": {"train/loss": 0.5, "toy/accuracy": 0.25}}, open(folder + "/summary.json", "w"))
else:
    print("this went wrong", file=sys.stderr)
sys.exit(int(code))
"""


@pytest.fixture
def make_run(tmp_path):
    def make(name, code):
        config = Config(data=object())
        config.log.folder, config.log.run = str(tmp_path / "out"), name
        return SweepRun([str(tmp_path / "out" / name), code], config)

    return make


def stand_ins(tmp_path, n_jobs=1):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    return Sweep([sys.executable, str(tmp_path / "stand_in.py")], WorkerSlot.divide(n_jobs, [], 1))


def test_failed_run_does_not_stop_the_others(tmp_path, make_run, capfd):
    runs = [make_run("a", "0"), make_run("b", "7"), make_run("c", "die"), make_run("d", "0")]
    stand_ins(tmp_path).run(runs)
    assert [each.status for each in runs] == ["finished", "failed", "failed", "finished"]
    assert runs[1].error == "exit code 7: this went wrong"
    assert runs[2].error == "killed by SIGKILL"
    assert (tmp_path / "out" / "b" / "output.log").read_text() == f"I am {tmp_path / 'out' / 'b'}\nthis went wrong\n"
    shown = sweep_table(runs).to_text()
    assert "4 runs: 2 finished, 2 failed" in shown
    assert "toy/accuracy" in shown
    assert "25.0" in shown


def test_only_finished_runs_of_same_configuration_are_skipped(tmp_path, make_run):
    done, other, killed = make_run("done", "0"), make_run("other", "0"), make_run("killed", "0")
    for each, status, lr in ((done, "finished", 0.1), (other, "finished", 0.7), (killed, "running", 0.1)):
        folder = RunFolder(each.folder.path)
        folder.create({**plain_config(each.config), "optim": {**plain_config(each.config)["optim"], "lr": lr}})
        folder.write_summary({"status": status})
        folder.metrics.write_text('{"step": 1}\n')
    stand_ins(tmp_path).run([done, other, killed])
    assert not done.folder.output.exists()
    assert other.folder.output.exists()  # started: it reports the difference
    assert killed.folder.output.exists()


def test_finished_runs_with_changed_code_are_named(tmp_path, make_run, capfd):
    idea = tmp_path / "idea_of_a_sweep.py"
    idea.write_text("class Idea:\n    def f(self):\n        return 1\n")
    done = [make_run("a", "0"), make_run("b", "0")]
    for each in done:
        each.folder.create(plain_config(each.config))
        each.folder.write_summary({"status": "finished", "method": source_of(load_class(f"{idea}:Idea"))})
    stand_ins(tmp_path).run(done)
    assert "has changed" not in capfd.readouterr().out
    idea.write_text("class Idea:\n    def f(self):\n        return 2\n")
    for each in done:
        each.status = "waiting"
    stand_ins(tmp_path).run(done)
    assert f"'{idea}' has changed since 2 of the finished runs were trained; to train them" in capfd.readouterr().out


def test_failed_runs_are_retried_on_request(tmp_path, make_run):
    def failed():
        each = make_run("a", "0")
        each.folder.create(plain_config(each.config))
        each.folder.write_summary({"status": "failed", "error": "it was late"})
        return each

    left, tried = failed(), failed()
    stand_ins(tmp_path).run([left])
    assert left.status == "failed"
    assert left.error == "in an earlier sweep (to retry: hydra.launcher.retry_failed=true): it was late"
    assert not left.folder.output.exists()
    stand_ins(tmp_path).run([tried], retry_failed=True)
    assert (tried.status, tried.error) == ("finished", "")


@pytest.mark.parametrize("before", ["preempted", "failed"])
def test_process_that_ends_early_has_no_earlier_status(tmp_path, make_run, before):
    """It ends before it writes a summary, e.g. because its data is gone; the summary in its folder is an earlier one."""
    run = make_run("a", "3")
    run.folder.create(plain_config(run.config))
    run.folder.write_summary({"status": before, "error": "it was late"})
    stand_ins(tmp_path).run([run], retry_failed=True)
    assert (run.status, run.error) == ("failed", "exit code 3: this went wrong")


def test_run_that_cannot_start_does_not_stop_the_others(tmp_path, make_run, capfd):
    runs = [make_run("a", "0"), make_run("b", "0"), make_run("c", "0")]
    (tmp_path / "out").mkdir()
    runs[1].folder.path.write_text("a file")
    stand_ins(tmp_path).run(runs)
    assert [each.status for each in runs] == ["finished", "failed", "finished"]
    assert runs[1].error == f"it cannot start: File exists: '{runs[1].folder.path}'"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "preempted"), (signal.SIGINT, "interrupted")])
def test_signal_is_forwarded_once_and_no_more_runs_start(tmp_path, make_run, number, status):
    runs = [make_run("a", "wait"), make_run("b", "wait"), make_run("c", "0")]
    sweep = stand_ins(tmp_path, n_jobs=2)

    def send():
        while not all((tmp_path / "out" / name / "up").exists() for name in "ab"):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    before = signal.getsignal(number)
    sweep.run(runs)
    assert sweep.stopped_by == number
    assert [each.status for each in runs] == [status, status, "waiting"]
    assert signal.getsignal(number) == before


def test_slots_divide_cores_and_gpus_without_overlap():
    slots = WorkerSlot.divide(2, ["3", "5", "6", "7"], 2)
    assert [slot.gpus for slot in slots] == [["3", "5"], ["6", "7"]]
    wrapped = WorkerSlot.divide(3, ["0", "1", "2"], 2)  # more than there are: two each all the same
    assert [slot.gpus for slot in wrapped] == [["0", "1"], ["2", "0"], ["1", "2"]]
    shown = ["printenv", "CUDA_VISIBLE_DEVICES"]
    assert slots[1].start(shown, stdout=subprocess.PIPE).communicate()[0] == b"6,7\n"
    [alone] = WorkerSlot.divide(1, [], 1)
    assert (alone.cores, alone.gpus) == ([], [])
    allowed = os.sched_getaffinity(0)
    slots = WorkerSlot.divide(max(2, len(allowed)), [], 1)
    assert {core for slot in slots for core in slot.cores} == allowed
    with slots[0].start(["cat"], stdin=subprocess.PIPE) as process:
        assert os.sched_getaffinity(process.pid) == set(slots[0].cores)
        process.communicate()
    assert os.sched_getaffinity(0) == allowed


def test_different_runs_in_one_folder_are_an_error(tmp_path, make_run):
    other = make_run("a", "1")
    other.config.log.every_steps = 3
    with pytest.raises(ConfigError, match="two runs of the sweep have the same folder"):
        merge_duplicates([make_run("a", "0"), other])
    assert not (tmp_path / "out").exists()


def test_value_drawn_twice_is_trained_once(tmp_path, make_run, capfd):
    runs = merge_duplicates([make_run("a", "0"), make_run("b", "0"), make_run("a", "0")])
    stand_ins(tmp_path, n_jobs=3).run(runs)
    assert [each.job_return(None).return_value for each in runs] == [0.25, 0.25, 0.25]
    assert (tmp_path / "out" / "a" / "output.log").read_text().count("I am") == 1
    assert capfd.readouterr().out.count("started") == 2


@pytest.mark.parametrize("key", ["n_jobs", "tasks_per_node"])
def test_too_many_processes_are_an_error(key):
    launcher = SideBySideLauncher(**{"n_jobs": 1, "tasks_per_node": 1, "retry_failed": False, key: 100_000})
    with pytest.raises(ConfigError, match=f"^hydra.launcher.{key}=100000: expected at most "):
        launcher.launch([], 0)


class Choices:
    """Stand-in for Hydra's loader."""

    def get_group_options(self, group, **_):
        return ["small", "large"] if group == "size" else []


@pytest.mark.parametrize(
    ("axis", "reason"),
    [
        (
            "++hardware.seed=range(3,3)",
            "no value to sweep over; a range includes its start and excludes its stop",
        ),
        ("++optim.lr=range(0,1,-0.1)", "no value to sweep over; a range"),
        ("++hardware.seed=range(0,3,0)", "the step of a range must not be 0"),
        ("++optim.lr=range(0.5,3,0)", "the step of a range must not be 0"),
        ("size=glob(nope*)", "no value to sweep over; the choices are small, large"),
        ("depth=glob(*)", "no value to sweep over; there is no group 'depth'"),
    ],
)
def test_empty_axis_is_named(axis, reason):
    check_axes(["++hardware.seed=range(3)", "size=glob(s*)", "++optim.lr=interval(1,2)", "a=1,2"], Choices())
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{axis}: {reason}')}"):
        check_axes(["++hardware.seed=1,2", axis], Choices())


@pytest.fixture
def search(tmp_path):
    """Return a function that makes Optuna's sweeper, whose launcher returns runs of the given status."""
    pytest.importorskip("optuna")
    optuna_sweeper = pytest.importorskip("hydra_plugins.ssl_launch_plugin.optuna_sweeper")
    import optuna

    def make(run=None, grid=False, **changes):
        sampler = functools.partial(optuna.samplers.GridSampler) if grid else optuna.samplers.RandomSampler(seed=0)
        settings = {"direction": "maximize", "n_trials": 2, "n_jobs": 2, "max_failure_rate": 0.0, "sampler": sampler}
        empty = dict.fromkeys(("storage", "study_name", "search_space", "custom_search_space", "params"))
        sweeper = optuna_sweeper.Search(**{**empty, **settings, **changes})
        sweeper.sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        sweeper.sweeper.hydra_context = object()
        sweeper.sweeper.launcher = SimpleNamespace(
            launch=lambda overrides, initial_job_idx: [
                run.job_return(RunError("2 of 2 runs of the sweep did not finish")) for _ in overrides
            ]
        )
        return sweeper

    return make


@pytest.mark.parametrize(
    ("changes", "axis", "line"),
    [
        ({"direction": "up"}, "a=1,2", "hydra.sweeper.direction=up: expected 'minimize' or 'maximize'"),
        ({"n_trials": 0}, "a=1,2", "hydra.sweeper.n_trials=0: expected a whole number, at least 1"),
        ({"n_jobs": 0}, "a=1,2", "hydra.sweeper.n_jobs=0: expected a whole number, at least 1"),
        ({"max_failure_rate": 2.0}, "a=1,2", "hydra.sweeper.max_failure_rate=2.0: expected a number from 0 to 1"),
        ({}, "a=1", "hydra/sweeper=optuna: no value to search for"),
        ({"grid": True}, "a=interval(0.1,1)", "a=interval(0.1,1): hydra/sweeper/sampler=grid tries every value"),
        ({"grid": True}, "a=tag(log,interval(1,9))", "a=tag(log,interval(1,9)): hydra/sweeper/sampler=grid"),
    ],
)
def test_invalid_search_is_one_line(search, changes, axis, line):
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        search(**changes).sweep([axis])


def test_outcome_of_a_search_is_that_of_its_trials(search, make_run, tmp_path):
    failed, finished = make_run("failed", "1"), make_run("finished", "0")
    failed.status, finished.status = "failed", "finished"
    with pytest.raises(RunError, match="max_failure_rate=0 of a batch failed"):
        search(failed).sweep(["a=1,2"])
    with pytest.raises(RunError, match="none of the 2 trials has finished with a value"):
        search(failed, max_failure_rate=1).sweep(["a=1,2"])
    with pytest.raises(RunError, match="none of the 2 trials has finished with a value"):
        search(finished).sweep(["a=1,2"])  # it has no accuracy
    finished.folder.path.mkdir(parents=True)
    finished.folder.write_summary({"status": "finished", "metrics": {"toy/accuracy": 0.5}})
    search(finished).sweep(["a=1,2"])
    assert "best_value: 0.5" in (tmp_path / "optimization_results.yaml").read_text()

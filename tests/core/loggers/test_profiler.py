"""Where a step's time goes. Oracle: sleeps of known length."""

import json
import re
import time

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ssl_core.evaluation.final_report import fit_and_report
from ssl_core.loggers.profiler import Profiler, shares
from ssl_core.run.folder import RunFolder


def sleepy(method):
    """The same method, asleep 4 ms in the forward pass, 8 ms in the backward pass, 2 ms before a batch."""

    class Sleep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            time.sleep(0.004)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            time.sleep(0.008)
            return gradient

    class Sleepy(method):
        def before_train_step(self):
            super().before_train_step()
            time.sleep(0.002)

        def compute_loss(self):
            terms = super().compute_loss()
            return terms | {"distance": Sleep.apply(terms["distance"])}

    return Sleepy


def rows(text):
    """Phase -> (milliseconds, percent) of a table in Markdown."""
    found = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", text, flags=re.MULTILINE)
    return {phase: (float(ms), float(percent)) for phase, ms, percent in found}


def test_profiled_run_says_where_its_time_went_and_is_the_same_run(make_config, tiny_model, capsys):
    """Table, trace and terminal; weights and metrics as without."""
    plain, profiled = make_config(log__run="plain"), make_config(log__run="profiled", hardware__profile=4)
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: time.sleep(0.006) if isinstance(optimizer, torch.optim.SGD) else None
    )
    try:
        ours = sleepy(tiny_model)(profiled)
        fit_and_report(ours)
    finally:
        handle.remove()
    theirs = tiny_model(plain)
    theirs.fit()
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items())

    folder = RunFolder.of(profiled)
    table = rows(folder.profile.read_text())
    assert set(table) == {*Profiler.PHASES, "all"}
    assert sum(percent for phase, (_, percent) in table.items() if phase != "all") == pytest.approx(100.0, abs=1e-9)
    assert sum(ms for phase, (ms, _) in table.items() if phase != "all") == pytest.approx(table["all"][0], abs=0.01)
    for phase, at_least in (("forward", 4), ("backward", 8), ("optimizer", 6), ("other", 2)):
        assert table[phase][0] >= at_least, phase

    events = json.loads(folder.trace.read_text())["traceEvents"]
    ranges = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert {name: ranges.count(name) for name in Profiler.PHASES} == dict.fromkeys(Profiler.PHASES, 3) | {"other": 6}
    printed = capsys.readouterr().out
    assert str(folder.profile) in printed
    assert str(folder.trace) in printed
    assert not RunFolder.of(plain).profile.exists()


def test_time_between_batches_is_in_no_phase(tmp_path):
    timer = Profiler(RunFolder(tmp_path), 2, torch.device("cpu"))
    for _ in range(Profiler.WARMUP + 2):
        timer.begin("data")
        timer.begin("forward")
        timer.end_batch()
        time.sleep(0.005)
    assert rows((tmp_path / "profile.md").read_text())["all"][0] < 4
    timer.__exit__(ValueError, None, None)  # the run fails: the recording ends, and no trace is written
    assert not (tmp_path / "trace.json").exists()


@pytest.mark.parametrize("batches", [3, Profiler.WARMUP + 1])
def test_short_run_is_profiled_as_far_as_it_goes(tmp_path, batches):
    with Profiler(RunFolder(tmp_path), 100, torch.device("cpu")) as timer:
        for _ in range(batches):
            timer.begin("data")
            timer.end_batch()
    if batches > Profiler.WARMUP:
        assert "Means of 1 batches" in (tmp_path / "profile.md").read_text()
    else:
        assert timer.reports == [f"no profile: the run had {batches} batches, the first 5 are left out"]


def test_each_phase_waits_for_a_gpu_only_while_the_clock_counts(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    timer = Profiler(RunFolder(tmp_path), 1, torch.device("cuda", 0))
    for _ in range(Profiler.WARMUP + 1):
        timer.begin("data")
        timer.end_batch()
    counted = len(waits)
    assert counted
    timer.begin("data")
    timer.end_batch()
    assert len(waits) == counted  # in the trace the device runs on
    off = Profiler(RunFolder(tmp_path), 0, torch.device("cuda", 0))
    off.begin("data")
    off.end_batch()
    assert len(waits) == counted


@pytest.mark.parametrize("values", [[1.0] * 7, [0.0, 1e-9, 3.0], [1 / 3, 1 / 7, 5.0, 0.0]])
def test_rounded_shares_add_up_to_one(values):
    found = shares(values)
    assert round(1000 * sum(found), 6) == 1000
    assert all(abs(share - value / sum(values)) < 0.001 for share, value in zip(found, values))

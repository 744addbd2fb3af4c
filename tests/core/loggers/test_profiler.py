"""Phases of a training step. Oracle: sleeps of known length."""

import contextlib
import json
import re
import time

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ssl_core.loggers.profiler import Profiler
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report


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


def test_profiled_run_has_table_and_trace_and_equals_plain_run(make_config, tiny_model, capsys):
    """Table, trace and terminal; weights and metrics as without."""
    plain, profiled = make_config(log__run="plain"), make_config(log__run="profiled", hardware__profile=3)
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
    assert sum(percent for phase, (_, percent) in table.items() if phase != "all") == pytest.approx(100.0, abs=0.5)
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
    with timer:
        for _ in range(Profiler.WARMUP + 4):
            timer.begin("data")
            timer.begin("forward")
            timer.end_batch()
            time.sleep(0.005)
    assert rows((tmp_path / "profile.md").read_text())["all"][0] < 4


def test_failed_run_writes_no_trace(tmp_path):
    with contextlib.suppress(ValueError), Profiler(RunFolder(tmp_path), 2, torch.device("cpu")) as timer:
        for _ in range(Profiler.WARMUP + 4):
            timer.begin("data")
            timer.end_batch()
        raise ValueError
    assert (tmp_path / "profile.md").exists()
    assert not (tmp_path / "trace.json").exists()


@pytest.mark.parametrize("batches", [3, Profiler.WARMUP + 1])
def test_short_run_is_profiled_to_its_end(tmp_path, batches):
    with Profiler(RunFolder(tmp_path), 100, torch.device("cpu")) as timer:
        for _ in range(batches):
            timer.begin("data")
            timer.end_batch()
    if batches > Profiler.WARMUP:
        assert "Means of 1 batches" in (tmp_path / "profile.md").read_text()
    else:
        assert timer.reports == [f"no profile: the run had {batches} batches, the first 5 are skipped"]


def test_timed_phases_wait_for_a_gpu(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    with Profiler(RunFolder(tmp_path), 1, torch.device("cuda", 0)) as timer:
        for _ in range(Profiler.WARMUP + 3):
            timer.begin("data")
            timer.end_batch()
    assert len(waits) == 2  # before and after the phase of the timed batch
    with Profiler(RunFolder(tmp_path), 0, torch.device("cuda", 0)) as off:
        off.begin("data")
        off.end_batch()
    assert len(waits) == 2

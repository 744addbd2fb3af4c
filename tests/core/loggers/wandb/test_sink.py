"""wandb beside a run. The client and its service are wandb's own; its server is a stand-in on this machine."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ssl_core import ConfigError
from ssl_core.run.folder import RunFolder

pytest.importorskip("wandb")
HERE = Path(__file__).parents[2]

# How a process that is ended begins; the lines of a test follow
SCRIPT = """
import importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location("toy", {here!r} + "/conftest.py")
toy = importlib.util.module_from_spec(spec); sys.modules["toy"] = toy; spec.loader.exec_module(toy)
from ssl_core.errors import Preempted
from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig
def config(mode, run, epochs=3):
    return Config(
        data=toy.ToyData(), model=ModelConfig(name="tiny"), optim=OptimConfig(batch_size=16, epochs=epochs, lr=0.1),
        hardware=HardwareConfig(device="cpu", precision="fp32", num_threads=1),
        log=LogConfig(folder={folder!r}, run=run, every_steps=1, eval_every=1, checkpoint_every=1, report=False,
            progress=False, wandb=mode))
"""


@contextlib.contextmanager
def process(tmp_path, lines, **options):
    code = SCRIPT.format(here=str(HERE), folder=str(tmp_path)) + lines
    with subprocess.Popen([sys.executable, "-c", code], text=True, stdin=subprocess.DEVNULL, **options) as run:
        try:
            yield run
        finally:
            run.kill()


def lines_of(folder):
    """The lines of ``metrics.jsonl`` without the timings."""
    return [
        {name: value for name, value in line.items() if not name.endswith("images_per_second")}
        for line in folder.read_metrics()
    ]


def same_weights(one, other):
    other = other.state_dict()
    return all(torch.equal(value, other[name]) for name, value in one.state_dict().items())


def until(true, seconds=200.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def waits_for(server, tiny_model):
    """The tiny method, but its first epoch takes until the server has been asked something."""

    class Waiting(tiny_model):
        def after_train_epoch(self):
            if self.progress.epoch == 0:
                until(lambda: server.asked)

    return Waiting


@pytest.mark.parametrize(
    ("behaviour", "dies_after"),
    [
        ("status 403", None),
        ("works", ("UpsertBucket", "hangs")),
        ("works", ("file_stream", "status 500")),
    ],
)
def test_failing_server_changes_neither_weights_nor_lines(
    behaviour, dies_after, serve_wandb, make_config, tiny_model, monkeypatch, caplog
):
    monkeypatch.setattr("ssl_core.loggers.wandb.sink.PATIENCE", 0.5)
    plain = tiny_model(make_config(log__run="plain"))
    plain.fit()
    server = serve_wandb(behaviour, dies_after)
    config = make_config(log__wandb="online")
    model = waits_for(server, tiny_model)(config)
    model.fit()
    folder = RunFolder.of(config)
    assert same_weights(plain, model)
    assert lines_of(folder) == lines_of(RunFolder.of(plain.config))
    assert folder.read_summary()["status"] == "finished"
    assert caplog.text.count(f"`stable-ssl sync-wandb {folder.path}` uploads what is missing") == 1


def test_hanging_server_costs_less_than_five_seconds(serve_wandb, tmp_path, monkeypatch):
    """All that the run spends in the sink is counted. Nothing of wandb is in its process, and nothing is left beside it."""
    server = serve_wandb("hangs")
    monkeypatch.setenv("MARK", str(tmp_path))
    script = """
class Interrupted(toy.TinyModel):
    def after_train_epoch(self):
        if self.progress.epoch == 1:
            while not os.path.exists(os.environ["HOME"] + "/asked"):
                time.sleep(0.02)
            os.killpg(0, signal.SIGINT)  # as a terminal does it: to all processes of the session
from ssl_core.loggers.wandb.sink import WandbSink
cost = 0
def timed(method):
    def call(*arguments):
        global cost
        began = time.monotonic()
        method(*arguments)
        cost += time.monotonic() - began
    return call
for name in ("__init__", "log", "close"):
    setattr(WandbSink, name, timed(getattr(WandbSink, name)))
try:
    Interrupted(config("online", "run")).fit()
except Preempted as stopped:
    print(cost, "wandb" in sys.modules)
    sys.exit(stopped.exit_code)
"""
    with process(tmp_path, script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as run:
        until(lambda: server.asked)
        (tmp_path / "asked").touch()
        out, err = run.communicate(timeout=120)
    assert run.returncode == 75, err
    cost, imported = out.split()
    assert float(cost) < 5.0
    assert imported == "False"
    assert (
        "wandb: not confirmed within 3.5 s that everything has arrived" in err
        or "wandb: the server does not answer" in err
    )
    until(lambda: not marked(tmp_path), seconds=20.0)
    folder = RunFolder(tmp_path / "run")
    assert folder.read_summary()["status"] == "preempted"
    assert list(folder.checkpoints.glob("step_*.pt"))


def marked(mark):
    """The processes that were started by a test, by a variable that they inherit."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"MARK={mark}\0".encode() in each.read_bytes():
                found.append(each.parent.name)
    return found


def test_resumed_run_continues_its_wandb_run_exactly(serve_wandb, make_config, tiny_model, monkeypatch):
    """It dies with steps on the server that its checkpoint has not: they are computed, but not sent, again."""
    monkeypatch.setattr("ssl_core.loggers.wandb.sink.PATIENCE", 60.0)
    server = serve_wandb()

    class Showing(tiny_model):
        def after_eval_epoch(self):
            self.log_image("eval/view", torch.rand(3, 8, 8))

    class Dying(Showing):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 7:
                raise RuntimeError("out of memory")

    config = make_config(log__wandb="online", log__checkpoint_every=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        Dying(config).fit()
    (run,) = server.runs.values()
    folder = RunFolder.of(config)
    assert [path.stem for path in folder.checkpoints.glob("*.pt")] == ["step_00000004"]
    assert server.steps() == [1, 2, 3, 4, 5, 6, 7]
    assert run["finished"] == 1
    Showing(config).fit()
    assert len(server.runs) == 1
    assert server.steps() == list(range(1, 13))
    assert run["finished"] == 0
    assert run["files"]["run/config.yaml"] == folder.config.read_bytes()
    assert json.loads(run["files"]["run/summary.json"])["status"] == "finished"
    written = {}
    for line in folder.read_metrics():
        written.setdefault(line["step"], {}).update(line)
    for sent in map(json.loads, run["history"]):
        line = written[sent["_step"]]
        image = {"eval/view"} if sent["_step"] in (4, 8, 12) else set()
        assert {name for name in sent if name[0] != "_"} == (line.keys() - {"step"}) | image
        assert sent["train/loss"] == pytest.approx(line["train/loss"], rel=1e-12)


def test_offline_keeps_the_metrics_once(make_config, tiny_model, monkeypatch):
    monkeypatch.setattr("ssl_core.loggers.wandb.sink.PATIENCE", 60.0)
    config = make_config(log__wandb="offline", optim__epochs=1)
    tiny_model(config).fit()
    tiny_model(
        config
    ).fit()  # resumed: what is kept is written anew, from metrics.jsonl, so that nothing is there twice
    assert len(list(RunFolder.of(config).wandb.glob("offline-run-*/*.wandb"))) == 1


def test_missing_login_raises_before_training(make_config, tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = make_config(log__wandb="online")
    with pytest.raises(ConfigError, match=r"^log.wandb='online': no wandb login was found; run `wandb login`, or .*"):
        tiny_model(config).fit()
    assert not RunFolder.of(config).metrics.exists()


def test_missing_wandb_raises_with_the_key(make_config, tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = make_config(log__wandb="online")
    with pytest.raises(ConfigError, match=r"log.wandb='online': wandb is not installed"):
        tiny_model(config).fit()
    assert not RunFolder.of(config).metrics.exists()

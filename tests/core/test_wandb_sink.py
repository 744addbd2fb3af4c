"""wandb as a listener; offline needs no server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_core import ConfigError
from ssl_core.run_folder import RunFolder

pytest.importorskip("wandb")

SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("toy", {conftest!r})
toy = importlib.util.module_from_spec(spec); sys.modules["toy"] = toy; spec.loader.exec_module(toy)
from ssl_core import Config, HardwareConfig, LogConfig, ModelConfig, OptimConfig
toy.TinyModel(Config(
    data=toy.ToyData(), model=ModelConfig(name="tiny"), optim=OptimConfig(batch_size=16, epochs=1),
    hardware=HardwareConfig(device="cpu", precision="fp32", num_threads=1),
    log=LogConfig(folder={folder!r}, run="run", report=False, progress=False, wandb={mode!r}),
)).fit()
"""


def run(folder, mode, environment=None):
    import os

    conftest = str(Path(__file__).with_name("conftest.py"))
    code = SCRIPT.format(conftest=conftest, folder=str(folder), mode=mode)
    environment = {**os.environ, "HOME": str(folder), **(environment or {})}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


def test_offline_keeps_the_metrics_for_a_later_upload(tmp_path):
    result = run(tmp_path, "offline")
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_a_server_that_cannot_be_reached_is_a_warning_and_the_run_finishes(tmp_path):
    """The server is a port of this machine that nobody listens on."""
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    result = run(tmp_path, "online", nobody)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert "wandb cannot be started" in result.stderr
    assert "the run goes on" in result.stderr


def test_without_wandb_the_key_is_named(make_config, tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = make_config(log__wandb="online")
    with pytest.raises(ConfigError, match=r"log.wandb='online': wandb is not installed"):
        tiny_model(config).fit()
    assert not RunFolder.of(config).metrics.exists()

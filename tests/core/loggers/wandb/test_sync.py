"""``stable-ssl sync-wandb`` as a process; a local server replaces that of wandb."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_core.loggers.wandb.upload import sync
from ssl_core.run.folder import RunFolder
from ssl_core.run.lock import RunLock

pytest.importorskip("wandb")
COMMAND = Path(sys.executable).with_name("stable-ssl")


def stable_ssl(*arguments, **environment):
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def finished(make_config, tiny_model):
    """A run that was made with ``log.wandb=off``."""
    config = make_config()
    tiny_model(config).fit()
    return RunFolder.of(config)


def test_repeated_sync_uploads_a_run_once(serve_wandb, finished, tmp_path):
    server = serve_wandb()
    result = stable_ssl("sync-wandb", finished.path, tmp_path / "r*n", tmp_path)
    (identity,) = server.runs
    assert server.steps() == list(range(1, 13))
    assert server.runs[identity]["finished"] == 0
    assert json.loads(server.runs[identity]["files"]["run/summary.json"])["status"] == "finished"
    assert result.stdout.splitlines() == 2 * [
        f"{finished.path}: all 12 steps have arrived at {server.url}/somebody/stable-ssl/runs/{identity}"
    ]
    assert result.stderr == f"{tmp_path}: not a run folder (config.yaml or metrics.jsonl is missing)\n"
    assert result.returncode == 1


def test_hanging_server_is_one_line_and_next_sync_completes(serve_wandb, finished):
    server = serve_wandb(dies_after=("CreateRunFiles", "hangs"))
    result = stable_ssl("sync-wandb", "--timeout", 1, finished.path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{finished.path}: ")
    assert result.stderr.count("\n") == 1
    server.behaviour, server.dies_after = "works", None
    assert stable_ssl("sync-wandb", finished.path).returncode == 0
    assert server.steps() == list(range(1, 13))


@pytest.mark.parametrize(
    ("environment", "code", "sentence"),
    [
        ({"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}, 2, "the server does not answer: "),
        ({"WANDB_API_KEY": "", "NETRC": "/nowhere"}, 2, "no login was found; run `wandb login`"),
    ],
)
def test_no_server_and_no_login_are_one_line(finished, monkeypatch, tmp_path, environment, code, sentence):
    monkeypatch.setenv("HOME", str(tmp_path))
    result = stable_ssl("sync-wandb", "--timeout", 1, finished.path, finished.path, **environment)
    assert result.returncode == code
    assert result.stderr.startswith(f"{finished.path}: {sentence}")
    assert result.stderr.count("\n") == 1


def test_run_in_progress_is_not_uploaded(finished, capsys):
    """Two processes would upload it: that of the run sends its own steps."""
    with RunLock(finished.lock):
        assert sync([str(finished.path)], timeout=1.0) == 1
    assert capsys.readouterr().err == f"{finished.path}: the run is in progress; rerun this command after its end\n"

"""Runs of wandb, read by its own client from a stand-in for its server."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_eval import write_report
from ssl_eval.cli import main
from ssl_eval.runs.wandb_import import _lines

pytest.importorskip("wandb")
spec = importlib.util.spec_from_file_location(
    "wandb_reading_server", Path(__file__).with_name("wandb_reading_server.py")
)
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)


def history(final, steps=8):
    rows = [
        {"_step": s, "_runtime": 2.0 * s, "_timestamp": 1.7e9, "epoch": s // 4, "train/loss": 5 / s}
        for s in range(1, steps + 1)
    ]
    for row in rows[3::4]:
        row["digits/knn"] = final * row["_step"] / steps
    return rows


def run(name, state="finished", final=0.9, seed=0, lr=0.1, **more):
    return {
        "name": name,
        "state": state,
        "config": {"model": {"name": "simclr"}, "optim": {"lr": lr, "epochs": 2}, "hardware": {"seed": seed}},
        "summary": {"digits/knn": final, "_step": 8, "_runtime": 120.0, "_wandb": {"runtime": 120}},
        "history": history(final),
        **more,
    }


def in_a_process(server, tmp_path, code, key="0" * 40):
    """Run code without a login of this machine, in a process: the client keeps a service process and a session."""
    keep = {name: value for name, value in os.environ.items() if not name.upper().startswith(("WANDB", "NETRC"))}
    environment = {
        **keep,
        "WANDB_BASE_URL": server.url,
        "HOME": str(tmp_path),
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
    }
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **({"WANDB_API_KEY": key} if key else {})}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)


READ = """
from ssl_eval.cli import main
from ssl_eval.runs.wandb_import import as_folders, fetch_again

name = "wandb:somebody/digits"
assert main(["report", name]) == main(["watch", name]) == 0
with as_folders([name]) as (folder,):
    file = folder / "seed0" / "metrics.jsonl"
    whole = file.read_text()
    file.write_text("old")
    fetch_again([(name, folder)])
    print(file.read_text() == whole, sorted(path.name for path in folder.iterdir()))
"""


def test_project_is_reported_on_like_folders(tmp_path):
    """Three seeds on two pages, one that crashed, one with a name that no file may have; beside a folder."""
    runs = [run(f"seed{seed}", final=0.9 + 0.01 * seed, seed=seed) for seed in range(3)]
    runs += [run("../etc/passwd", state="crashed", lr=9.0), run("seed0", lr=3.0, final=0.5, history=[])]
    with stand_in.WandbReadingServer(runs) as server:
        result = in_a_process(server, tmp_path, READ)
    assert result.returncode == 0, result.stderr
    assert server.asked.count("Runs") == 3 * 4  # pages, each time
    assert {"RunHistoryKeys", "HistoryPage"} <= set(server.asked)
    (seeds,) = (line.split() for line in result.stdout.splitlines() if line.startswith("seed*"))
    assert seeds[1:7] == ["0.1", "finished", "3", "91.0", "±", "1.0"]
    assert "failed," in result.stdout
    assert "4 finished, 1 failed" in result.stdout.replace("1 failed, 4 finished", "4 finished, 1 failed")
    assert result.stdout.splitlines()[-1] == "True ['_etc_passwd', 'seed0', 'seed0 (4)', 'seed1', 'seed2']"
    assert (tmp_path / "report" / "index.html").is_file()
    assert (tmp_path / "report" / "learning_curves.png").is_file()
    assert list(tmp_path.glob("**/passwd")) == []


def test_lines_exported_to_parquet_are_read_like_others(tmp_path):
    """The file is pyarrow's (26.0), made of ``history(0.9)``; what the server would give in place of it has another value."""
    code = """
from pathlib import Path
from ssl_eval.runs.wandb_import import fetch

for folder in fetch("wandb:somebody/digits", Path(".")):
    print((folder / "metrics.jsonl").read_text())
"""
    exported = Path(__file__).with_name("wandb_history.parquet").read_bytes()
    with stand_in.WandbReadingServer([run("old", exported=exported, history=history(0.1)), run("new")]) as server:
        result = in_a_process(server, tmp_path, code)
    assert result.returncode == 0, result.stderr
    assert (server.asked.count("/exported/0"), server.asked.count("HistoryPage")) == (1, 1)
    old, new = result.stdout.strip().split("\n\n")
    assert old == new
    assert json.loads(old.splitlines()[-1]) == {"step": 8, "epoch": 2, "digits/knn": 0.9, "train/loss": 0.625}


def test_unreadable_project_is_one_line(tmp_path):
    """A server that does not answer, no login, no such project, a project without runs."""
    code = """
import os
import ssl_eval.runs.wandb_import
from ssl_eval.cli import main
codes = [main(["report", "wandb:somebody/digits"])]
os.environ["WANDB_API_KEY"] = "0" * 40
codes += [main(["report", name]) for name in ("wandb:somebody/nowhere", "wandb:somebody/digits")]
os.environ["WANDB_BASE_URL"] = "http://127.0.0.1:9"  # nobody listens on the port of `discard`
ssl_eval.runs.wandb_import.TIMEOUT_SECONDS = 1
print([*codes, main(["report", "wandb:somebody/digits"])])
"""
    with stand_in.WandbReadingServer([]) as server:
        result = in_a_process(server, tmp_path, code, key=None)
    assert result.stdout.strip() == "[2, 2, 2, 2]", result.stderr
    no_login, no_project, no_run, no_answer = result.stderr.splitlines()
    for line in (no_login, no_answer):
        assert line.startswith("ssl-eval report: 'wandb:somebody/digits' cannot be read: ")
    assert "wandb login" in no_login
    assert no_project.startswith("ssl-eval report: 'wandb:somebody/nowhere' cannot be read: ")
    assert no_run == "ssl-eval report: 'wandb:somebody/digits': the project has no run"
    assert "http://127.0.0.1:9" in no_answer
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("name", ["wandb:", "wandb:project", "wandb:/project", "wandb:a/b/c"])
def test_unknown_name_raises(name, capsys):
    assert main(["report", name]) == 2
    assert capsys.readouterr().err == f"ssl-eval report: '{name}': expected wandb:entity/project\n"


def test_without_wandb_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        write_report(["wandb:somebody/digits"])


def test_lines_of_others_become_ours():
    rows = [
        {"_step": 3, "loss": "NaN", "val_acc": 0.5, "text": "x", "flag": None},
        {"_step": 1, "epoch": 1.7, "train/loss": 2},
        {"_step": 3, "digits/knn": 0.25},
    ]
    first, second = _lines(rows)
    assert first == {"step": 1, "epoch": 1, "train/loss": 2.0}
    assert (second["step"], second["run/val_acc"], second["digits/knn"]) == (3, 0.5, 0.25)
    assert math.isnan(second["train/loss"])
    assert "text" not in second
    json.dumps(second)

"""Provenance of a run: revision, patch, versions, source files; and the differences when it is resumed."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from ssl_core import ConfigError, RunFolder
from ssl_core.methods import method_class
from ssl_core.run.environment import environment, environment_diff
from ssl_core.run.git import git_state, record_code, uncommitted_patch
from ssl_core.run.lock import RunLock, is_worked_in
from ssl_core.run.source_location import changed_code, is_changed, load_class, recorded_class, source_of


def git(*arguments, cwd):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one committed file, in which we stand, and a run folder in it."""
    code = tmp_path / "code"
    (code / "package").mkdir(parents=True)
    (code / "package" / "idea.py").write_bytes(b"x = 1\nname = 'caf\xe9'\n")  # Latin-1: no UTF-8
    git("init", "-q", cwd=code)
    git("add", ".", cwd=code)
    git("commit", "-qm", "first", cwd=code)
    monkeypatch.chdir(code)
    folder = RunFolder(code / "outputs" / "mine")
    folder.path.mkdir(parents=True)
    folder.metrics.write_text("{}\n")
    return code, folder


def test_patch_restores_the_code_of_the_start(repository, tmp_path):
    """Oracle: ``git apply`` in a clone."""
    code, folder = repository
    (code / "package" / "idea.py").write_bytes(b"x = 2\nname = 'caf\xe9'\n")
    (code / "new idea.py").write_text("y = 3\n")
    (code / "weights.bin").write_bytes(bytes(range(256)))
    (code / "large.txt").write_text("a" * 300_000)
    (code / "other outputs" / "run" / "checkpoints").mkdir(parents=True)
    (code / "other outputs" / "run" / "metrics.jsonl").write_text("{}")
    assert record_code(folder, {}) == {"git": git_state()}
    git("clone", "-q", str(code), str(tmp_path / "clone"), cwd=tmp_path)
    git("apply", str(folder.uncommitted), cwd=tmp_path / "clone")
    files = {
        str(path.relative_to(tmp_path / "clone")): path.read_bytes()
        for path in (tmp_path / "clone").rglob("*.*")
        if ".git" not in path.parts and path.is_file()
    }
    assert files == {"package/idea.py": b"x = 2\nname = 'caf\xe9'\n", "new idea.py": b"y = 3\n"}


def test_resume_keeps_the_patch_and_records_another_revision(repository):
    code, folder = repository
    (code / "package" / "idea.py").write_text("x = 2\n")
    before = record_code(folder, {})
    kept = folder.uncommitted.read_bytes()
    assert record_code(folder, before) == before
    assert record_code(folder, {}) == before  # a start that was killed before it had a summary
    git("commit", "-qam", "second", cwd=code)
    again = record_code(folder, before)
    assert again == {**before, "git_resumed": git_state()}
    assert again["git_resumed"]["revision"] != before["git"]["revision"]
    assert folder.uncommitted.read_bytes() == kept


def test_no_patch_without_git_or_changes_or_above_the_limit(repository, tmp_path, monkeypatch):
    code, folder = repository
    assert record_code(folder, {})["git"]["changed"] is True  # outputs/ itself, which git does not know
    assert not folder.uncommitted.exists()
    (code / "package" / "idea.py").write_text("x = 2\n")
    monkeypatch.setattr("ssl_core.run.git.MAX_PATCH_BYTES", 100)
    assert uncommitted_patch(folder.path.parent) == b""
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert record_code(folder, {}) == {"git": {"revision": None, "changed": None}}
    monkeypatch.setenv("PATH", "")
    assert record_code(folder, {}) == {"git": {"revision": None, "changed": None}}
    assert not folder.uncommitted.exists()


def test_environment_diff_names_each_difference(repository, tmp_path):
    code, folder = repository
    here = {**environment(), "git": git_state(), "threads": torch.get_num_threads(), "ranks": 1}
    folder.write_summary(here)
    assert environment_diff(folder, 1) == []
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    def f(self): pass\n")
    mine = source_of(load_class(f"{file}:Mine"))
    file.write_text("class Mine:\n    def f(self): return 1\n")
    other = {
        "versions": {**here["versions"], "torch": "1.0", "gone": "2"}, "processor": "Z80",
        "git": {"revision": "0" * 40, "changed": False}, "threads": 64, "method": mine,
    }  # fmt: skip
    folder.write_summary({**here, **other})
    (code / "package" / "idea.py").write_text("x = 2\n")
    assert environment_diff(folder, 2) == [
        "gone was 2, is None",
        f"torch was 1.0, is {here['versions']['torch']}",
        f"processor was Z80, is {here['processor']}",
        "ranks was 1, is 2",
        f"revision was {'0' * 12}, is {here['git']['revision'][:12]}",
        "changes are uncommitted",
        f"'{file}' has changed",
        f"threads are set to 64 as in the run (here: {torch.get_num_threads()})",
    ]
    folder.summary.unlink()
    assert environment_diff(folder, 1) == []  # a run that has recorded nothing


IDEA = """
import torch
from ssl_core import BaseModel


class MyIdea(BaseModel):
    def initialize_modules(self):
        self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))

    def forward(self, x):
        return self.backbone(x)

    def compute_loss(self):
        return torch.nn.functional.cross_entropy(self.forward(self.data[0][0]), self.data[1])
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A user-defined method: a function that loads it, and one that edits its file."""
    place = tmp_path / "code"
    place.mkdir()
    (place / "idea_of_mine.py").write_text(IDEA)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def load():
        return load_class(f"{place / 'idea_of_mine.py'}:MyIdea")

    def edit():
        path = place / "idea_of_mine.py"
        path.write_text(path.read_text().replace("return ", "return 2 * "))
        os.utime(path, (1, 1))  # Python compares times to see that a compiled module is stale
        return str(path)

    yield load, edit
    sys.modules.pop("idea_of_mine", None)


def test_finished_run_keeps_its_record_when_its_code_changes(edited, make_config, caplog):
    load, edit = edited
    config = make_config(optim__epochs=1)
    load()(config).fit()
    folder = RunFolder.of(config)
    before = folder.summary.read_bytes()
    load()(config).fit()
    assert folder.summary.read_bytes() == before  # nothing was trained
    assert "has changed" not in caplog.text
    path = edit()
    load()(config).fit()
    assert folder.summary.read_bytes() == before
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"the code of MyIdea has changed since this run was trained: '{path}'; the run has finished")
    assert line.endswith("choose another folder with log.run=NAME")
    assert f"'{path}' has changed" in environment_diff(folder, 1)  # what --from-scratch prints


def test_resumed_run_records_the_code_of_each_part(edited, make_config, caplog):
    load, edit = edited
    config = make_config(optim__epochs=3, log__checkpoint_every=1)

    def stop(model):
        if model.progress.epoch == 1:
            raise KeyboardInterrupt

    kind = load()
    kind.after_train_epoch = stop
    with pytest.raises(KeyboardInterrupt):
        kind(config).fit()
    folder = RunFolder.of(config)
    first = folder.read_summary()["method"]
    path = edit()
    kind = load()
    kind.after_train_epoch = lambda model: stop(model) if model.progress.epoch == 2 else None
    kind(config).fit()
    summary = folder.read_summary()
    assert summary["status"] == "finished"
    assert summary["method"] == first
    later = summary["method_resumed"]
    assert later["sha256"] != first["sha256"]
    assert later["step"] > 0
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert f"'{path}'; training continues with the new code, and summary.json records both" in line
    said = environment_diff(folder, 1)
    assert f"'{path}' has changed" in said
    assert f"the method's code had changed at step {later['step']}, in the middle of the run" in said


def test_code_edited_before_first_checkpoint_is_the_record(edited, make_config, caplog):
    """A mistake is corrected before anything was trained."""
    load, edit = edited
    config = make_config(optim__epochs=1)
    kind = load()
    kind.compute_loss = lambda model: 1 / 0
    with pytest.raises(ZeroDivisionError):
        kind(config).fit()
    edit()
    load()(config).fit()
    folder = RunFolder.of(config)
    assert changed_code(folder.read_summary()) == []
    assert "method_resumed" not in folder.read_summary()
    assert "has changed" not in caplog.text


def test_finished_run_with_damaged_checkpoint_trains_again(make_config, tiny_model):
    config = make_config(optim__epochs=2, log__checkpoint_every=1)
    tiny_model(config).fit()
    folder = RunFolder.of(config)
    before = folder.read_summary()
    max(folder.checkpoints.glob("step_*.pt")).write_bytes(b"")
    tiny_model(config).fit()
    after = folder.read_summary()
    assert after["metrics"]["train/loss"] == before["metrics"]["train/loss"]
    assert after["wall_seconds"] > before["wall_seconds"]


def test_recorded_class_is_loaded_from_its_file(tmp_path):
    file = tmp_path / "own" / "idea_of_mine.py"
    file.parent.mkdir()
    file.write_text("class Idea:\n    def f(self):\n        return 5\n")
    record = source_of(load_class(f"{file}:Idea"))
    assert (record["class"], record["file"]) == ("Idea", str(file))
    assert not is_changed(record)
    run = tmp_path / "outputs" / "mine"
    assert recorded_class(record, "method", run)().f() == 5
    assert source_of(method_class("simclr")) == {"class": "ssl_core.methods.simclr.SimCLR"}

    class Local:
        def f(self):
            pass

    for record_, message in (
        (
            {**record, "file": str(tmp_path / "gone.py")},
            r"Idea was defined in '.*gone\.py', which is gone; .*--method FILE\.py:Idea",
        ),
        ({"class": "Idea"}, "was not defined in a file"),
        (source_of(Local), "was not defined in a file"),
        ({**record, "class": "Ideal"}, r"idea_of_mine\.py has no class 'Ideal'"),
    ):
        with pytest.raises(ConfigError, match=message):
            recorded_class(record_, "method", run)
    beside = tmp_path / "own" / "outputs-mine"
    with pytest.raises(ConfigError, match="which came with the run; to run that code, give --method"):
        recorded_class(record, "method", beside)
    if os.getuid() == 0:
        shutil.chown(file, user=65534)
        with pytest.raises(ConfigError, match="which is another user's"):
            recorded_class(record, "method", run)


def test_is_worked_in_looks_the_process_up(tmp_path):
    lock = tmp_path / "run" / ".lock"
    assert is_worked_in(lock) is None  # there is no such run
    with RunLock(lock):
        assert is_worked_in(lock) is True
    assert is_worked_in(lock) is False
    code = (
        f"from pathlib import Path; from ssl_core.run.lock import RunLock\nlock = RunLock(Path({str(lock)!r}))\n"
        "with lock: print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert is_worked_in(lock) is True
        process.kill()
        process.wait()
        assert lock.read_text()  # what a killed process leaves
        assert is_worked_in(lock) is False
    written = lock.read_text().replace(str(process.pid), str(os.getppid()))
    lock.write_text(written)
    assert is_worked_in(lock) is True
    os.utime(lock, (0, 0))  # taken before that process began: its number has been given to another one
    assert is_worked_in(lock) is False
    lock.write_text(written.replace('"host": "', '"host": "another-'))
    assert is_worked_in(lock) is None

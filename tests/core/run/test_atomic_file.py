"""Disks that refuse, really: full, read-only, over a limit, gone. What was there stays, and the same command goes on.

Oracle: a run that nothing happened to. Mounts need root, and are skipped, visibly, where they are refused.
"""

import json
import re
import resource
import shutil
import subprocess

import pytest
import torch

from small_disk import fill, make_room, mount, small_disk
from ssl_core import DiskError, RunFolderError
from ssl_core.checkpoint.store import archive_problem
from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint
from ssl_core.evaluation.feature_cache import extract_features
from ssl_core.run.folder import RunFolder
from ssl_eval import Protocol

AT = 6  # the step before which the disk begins to refuse


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path):
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def outcome(model):
    lines = [json.loads(line) for line in model.run.folder.metrics.read_text().splitlines()]
    for line in lines:
        line.pop("train/images_per_second", None)
    return lines, model.state_dict(), model.optimizer.state_dict()["state"]


def equal(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


@pytest.fixture
def refused_and_resumed(make_config, tiny_model):
    """Return a function: let a run meet a disk that refuses at step 6, look at what it leaves, mend the disk, let it go on."""
    whole = tiny_model(make_config(log__run="whole", log__checkpoint_every_steps=2))
    whole.fit()

    def do(refuse, mend, sentence, **changes):
        config = make_config(log__run="refused", log__checkpoint_every_steps=2, **changes)

        class Refused(tiny_model):
            def before_train_step(self):
                super().before_train_step()
                if self.progress.step == AT and self.progress.batch == AT % 4:
                    refuse()

        with pytest.raises(DiskError, match=sentence) as error:
            Refused(config).fit()
        assert error.value.exit_code == 74
        assert "\n" not in str(error.value)
        mend()
        folder = RunFolder.of(config)
        left = sorted(path.name for path in folder.checkpoints.iterdir())
        assert [name for name in left if name.endswith(".tmp")] == []
        checkpoints = [folder.checkpoints / name for name in left if name.endswith(".pt")]
        assert [path.name for path in checkpoints] == ["step_00000004.pt", "step_00000006.pt"]
        assert [archive_problem(path) for path in checkpoints] == [None, None]
        assert not list(folder.path.glob(".*.tmp"))
        assert all(json.loads(line) for line in folder.metrics.read_text().splitlines())
        resumed = tiny_model(config)
        resumed.fit()
        assert equal(outcome(resumed), outcome(whole))
        return str(error.value)

    return do


@pytest.mark.parametrize("free", [0, 20_000])
def test_full_disk_keeps_the_last_checkpoint(refused_and_resumed, small_disk, free):
    said = refused_and_resumed(
        lambda: fill(small_disk, free),
        lambda: make_room(small_disk),
        r"/refused/checkpoints/step_00000008\.pt' cannot be written: No space left on device \(",
        log__folder=str(small_disk),
    )
    numbers = re.search(r"\(([\d,]+) bytes needed, ([\d,]+) free\)", said).groups()
    needed, there = (int(number.replace(",", "")) for number in numbers)
    assert there < 24_000 < needed < 60_000  # of 3,300 numbers, their momentum, and a probe


def test_file_size_limit_keeps_the_last_checkpoint(refused_and_resumed):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    refused_and_resumed(
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
        r"step_00000008\.pt' cannot be written: .* \([\d,]+ bytes needed, [\d,]+ free",
    )


def test_read_only_folder_raises_disk_error(refused_and_resumed, tmp_path):
    checkpoints = tmp_path / "refused" / "checkpoints"

    def refuse():
        mount("--bind", checkpoints, checkpoints)
        mount("-o", "remount,bind,ro", checkpoints)

    refused_and_resumed(
        refuse,
        lambda: subprocess.run(["umount", checkpoints], check=True),
        r"step_00000008\.pt' cannot be written: .* \([\d,]+ bytes needed",
    )


def test_removed_run_folder_ends_the_run(make_config, tiny_model):
    config = make_config(log__every_steps=3)
    folder = RunFolder.of(config)

    class Removed(tiny_model):
        def before_train_step(self):
            super().before_train_step()
            if self.progress.step == AT:
                shutil.rmtree(folder.path)

    with pytest.raises(
        DiskError, match=r"metrics\.jsonl' cannot be written: it was removed .* \(its folder does not exist\)"
    ):
        Removed(config).fit()
    assert not folder.path.exists()
    unlogged = make_config(log__run="other", log__every_steps=1000, log__eval_every=0, log__checkpoint_every_steps=8)
    folder = RunFolder.of(unlogged)
    with pytest.raises(DiskError, match=r"its folder does not exist"):
        Removed(unlogged).fit()
    assert not folder.path.exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "config.yaml"])
def test_unwritable_file_raises_before_training(make_config, tiny_model, name):
    config = make_config()
    folder = RunFolder.of(config)
    tiny_model(config).fit()
    path = folder.path / name
    path.unlink()
    path.mkdir()
    with pytest.raises((DiskError, RunFolderError), match=rf"{name}'? "):
        tiny_model(config).fit()
    assert not list(folder.path.glob(".*.tmp"))


def test_full_or_read_only_disk_at_start_is_one_sentence(make_config, tiny_model, small_disk):
    config = make_config(log__folder=str(small_disk))
    fill(small_disk)
    with pytest.raises(
        (DiskError, RunFolderError), match=rf"'{small_disk}/run.*cannot be written: No space left on device"
    ):
        tiny_model(config).fit()
    make_room(small_disk)
    mount("-o", "remount,ro", small_disk)
    with pytest.raises(RunFolderError, match=rf"'{small_disk}/run' cannot be written: Read-only file system"):
        tiny_model(config).fit()


@pytest.mark.parametrize("refused", ["features", "hits", "json"])
def test_evaluation_on_full_disk_keeps_old_files(small_disk, make_config, tiny_model, toy_data, refused):
    """The disk has no room left for the features; or, when these are there, for the hits; or for what names the hits."""
    tiny_model(make_config(log__folder=str(small_disk), optim__epochs=1)).fit()
    run = RunFolder(small_disk / "run")
    options = {"method": tiny_model, "data": toy_data}
    protocol = Protocol(few=[2], draws=2, map_samples=500, knn=[5])
    if refused != "features":
        extract_features(run, **options)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    fill(small_disk, 4096 if refused == "json" else 0)
    with pytest.raises(DiskError, match=r"cannot be written: .*No space left on device") as error:
        evaluate_checkpoint(run, protocol, **options)
    assert (error.value.exit_code, "\n" in str(error.value)) == (74, False)
    assert {"features": "features_", "hits": "_hits.npy", "json": "standard.json"}[refused] in str(error.value)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    make_room(small_disk)
    (path,) = evaluate_checkpoint(run, protocol, **options)
    assert json.loads(path.read_text())["metrics"]["knn_5"] > 0

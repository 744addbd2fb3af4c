"""Checkpoints on the disk: atomic, verified, and never code."""

import os

import pytest
import torch

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.errors import CheckpointError, DiskError

CPU = torch.device("cpu")


def state(step):
    return {"weights": torch.full((1000,), float(step)), "step": step}


def test_newest_checkpoint_is_loaded_and_old_ones_are_deleted(tmp_path):
    checkpoints = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 10):
        checkpoints.save(step, state(step))
    loaded, path, damaged = checkpoints.load(CPU)
    assert loaded["step"] == 10
    assert path.name == "step_00000010.pt"
    assert damaged == []
    assert [path.name for path in checkpoints.all()] == ["step_00000002.pt", "step_00000010.pt"]
    assert sorted(os.listdir(tmp_path)) == ["step_00000002.pt", "step_00000010.pt"]


def test_fewer_checkpoints_than_keep_all_stay(tmp_path):
    checkpoints = CheckpointStore(tmp_path, keep=9)
    for step in range(6):
        checkpoints.save(step, state(step))
    assert len(checkpoints.all()) == 6


@pytest.mark.parametrize("place", ["torch.save", "os.fsync", "os.replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_save_of_the_same_step_loses_nothing(tmp_path, monkeypatch, place, moment):
    """As the checkpoint before the last evaluation, which the one after it replaces."""
    checkpoints = CheckpointStore(tmp_path)
    checkpoints.save(7, state(1))
    function = {"torch.save": torch.save, "os.fsync": os.fsync, "os.replace": os.replace}[place]

    def interrupted(*arguments):
        if moment == "after":
            function(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(7, state(2))
    loaded, _, damaged = checkpoints.load(CPU)
    assert damaged == []
    assert loaded["step"] == (2 if (place, moment) == ("os.replace", "after") else 1)
    checkpoints.save(7, state(3))
    assert checkpoints.load(CPU)[0]["step"] == 3


def test_missing_folder_loads_nothing(tmp_path):
    assert CheckpointStore(tmp_path / "not there").load(CPU) is None


DAMAGES = ["0 %", "1 %", "50 %", "99 %", "flip", "zero", "foreign", "not ours"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_is_named_and_skipped(tmp_path, damage):
    checkpoints = CheckpointStore(tmp_path / "ours", identity="ours")
    checkpoints.save(1, state(1))
    newest = checkpoints.save(2, state(2))
    harm(newest, damage, tmp_path)
    loaded, path, damaged = checkpoints.load(CPU)
    assert loaded["step"] == 1
    assert path.name == "step_00000001.pt"
    assert len(damaged) == 1, damaged
    assert "step_00000002.pt" in damaged[0]


def harm(path, damage, folder):
    """Damage a checkpoint as a disk, a copy or a person would."""
    content = bytearray(path.read_bytes())
    if damage == "foreign":  # of another run, intact
        folder.mkdir(exist_ok=True)
        CheckpointStore(folder / "theirs", identity="theirs").save(int(path.stem[5:]), state(2))
        path.write_bytes((folder / "theirs" / path.name).read_bytes())
    elif damage == "not ours":  # a file of torch's, intact
        torch.save([1, 2, 3], path)
    else:
        if damage == "flip":
            content[len(content) // 2] ^= 1
        elif damage == "zero":
            content = bytearray(len(content))
        else:
            del content[len(content) * int(damage.removesuffix(" %")) // 100 :]
        path.write_bytes(content)


@pytest.mark.parametrize("keep", [1, 2])
def test_damaged_checkpoint_does_not_replace_an_intact_one(tmp_path, keep):
    checkpoints = CheckpointStore(tmp_path, keep=keep)
    checkpoints.save(50, state(50))
    CheckpointStore(tmp_path, keep=9).save(100, state(100)).write_bytes(b"")
    assert checkpoints.load(CPU)[0]["step"] == 50
    checkpoints.save(60, state(60))
    assert [path.name for path in checkpoints.all()] == ["step_00000050.pt", "step_00000060.pt"][2 - keep :]
    assert checkpoints.load(CPU)[2] == []


def test_only_damaged_checkpoints_raise(tmp_path):
    checkpoints = CheckpointStore(tmp_path)
    checkpoints.save(1, state(1)).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"step_00000001.pt.*delete the run folder"):
        checkpoints.load(CPU)


def test_flipped_bits_are_found_or_change_nothing(tmp_path):
    """Oracle: the state that was saved. Every 17th bit of the file, which holds headers, padding, pickle and tensors."""
    checkpoints = CheckpointStore(tmp_path)
    path = checkpoints.save(1, {"weights": torch.arange(5.0), "step": 1})
    content, found = path.read_bytes(), 0
    for bit in range(0, 8 * len(content), 17):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            loaded, *_ = checkpoints.load(CPU)
        except CheckpointError:
            found += 1
            continue
        assert torch.equal(loaded["weights"], torch.arange(5.0)), bit
        assert loaded["step"] == 1, bit
    assert found > 100


def test_full_disk_leaves_the_earlier_checkpoint_intact(tmp_path, monkeypatch):
    checkpoints = CheckpointStore(tmp_path)
    checkpoints.save(1, state(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskError, match=r"step_00000002.pt' cannot be written: No space left .*4,000 bytes needed"):
        checkpoints.save(2, state(2))
    assert checkpoints.load(CPU)[0]["step"] == 1
    assert len(os.listdir(tmp_path)) == 1


def test_resume_past_damaged_checkpoint_equals_one_run(make_config, tiny_model, tmp_path, caplog):
    """Oracle: the run that nothing happened to, its weights, momentum and metrics; both checkpoints are named."""

    class Killed(tiny_model):
        def before_train_step(self):
            if self.progress.step == 9:
                raise KeyboardInterrupt
            super().before_train_step()

    def begin(run):
        config = make_config(log__run=run, log__checkpoint_every_steps=4)
        with pytest.raises(KeyboardInterrupt):
            Killed(config).fit()
        return config, sorted((tmp_path / run / "checkpoints").glob("*.pt"))

    whole = tiny_model(make_config(log__run="whole", log__checkpoint_every_steps=4))
    whole.fit()
    for damage in ("flip", "foreign"):
        config, (older, newest) = begin(damage)
        harm(newest, damage, tmp_path / f"{damage} of")
        caplog.clear()
        resumed = tiny_model(config)
        resumed.fit()
        said = [record.getMessage() for record in caplog.records]
        assert any(line.startswith(f"skipped a damaged checkpoint: {newest.name}: ") for line in said), damage
        assert any(line.startswith(f"resumed from {older}: ") for line in said), damage
        for name, weight in whole.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], weight), damage
        ours, theirs = resumed.optimizer.state_dict()["state"], whole.optimizer.state_dict()["state"]
        assert all(torch.equal(ours[name]["momentum_buffer"], theirs[name]["momentum_buffer"]) for name in theirs)
        steps = [line["step"] for line in resumed.run.folder.read_metrics()]
        assert steps == [line["step"] for line in whole.run.folder.read_metrics()]
    config, both = begin("both")
    for path, damage in zip(both, ("zero", "foreign")):
        harm(path, damage, tmp_path / "both of")
    sentence = r"no checkpoint in .* is intact: step_00000008\.pt: of another run .*; step_00000004\.pt: no state "
    with pytest.raises(CheckpointError, match=sentence) as error:
        tiny_model(config).fit()
    assert error.value.exit_code == 3

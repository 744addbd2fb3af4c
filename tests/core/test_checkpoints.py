import hashlib
import os

import pytest
import torch

from ssl_core.checkpoints import Checkpoints
from ssl_core.errors import CheckpointError

CPU = torch.device("cpu")


def state(step):
    return {"weights": torch.full((1000,), float(step)), "step": step}


def test_newest_checkpoint_is_loaded_and_only_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 10):
        checkpoints.save(step, state(step))
    loaded, path, damaged = checkpoints.load(CPU)
    assert loaded["step"] == 10
    assert path.name == "step_00000010.pt"
    assert damaged == []
    assert [path.name for path in checkpoints.all()] == ["step_00000002.pt", "step_00000010.pt"]
    assert sorted(os.listdir(tmp_path)) == [
        "step_00000002.pt", "step_00000002.pt.sha256", "step_00000010.pt", "step_00000010.pt.sha256",
    ]  # fmt: skip


def test_an_empty_folder_gives_nothing(tmp_path):
    assert Checkpoints(tmp_path / "not there").load(CPU) is None


@pytest.mark.parametrize(
    "damage", ["0 %", "1 %", "50 %", "99 %", "flip", "zero", "missing", "foreign", "not ours", "digest"]
)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path / "ours", identity="ours")
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
    content, digest = bytearray(path.read_bytes()), path.with_name(f"{path.name}.sha256")
    if damage == "missing":
        path.unlink()
    elif damage == "digest":
        digest.write_bytes(b"\xff\x00")
    elif damage == "foreign":  # of another run, whole
        Checkpoints(folder / "theirs", identity="theirs").save(2, state(2))
        for name in (path.name, digest.name):
            (path.parent / name).write_bytes((folder / "theirs" / name).read_bytes())
    elif damage == "not ours":  # a file of torch's, whole
        torch.save([1, 2, 3], path)
        digest.write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    else:
        if damage == "flip":
            content[len(content) // 2] ^= 1
        elif damage == "zero":
            content = bytearray(len(content))
        else:
            del content[len(content) * int(damage.removesuffix(" %")) // 100 :]
        path.write_bytes(content)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_checkpoint_does_not_take_the_place_of_a_whole_one(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, keep=keep)
    checkpoints.save(50, state(50))
    Checkpoints(tmp_path, keep=9).save(100, state(100)).write_bytes(b"")
    assert checkpoints.load(CPU)[0]["step"] == 50
    checkpoints.save(60, state(60))
    assert [path.name for path in checkpoints.all()] == ["step_00000050.pt", "step_00000060.pt"][2 - keep :]
    assert checkpoints.load(CPU)[2] == []


def test_only_damaged_checkpoints_are_an_error_never_a_silent_start(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1)).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"step_00000001.pt.*delete the run folder"):
        checkpoints.load(CPU)


def test_a_checkpoint_without_its_digest_was_never_finished(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    torch.save(state(2), tmp_path / "step_00000002.pt")
    assert checkpoints.load(CPU)[0]["step"] == 1


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    """Oracle: pickle itself, which would have run the call."""

    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    path = tmp_path / "step_00000001.pt"
    torch.save({"step": 1, "payload": Call()}, path)
    (tmp_path / "step_00000001.pt.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match=r"step_00000001.pt: no state that is safe to load \(Weights only"):
        Checkpoints(tmp_path).load(CPU)
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"step_00000002.pt.*No space left"):
        checkpoints.save(2, state(2))
    assert checkpoints.load(CPU)[0]["step"] == 1
    assert len(os.listdir(tmp_path)) == 2

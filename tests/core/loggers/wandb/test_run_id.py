"""The id of a wandb run belongs to the folder, not to its path."""

import shutil

from ssl_core.loggers.wandb.upload import wandb_run_id
from ssl_core.run.folder import RunFolder


def folder(path):
    path.mkdir()
    return RunFolder(path)


def test_two_folders_have_two_ids_and_keep_them(tmp_path):
    one, other = folder(tmp_path / "one"), folder(tmp_path / "other")
    assert wandb_run_id(one) != wandb_run_id(other)
    assert wandb_run_id(one) == wandb_run_id(RunFolder(tmp_path / "other" / ".." / "one"))


def test_a_moved_folder_stays_the_same_wandb_run(tmp_path):
    one = folder(tmp_path / "one")
    before = wandb_run_id(one)
    one.path.rename(tmp_path / "moved")
    assert wandb_run_id(RunFolder(tmp_path / "moved")) == before
    shutil.copytree(tmp_path / "moved", tmp_path / "one")  # what is a copy now is the one that says it is elsewhere
    assert wandb_run_id(RunFolder(tmp_path / "moved")) == before


def test_copied_run_is_a_new_wandb_run(tmp_path):
    one = folder(tmp_path / "one")
    before = wandb_run_id(one)
    copy = RunFolder(shutil.copytree(one.path, tmp_path / "copy"))
    after = wandb_run_id(copy)
    assert after != before
    assert (wandb_run_id(one), wandb_run_id(copy)) == (before, after)


def test_a_folder_reached_by_another_path_is_no_copy(tmp_path):
    one = folder(tmp_path / "one")
    before = wandb_run_id(one)
    (tmp_path / "link").symlink_to(one.path)
    assert wandb_run_id(RunFolder(tmp_path / "link")) == before

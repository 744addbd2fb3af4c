"""A run is found by its name, in the working directory or in ``outputs/``."""

import pytest

from ssl_launch.run_path import find_run


def make(folder, *files):
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "files", [["config.yaml", "summary.json"], ["seed0/config.yaml", "seed0/summary.json"]], ids=["run", "sweep"]
)
def test_data_folder_does_not_hide_a_run_of_its_name(here, files):
    make(here / "pets", "train/cat.png")
    make(here / "outputs" / "pets", *files)
    assert find_run("pets") == "outputs/pets"


@pytest.mark.parametrize(
    "files", [["config.yaml", "summary.json"], ["seed0/config.yaml", "seed0/summary.json"]], ids=["run", "sweep"]
)
def test_run_of_the_working_directory_is_first(here, files):
    make(here / "pets", *files)
    make(here / "outputs" / "pets", "config.yaml", "summary.json")
    assert find_run("pets") == "pets"


def test_name_without_a_run_is_returned(here):
    make(here / "pets", "train/cat.png")
    make(here / "outputs" / "pets", "report/index.html")
    (here / "model.pt").touch()
    assert [find_run(name) for name in ("pets", "model.pt", "missing")] == ["pets", "model.pt", "missing"]

"""Jobs of ``hydra.launcher.evaluate`` before submission; test_command_lines.py runs them."""

from types import SimpleNamespace

import pytest
import torch

from ssl_core import Config, LogConfig, OptimConfig
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder, plain_config
from ssl_core.run.load_config import read_config
from ssl_data import DataConfig
from ssl_eval import Protocol
from ssl_launch.slurm import evaluation_jobs
from ssl_launch.slurm.evaluation_jobs import EvaluationJobs, num_checkpoints


@pytest.mark.parametrize(
    ("changes", "epochs", "expected"),
    [
        ({"checkpoint_every": 1, "keep_checkpoints": 3}, 10, 3),
        ({"checkpoint_every": 4, "keep_checkpoints": 9}, 10, 3),  # after epochs 4, 8 and 10
        ({"checkpoint_every": 0}, 10, 1),
        ({"checkpoint_every": 5}, 0, 1),
        ({"checkpoint_every": 0, "checkpoint_every_steps": 7, "keep_checkpoints": 5}, 10, 5),
    ],
)
def test_one_job_for_each_kept_checkpoint(changes, epochs, expected):
    assert num_checkpoints(Config(data=None, optim=OptimConfig(epochs=epochs), log=LogConfig(**changes))) == expected


def test_evaluate_without_training_is_an_error():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.evaluate: this command trains nothing"):
        EvaluationJobs("standard", None, [])


@pytest.mark.parametrize("given", [False, True])
def test_jobs_open_the_data_of_the_run(tmp_path, monkeypatch, given):
    """Also data sets that are Python objects, of ``launch(MyIdea, data=DataConfig.of(...))``: ``config.yaml`` lacks them."""
    images = torch.zeros(12, 3, 8, 8, dtype=torch.uint8), torch.arange(12) % 2
    data = DataConfig.of(train=images, test=images) if given else DataConfig()
    config = Config(data=data, log=LogConfig(folder=str(tmp_path), run="run"))
    RunFolder.of(config).create(plain_config(config))
    submitted = []

    class Jobs:
        number = "7"

        def __init__(self, folder, params):
            pass

        def submit(self, function, arguments):
            submitted.extend(arguments)

    monkeypatch.setattr(evaluation_jobs, "SlurmJobs", Jobs)
    jobs = object.__new__(EvaluationJobs)
    vars(jobs).update(protocol=Protocol(), parts={}, configs=[config], method=None, jobs=[])
    jobs.submit(SimpleNamespace(folder=str(tmp_path), params={}), ["3"])
    *_, sent = submitted[0]
    opened = read_config(RunFolder.of(config), None, sent)[1].data.open(4, 0, 0, 1)
    assert len(opened.evaluation) == 1

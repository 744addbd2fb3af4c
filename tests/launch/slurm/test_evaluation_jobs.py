"""Jobs of ``hydra.launcher.evaluate`` before submission; test_command_lines.py runs them."""

import pytest

from ssl_core import Config, LogConfig, OptimConfig
from ssl_core.errors import ConfigError
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

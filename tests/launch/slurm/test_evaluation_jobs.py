"""The jobs of ``hydra.launcher.evaluate``, before there are any; what they do is in test_slurm_command_lines.py."""

import pytest

from ssl_core import Config, LogConfig, OptimConfig
from ssl_core.errors import ConfigError
from ssl_launch.slurm.evaluation_jobs import EvaluationJobs, checkpoints_kept


@pytest.mark.parametrize(
    ("changes", "epochs", "expected"),
    [
        ({"checkpoint_every": 1, "keep_checkpoints": 3}, 10, 3),
        ({"checkpoint_every": 4, "keep_checkpoints": 9}, 10, 3),  # after 4, 8 and, at the end, 10
        ({"checkpoint_every": 0}, 10, 1),
        ({"checkpoint_every": 5}, 0, 1),
        ({"checkpoint_every": 0, "checkpoint_every_steps": 7, "keep_checkpoints": 5}, 10, 5),
    ],
)
def test_there_is_a_job_for_each_checkpoint_that_will_be_there(changes, epochs, expected):
    assert checkpoints_kept(Config(data=None, optim=OptimConfig(epochs=epochs), log=LogConfig(**changes))) == expected


def test_a_command_that_trains_nothing_has_nothing_to_evaluate_behind_it():
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.evaluate: this command trains nothing"):
        EvaluationJobs("standard", None, [])

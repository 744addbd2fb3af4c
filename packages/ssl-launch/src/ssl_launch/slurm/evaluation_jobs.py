"""Evaluations as jobs that wait for the training: an array for each run, and one job for the report over all of them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import open_dict

from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_launch.commands.evaluate import asked_of
from ssl_launch.slurm import worker
from ssl_launch.slurm.submit import SlurmJobs


class EvaluationJobs:
    """What ``hydra.launcher.evaluate=PROTOCOL`` adds to a training command.

    Each run has an array with a job for each checkpoint that it will keep. It begins when the run has ended well
    (``afterok``), and is cancelled where it has not. The last job writes the report over ``log.folder``, whatever became of
    the others.

    Parameters
    ----------
    protocol : str
        A choice of the group ``eval``: standard, full, finetune, or one's own file.
    loader : ConfigLoader
        Hydra's: it finds the file.
    configs : list of Config
        What is trained.
    method : type, optional
        One's own, of all of them.

    Raises
    ------
    ConfigError
        If the command trains nothing, or the protocol cannot be.
    """

    def __init__(self, protocol: str, loader: Any, configs: Sequence[Config], method: type | None = None) -> None:
        if not configs:
            raise ConfigError(
                "hydra.launcher.evaluate: this command trains nothing; eval=PROTOCOL says how to evaluate"
            )
        composed = loader.load_configuration("evaluation", [f"eval={protocol}"], RunMode.RUN)
        with open_dict(composed):
            del composed["hydra"]
        _, self.protocol, self.fine_tuning, _ = asked_of(composed)
        self.configs = configs
        self.method = method
        self.jobs: list[SlurmJobs] = []

    def submit(self, training: SlurmJobs, behind: Sequence[str | None]) -> None:
        """Submit them all, each behind the job that trains its run; None for a run that has finished before."""
        params = {**training.params, "tasks_per_node": 1, "nodes": 1}
        if params.get("gpus_per_node"):
            params["gpus_per_node"] = 1
        ids = []
        for job, config in zip(behind, self.configs):
            after = SlurmJobs(training.folder, _behind(job and f"afterok:{job}", params, "evaluate"))
            run, count = str(RunFolder.of(config).path.absolute()), checkpoints_kept(config)
            what = (count, self.protocol, self.fine_tuning, self.method, type(config.data))
            after.submit(worker.run, [(evaluate_run, run, number, *what) for number in range(count)])
            self.jobs.append(after)
            ids.append(after.number)
        last = SlurmJobs(training.folder, _behind(f"afterany:{':'.join(ids)}", params, "report"))
        last.submit(worker.run, [(report, str(Path(self.configs[0].log.folder).absolute()))])
        self.jobs.append(last)

    def wait(self, trained: Sequence[bool]) -> None:
        """Wait for the evaluations of the runs that have finished, and for the report.

        Raises
        ------
        JobError
            If one of them has failed.
        """
        waited = [jobs for jobs, finished in zip(self.jobs, trained) if finished]
        ends = [end for jobs in [*waited, self.jobs[-1]] for end in jobs.wait()]
        for end in ends:
            end.return_value  # noqa: B018  # it raises what the job has raised


def checkpoints_kept(config: Config) -> int:
    """Return how many checkpoints a run will have kept at its end, at most."""
    log, epochs = config.log, config.optim.epochs
    if log.checkpoint_every_steps or log.checkpoint_every_minutes:
        return log.keep_checkpoints
    every = math.ceil(epochs / log.checkpoint_every) if log.checkpoint_every else 1
    return max(1, min(log.keep_checkpoints, every))


def evaluate_run(
    run: str, number: int, count: int, protocol: Any, fine_tuning: Any, method: type | None, data: type
) -> None:
    """Judge the checkpoint that is the ``number``-th from the newest; the last of ``count`` jobs takes what is older, too."""
    from ssl_core.checkpoint.store import CheckpointStore
    from ssl_core.evaluation.evaluate_checkpoint import evaluate_checkpoint

    folder = RunFolder(run)
    newest_first = CheckpointStore(folder.checkpoints).all()[::-1]
    mine = newest_first[number:] if number == count - 1 else newest_first[number : number + 1]
    for checkpoint in mine:
        for path in evaluate_checkpoint(folder, protocol, checkpoint, method, data, fine_tuning=fine_tuning):
            print(path, flush=True)


def report(folder: str) -> None:
    """Write the report over a folder of runs, as ``ssl-eval report FOLDER`` does."""
    from ssl_eval.report import write_report

    for path in write_report([folder]).files:
        print(path, flush=True)


def _behind(dependency: str | None, params: dict[str, Any], name: str) -> dict[str, Any]:
    if dependency is None:
        return {**params, "name": name}
    more = {**(params.get("additional_parameters") or {}), "kill-on-invalid-dep": "yes"}
    return {**params, "dependency": dependency, "name": name, "additional_parameters": more}

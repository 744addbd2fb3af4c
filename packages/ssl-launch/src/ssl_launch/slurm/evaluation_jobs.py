"""Evaluation jobs that start after training: an array for each run, and one job for the report on all runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import open_dict

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_eval.report.report import write_report
from ssl_launch.commands import evaluate_run as evaluation
from ssl_launch.commands.evaluate import asked_of
from ssl_launch.slurm import worker
from ssl_launch.slurm.submit import SlurmJobs


class EvaluationJobs:
    """Jobs of ``hydra.launcher.evaluate=PROTOCOL``.

    Each run has an array with one job for each checkpoint that it will keep. The array starts when the run has finished
    (``afterok``) and is cancelled if the run fails. A last job writes the report on ``log.folder`` in every case.

    Parameters
    ----------
    protocol : str
        Choice of the group ``eval``: standard, full, finetune, ... or a user-defined file.
    loader : ConfigLoader
        Hydra's loader; it finds the file.
    configs : list of Config
        The runs that are trained.
    method : type, optional
        User-defined method of all runs.

    Raises
    ------
    ConfigError
        If the command trains nothing, or the protocol is invalid.
    """

    def __init__(self, protocol: str, loader: Any, configs: Sequence[Config], method: type | None = None) -> None:
        if not configs:
            raise ConfigError("hydra.launcher.evaluate: this command trains nothing; use eval=PROTOCOL instead")
        composed = loader.load_configuration("evaluation", [f"eval={protocol}"], RunMode.RUN)
        with open_dict(composed):
            del composed["hydra"]
        _, self.protocol, self.parts, _ = asked_of(composed)
        self.configs = configs
        self.method = method
        self.jobs: list[SlurmJobs] = []

    def submit(self, training: SlurmJobs, job_ids: Sequence[str | None]) -> None:
        """Submit all jobs; ``job_ids`` are the training jobs of the runs, None for a run that has finished earlier."""
        for job_id, config in zip(job_ids, self.configs):
            run, count = str(RunFolder.of(config).path.absolute()), num_checkpoints(config)
            # objects of Python are not in config.yaml; other values come from there, as the job of the training wrote them
            data = config.data if getattr(config.data, "given", None) is not None else type(config.data)
            options = (count, self.protocol, self.parts, self.method, data)
            arguments = [(evaluate_run, run, number, *options) for number in range(count)]
            self._submit(training, "evaluate", job_id and f"afterok:{job_id}", arguments)
        after_all = f"afterany:{':'.join(jobs.number for jobs in self.jobs)}"
        self._submit(training, "report", after_all, [(report, str(Path(self.configs[0].log.folder).absolute()))])

    def _submit(self, training: SlurmJobs, name: str, dependency: str | None, arguments: list[Any]) -> None:
        params = {**training.params, "name": name, "tasks_per_node": 1, "nodes": 1}
        if params.get("gpus_per_node"):
            params["gpus_per_node"] = 1
        if dependency is not None:
            more = {**(params.get("additional_parameters") or {}), "kill-on-invalid-dep": "yes"}
            params |= {"dependency": dependency, "additional_parameters": more}
        self.jobs.append(SlurmJobs(training.folder, params))
        self.jobs[-1].submit(worker.run, arguments)

    def wait(self, finished: Sequence[bool]) -> None:
        """Wait for the evaluations of the finished runs, and for the report; raise the JobError of a failed job."""
        waited = [jobs for jobs, is_finished in zip(self.jobs, finished) if is_finished]
        for result in [result for jobs in [*waited, self.jobs[-1]] for result in jobs.wait()]:
            result.return_value  # noqa: B018  # raises the error of a failed job


def num_checkpoints(config: Config) -> int:
    """Return the largest number of checkpoints that a finished run keeps."""
    log, epochs = config.log, config.optim.epochs
    if log.checkpoint_every_steps or log.checkpoint_every_minutes:
        return log.keep_checkpoints
    written = math.ceil(epochs / log.checkpoint_every) if log.checkpoint_every else 1
    return max(1, min(log.keep_checkpoints, written))


def evaluate_run(
    run: str, number: int, count: int, protocol: Any, parts: dict[str, Any], method: type | None, data: Any
) -> None:
    """Evaluate checkpoint ``number``, counted from the newest; the last of ``count`` jobs evaluates all older ones too."""
    folder = RunFolder(run)
    newest_first = CheckpointStore(folder.checkpoints).all()[::-1]
    for checkpoint in newest_first[number : None if number == count - 1 else number + 1]:
        for path in evaluation.evaluate_run(folder, protocol, checkpoint, parts, method=method, data=data):
            print(path, flush=True)


def report(folder: str) -> None:
    """Write the report on a folder of runs, as ``ssl-eval report FOLDER`` does."""
    for path in write_report([folder]).files:
        print(path, flush=True)

"""``stable-ssl resume RUN``: resume a run, or repeat it, from its folder alone.

The configuration is read; the recorded command is not executed. The folder may have been moved, or come from somebody else;
the command of a job or of a sweep would submit all of it again, and that of a notebook is its kernel.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from ssl_core.distributed.launch_environment import LaunchEnvironment
from ssl_core.errors import ConfigError
from ssl_core.run.environment import MAX_PER_PROCESSOR, environment_diff, num_processors
from ssl_core.run.folder import RunFolder
from ssl_core.run.load_config import read_config
from ssl_core.run.source_location import changed_code, class_of_run
from ssl_eval.runs.run_record import ENDED_WELL


def resume(path: Any, from_scratch: bool = False, method: str | None = None, data: str | None = None) -> None:
    """Resume a run in this process, or train it again in a new folder.

    Parameters
    ----------
    path : str or Path
        The run folder.
    from_scratch : bool
        Whether to train it again, in ``<folder>-again``. That run can be resumed as well.
    method, data : str, optional
        ``FILE.py:Class``, if it is not the one that the run has recorded.

    Raises
    ------
    ConfigError, RunError
        If the folder is not a run, its method cannot be found, or it cannot be resumed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # as training does, through Hydra
    run = RunFolder(Path(path).resolve())
    if not run.config.is_file():
        raise ConfigError(f"'{path}' is not a run: it has no config.yaml; stable-ssl ls lists runs")
    summary = run.read_summary()
    if summary.get("status") in ENDED_WELL and not from_scratch:
        print(
            f"'{path}' has finished: epoch {summary.get('epoch')}, step {summary.get('step')}; --from-scratch trains it "
            f"again{''.join(f', with changed code: {file!r}' for file in changed_code(summary))}",
            flush=True,
        )
        return
    classes = [class_of_run(what, named, summary, run.path) for what, named in (("method", method), ("data", data))]
    kind, config = read_config(run, *classes)
    if os.path.isdir(summary.get("directory", "")):
        os.chdir(summary["directory"])  # relative paths of the configuration and git start there
    if os.environ.get("RANK", "0") == "0":
        differences = environment_diff(run, LaunchEnvironment.read().world_size)
        changes = "; ".join(differences) or "versions, code, processor and threads are unchanged"
        print(f"'{path}': {changes}", file=sys.stderr, flush=True)
    # sums depend on how they are split
    threads = summary.get("threads", config.hardware.num_threads)
    config.hardware.num_threads = min(threads, MAX_PER_PROCESSOR * num_processors())  # the machine may be a smaller one
    if from_scratch:
        config.log.run = f"{run.path.name}-again"
    from ssl_core.training.fit_and_report import fit_and_report

    fit_and_report(kind(config))

"""Train, then write the final report and export the backbone."""

from typing import Any

from ssl_core.checkpoint.export import export_backbone
from ssl_core.errors import warn_on_error
from ssl_core.evaluation.final_report import write_report
from ssl_core.evaluation.run_result import RunResult
from ssl_core.training.session import RunSession


def fit_and_report(model: Any) -> RunResult:
    """Train, then write and print what ``log.report`` and ``log.export`` ask for: what :func:`ssl_launch.launch` does.

    Parameters
    ----------
    model : BaseModel
        An untrained model.

    Returns
    -------
    RunResult
        As :meth:`ssl_core.BaseModel.fit`.
    """
    lines: list[str] = []
    log = model.config.log
    with RunSession(model.config) as session:
        metrics = model.fit_in(session)
        if log.report:
            with warn_on_error("the final report could not be written", "the run itself is finished"):
                lines += write_report(model)
        if log.export and session.distributed.is_main:
            with warn_on_error("the backbone could not be exported", "`stable-ssl export RUN` tries again"):
                lines.append(str(export_backbone(session.folder.path)))
    lines += session.profiler.reports
    if session.distributed.is_main and lines:
        print(*lines, sep="\n", flush=True)
    return metrics

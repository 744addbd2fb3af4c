"""The result of ``fit()``: the last metrics, shown in a notebook as a table and a figure."""

import base64
import json
from html import escape
from typing import Any

from ssl_core.config import Config
from ssl_core.errors import warn_on_error
from ssl_core.evaluation.final_report import write_report
from ssl_core.run.folder import RunFolder
from ssl_eval import Table


class RunResult(dict[str, float]):
    """The last value of every metric of a run, by name: a dict with a display for notebooks.

    In a notebook it is shown as the final table and the learning curves. They are read from the run folder; if
    they are missing there, or older than the newest checkpoint, they are computed when the result is shown.

    Parameters
    ----------
    metrics : dict
        Name -> value, as in ``summary.json``.
    folder : RunFolder
        The run folder.
    method : type
        The class of the model, with ``from_run``.
    config : Config
        The configuration of the run. With ``log.report=False`` only what the folder has is shown.
    """

    def __init__(self, metrics: dict[str, float], folder: RunFolder, method: Any, config: Config) -> None:
        super().__init__(metrics)
        self.folder = folder
        # Not the model: a notebook keeps every result that it has shown, and with it the memory of the GPU
        self._method, self._data, self._device = method, config.data, config.hardware.device
        self._reports = config.log.report

    def _repr_html_(self) -> str:
        """Return table, figure and metrics as HTML. Errors of the report are warnings."""
        parts = []
        with warn_on_error("the final report could not be written or read", "the run itself is finished"):
            if self._reports and self._report_is_outdated():
                self._reports = False  # at most once
                model = self._method.from_run(self.folder.path, data=self._data, device=self._device)
                with model.run:
                    write_report(model)
            if self.folder.table_json.is_file():
                parts.append(Table.from_dict(json.loads(self.folder.table_json.read_text()))._repr_html_())
            if self.folder.curves.is_file():
                png = base64.b64encode(self.folder.curves.read_bytes()).decode()
                parts.append(f'<img src="data:image/png;base64,{png}" alt="Learning curves" style="max-width: 30em">')
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{value:.6g}</td></tr>" for name, value in self.items())
        metrics = f"<table>{rows}</table>"
        parts.append(f"<details><summary>Last metrics</summary>{metrics}</details>" if parts else metrics)
        return "\n".join(parts)

    def __reduce__(self) -> tuple[type, tuple[dict[str, float]]]:
        """Pickle the metrics only, as a plain dict: jobs send their results to the process that submitted them."""
        return dict, (dict(self),)

    def _report_is_outdated(self) -> bool:
        newest = max((path.stat().st_mtime for path in self.folder.checkpoints.glob("step_*.pt")), default=0.0)
        return not self.folder.table_json.is_file() or self.folder.table_json.stat().st_mtime < newest

"""``hydra/sweeper=optuna``: Optuna's sweeper with validated settings and exit codes."""

import functools
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from ssl_core.errors import ConfigError, RunError

try:
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
except ImportError:  # an optional dependency: ssl-launch[optuna]
    pass
else:

    class Search(OptunaSweeper):
        """Search for the run with the best metric. Hydra finds this class by its package."""

        def __init__(self, **settings: Any) -> None:
            self._settings = settings
            super().__init__(
                **{**settings, "max_failure_rate": 0.0}
            )  # checked in sweep: Hydra wraps errors of __init__

        def sweep(self, arguments: list[str]) -> None:
            """Run the trials; raise a RunError if none has a value, or too many have failed."""
            self._check_settings()
            self._check_axes(arguments)
            try:
                super().sweep(arguments)
            except ValueError as error:
                if "No trials are completed" not in str(error):
                    raise
                raise RunError(
                    f"none of the {self.sweeper.n_trials} trials has finished with a value to compare (optim.monitor, else an "
                    "accuracy); the output.log in each folder gives the reason"
                ) from error
            except RunError as error:
                if type(error) is not RunError:
                    raise
                rate = self.sweeper.max_failure_rate
                raise RunError(
                    f"{error}; the search ended because more than hydra.sweeper.max_failure_rate={rate:g} of a batch failed; "
                    "hydra.sweeper.max_failure_rate=1 continues without the trials that fail"
                ) from error

        def _check_settings(self) -> None:
            for key in ("n_trials", "n_jobs"):
                value = self._settings[key]
                if value < 1:
                    raise ConfigError(f"hydra.sweeper.{key}={value}: expected a whole number, at least 1")
            rate = self._settings["max_failure_rate"]
            if not 0 <= rate <= 1:
                raise ConfigError(f"hydra.sweeper.max_failure_rate={rate}: expected a number from 0 to 1")
            direction = getattr(self._settings["direction"], "name", self._settings["direction"])
            if direction not in ("minimize", "maximize"):
                raise ConfigError(f"hydra.sweeper.direction={direction}: expected 'minimize' or 'maximize'")
            self.sweeper.max_failure_rate = rate

        def _check_axes(self, arguments: list[str]) -> None:
            params = self.sweeper._parse_sweeper_params_config()
            parsed = OverridesParser.create().parse_overrides([*params, *arguments])
            axes = [override for override in parsed if override.is_sweep_override()]
            if not axes and not self.sweeper.search_space:
                raise ConfigError(
                    "hydra/sweeper=optuna: no value to search for; give one several values, e.g. "
                    "'optim.lr=tag(log, interval(0.01, 3))'"
                )
            is_grid = isinstance(self.sweeper.sampler, functools.partial)
            for override in axes if is_grid else ():
                value: Any = override.value()
                whole = isinstance(getattr(value, "start", 0), int) and isinstance(getattr(value, "end", 0), int)
                if override.is_interval_sweep() and (not whole or "log" in value.tags):
                    raise ConfigError(
                        f"{override.input_line}: hydra/sweeper/sampler=grid tries every value, and an interval has "
                        "infinitely many; list values, e.g. 0.1,0.3,1, or use hydra/sweeper/sampler=tpe"
                    )

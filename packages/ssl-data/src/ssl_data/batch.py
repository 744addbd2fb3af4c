"""The batch of a loader."""

from typing import Any

# (views, labels, indices), and with ``return_parameters`` a fourth: see ssl_data.Loader
Batch = tuple[Any, ...]

"""The process of a run: global settings of torch and of the log."""

import contextlib
import logging
from collections.abc import Iterator

import torch

from ssl_core.errors import ConfigError


def check_torch_state() -> None:
    """Raise a ConfigError for global settings of torch by the calling script that prevent training."""
    default, device = torch.get_default_dtype(), torch.get_default_device()
    if default != torch.float32:
        raise ConfigError(
            f"hardware.precision: torch.get_default_dtype() is {default}, expected torch.float32; remove "
            "torch.set_default_dtype(...) and choose hardware.precision, e.g. fp64"
        )
    if device.type != "cpu":
        raise ConfigError(
            f"hardware.device: torch.get_default_device() is '{device}', expected 'cpu'; remove torch.set_default_device(...) "
            "and choose hardware.device"
        )
    if not torch.is_grad_enabled():
        raise ConfigError(
            "gradients are disabled by the calling script: a run cannot train under torch.no_grad(), torch.inference_mode() or "
            "torch.set_grad_enabled(False); call fit() outside of it"
        )
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ConfigError(
            "hardware.precision: autocast is enabled by the calling script; call fit() outside of torch.autocast and choose "
            "hardware.precision, e.g. bf16"
        )


@contextlib.contextmanager
def process_settings(num_threads: int | None, level: str, is_main: bool) -> Iterator[None]:
    """Set the number of threads and the level of the log, and restore them at the end: a notebook continues after a run.

    Parameters
    ----------
    num_threads : int or None
        ``hardware.num_threads``; 0 or None: unchanged.
    level : str
        ``log.level``. Rank 0 logs for all ranks; the others log errors only.
    is_main : bool
        Whether this is rank 0.
    """
    logger = logging.getLogger("ssl_core")
    before = torch.get_num_threads(), logger.level
    if num_threads:
        torch.set_num_threads(num_threads)
    logger.setLevel(level.upper() if is_main else logging.ERROR)
    try:
        yield
    finally:
        if num_threads:
            torch.set_num_threads(before[0])
        logger.setLevel(before[1])

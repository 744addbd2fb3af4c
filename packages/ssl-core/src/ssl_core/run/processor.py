"""The processor: its name, and what it can do that makes training fast. Read from Linux; no torch is imported."""

import os
import platform
from functools import cache
from pathlib import Path

from ssl_core.errors import ConfigError

MAX_PER_PROCESSOR = 4  # threads or processes: more of them only wait for one another, and thousands end in a crash
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")  # as /proc/cpuinfo calls them


@cache
def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processor_name() -> str:
    """Return what the processor is called."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_features() -> list[str]:
    """Return those of :data:`FEATURES` that it has."""
    flags = _cpuinfo().get("flags", "").split()
    return [name for name in FEATURES if name in flags]


def num_processors() -> int:
    """Return how many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_parallelism(key: str, value: int) -> None:
    """Raise a ConfigError if ``value`` threads or processes are too many for the processors that this process may use.

    Called where they are started, not where the command is typed: a cluster's login node may have fewer processors.
    """
    processors = num_processors()
    limit = MAX_PER_PROCESSOR * processors
    if value > limit:
        available = "1 processor is" if processors == 1 else f"{processors} processors are"
        raise ConfigError(
            f"{key}={value}: expected at most {limit}, {MAX_PER_PROCESSOR} for each processor ({available} available to this "
            "process)"
        )

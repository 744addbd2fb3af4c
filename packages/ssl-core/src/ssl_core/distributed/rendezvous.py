"""How the ranks of a SLURM step find one another: through a port that the system chose, written to a file they all see.

The main rank opens a store (torch's ``TCPStore``) on a free port and publishes where; the others look for that file. No
port is ever chosen by us, so that none is taken. A file that a killed attempt has left leads nowhere, to a stranger, or to
a store in which this rank has been before: all three are passed over, until the main rank of this attempt has written its.
"""

import json
import secrets
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from ssl_core.errors import RunError
from ssl_core.run.atomic_file import write_atomically

ANSWER_SECONDS = 30.0  # that a published store has to answer in
POLL_SECONDS = 0.05


def create_store(path: Path, rank: int, world_size: int, timeout: timedelta) -> dist.Store:
    """Return a store that all ranks of this attempt share.

    Parameters
    ----------
    path : Path
        The file, in a folder that all ranks see. The main rank removes it when all have come.
    rank, world_size : int
        Who this is, of how many.
    timeout : timedelta
        How long to wait for the others.

    Raises
    ------
    RunError
        If they do not come in time; the main rank names who is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        return _open(path, world_size, timeout)
    last = time.monotonic() + timeout.total_seconds()
    refused = None
    while time.monotonic() < last:
        published = _read(path)
        if published is not None and published != refused:
            store = _join(published, rank)
            if store is not None:
                return store
            refused = published
        time.sleep(POLL_SECONDS)
    raise RunError(f"rank {rank} of {world_size} waited {timeout} for the main rank to write '{path}'; has it started?")


def _open(path: Path, world_size: int, timeout: timedelta) -> dist.Store:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    token = secrets.token_hex(16)
    store.set("token", token)
    write_atomically(path, json.dumps({"host": socket.gethostname(), "port": store.port, "token": token}))
    last = time.monotonic() + timeout.total_seconds()
    missing = list(range(1, world_size))
    while missing and time.monotonic() < last:
        missing = [rank for rank in missing if not store.check([f"rank {rank}"])]
        time.sleep(POLL_SECONDS if missing else 0)
    path.unlink(missing_ok=True)
    if missing:
        raise RunError(f"the main rank waited {timeout} for {_named(missing)} of {world_size}: have they started?")
    return store


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # not there yet, or a file system that shows half of it
        return None


def _join(published: dict, rank: int) -> dist.Store | None:
    """Return the published store if it is there, is the one that was published, and has not seen this rank yet."""
    joined: list[dist.Store] = []
    # TCPStore waits without an end for a stranger who takes the connection and says nothing: let a thread wait instead
    attempt = threading.Thread(target=_try_to_join, args=(published, rank, joined), daemon=True)
    attempt.start()
    attempt.join(ANSWER_SECONDS)
    return joined[0] if joined else None


def _try_to_join(published: dict, rank: int, joined: list[dist.Store]) -> None:
    host = "127.0.0.1" if published["host"] == socket.gethostname() else published["host"]
    answer = timedelta(seconds=ANSWER_SECONDS)
    try:
        socket.create_connection((host, published["port"]), timeout=ANSWER_SECONDS).close()  # TCPStore tries on and on
        store = dist.TCPStore(host, published["port"], wait_for_workers=False, timeout=answer)
        same = store.check(["token"]) and store.get("token").decode() == published["token"]
        if same and store.add(f"rank {rank}", 1) == 1:
            joined.append(store)
    except (OSError, RuntimeError):  # nobody, or somebody else; torch's DistNetworkError is a RuntimeError
        return

"""Rendezvous of the ranks of a SLURM step: the main rank writes its free port to a file in a shared folder.

The main rank opens torch's ``TCPStore`` on a port that the system chooses, so that it is never in use; the others wait for
the file. A file of a killed attempt leads to no server, to an unrelated one, or to a store that this rank has joined before:
such files are ignored until the main rank of this attempt has replaced it.
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

ANSWER_SECONDS = 30.0  # timeout of a published store
POLL_SECONDS = 0.05


def create_store(path: Path, rank: int, world_size: int, timeout: timedelta) -> dist.Store:
    """Return the store that all ranks of this attempt share.

    ``path`` is a file in a folder that all ranks share; the main rank removes it when all ranks have joined. A RunError names
    the ranks that do not join within ``timeout``.
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
    except (OSError, ValueError):  # not there yet, or partly visible on a network file system
        return None


def _join(published: dict, rank: int) -> dist.Store | None:
    """Return the published store if it answers, has the published token, and this rank has not joined it before."""
    joined: list[dist.Store] = []
    # TCPStore has no timeout for a server that accepts the connection and does not answer: wait in a thread
    attempt = threading.Thread(target=_try_to_join, args=(published, rank, joined), daemon=True)
    attempt.start()
    attempt.join(ANSWER_SECONDS)
    return joined[0] if joined else None


def _try_to_join(published: dict, rank: int, joined: list[dist.Store]) -> None:
    host = "127.0.0.1" if published["host"] == socket.gethostname() else published["host"]
    answer = timedelta(seconds=ANSWER_SECONDS)
    try:
        socket.create_connection((host, published["port"]), timeout=ANSWER_SECONDS).close()  # TCPStore would retry
        store = dist.TCPStore(host, published["port"], wait_for_workers=False, timeout=answer)
        same = store.check(["token"]) and store.get("token").decode() == published["token"]
        if same and store.add(f"rank {rank}", 1) == 1:
            joined.append(store)
    except (OSError, RuntimeError):  # no server, or an unrelated one; torch's DistNetworkError is a RuntimeError
        return

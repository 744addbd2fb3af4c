"""Ranks that meet through a file, as threads of one process."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from ssl_core.distributed import rendezvous
from ssl_core.distributed.rendezvous import create_store
from ssl_core.errors import RunError

SECONDS = timedelta(seconds=20)


def meet_all(path, world_size=3):
    """Return the stores of all ranks; the main one comes last."""
    with ThreadPoolExecutor(world_size) as pool:
        others = [pool.submit(create_store, path, rank, world_size, SECONDS) for rank in range(1, world_size)]
        time.sleep(0.2)
        return [create_store(path, 0, world_size, SECONDS), *(other.result() for other in others)]


def write(path, port, token="old"):
    path.write_text(json.dumps({"host": socket.gethostname(), "port": port, "token": token}))


def assert_met(stores, path):
    stores[0].set("word", "here")
    assert all(store.get("word") == b"here" for store in stores)
    assert not path.exists()


def test_ranks_share_a_store_and_leave_no_file(tmp_path):
    path = tmp_path / "runs" / "meeting"
    assert_met(meet_all(path), path)


def test_file_without_server_is_ignored(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write(tmp_path / "meeting", port)
    assert_met(meet_all(tmp_path / "meeting"), tmp_path / "meeting")


def test_truncated_file_is_ignored(tmp_path):
    (tmp_path / "meeting").write_text('{"host": ')
    assert_met(meet_all(tmp_path / "meeting"), tmp_path / "meeting")


def test_unrelated_server_is_ignored(tmp_path, monkeypatch):
    """A server that takes every connection and never says a word."""
    monkeypatch.setattr(rendezvous, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        acceptor = threading.Thread(target=_accept_all, args=(stranger,), daemon=True)
        acceptor.start()
        write(tmp_path / "meeting", stranger.getsockname()[1])
        assert_met(meet_all(tmp_path / "meeting"), tmp_path / "meeting")
        stranger.shutdown(socket.SHUT_RDWR)
    acceptor.join()


def _accept_all(server):
    with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
        while True:
            taken.enter_context(server.accept()[0])


def test_store_of_another_run_is_ignored(tmp_path):
    other = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    other.set("token", "another")
    write(tmp_path / "meeting", other.port)
    assert_met(meet_all(tmp_path / "meeting"), tmp_path / "meeting")


def test_store_of_earlier_attempt_is_ignored(tmp_path):
    """The main rank of the attempt before is still dying, and its file is there."""
    before = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    before.set("token", "old")
    before.add("rank 1", 1), before.add("rank 2", 1)
    write(tmp_path / "meeting", before.port)
    stores = meet_all(tmp_path / "meeting")
    assert_met(stores, tmp_path / "meeting")
    assert not before.check(["word"])


def test_concurrent_rendezvous_use_different_ports(tmp_path):
    stores = [create_store(tmp_path / name, 0, 1, SECONDS) for name in "abc"]
    assert len({store.port for store in stores}) == 3


def test_missing_ranks_are_named(tmp_path):
    with pytest.raises(RunError, match=r"waited 0:00:00.200000 for ranks 1, 2 of 3"):
        create_store(tmp_path / "meeting", 0, 3, timedelta(seconds=0.2))
    with pytest.raises(RunError, match=r"rank 1 of 3 waited 0:00:00.200000 for the main rank"):
        create_store(tmp_path / "meeting", 1, 3, timedelta(seconds=0.2))

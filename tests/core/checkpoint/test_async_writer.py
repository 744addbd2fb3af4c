"""Checkpoints that are written in the background."""

import threading
from concurrent.futures import wait

import pytest
import torch

from ssl_core import RunFolder
from ssl_core.checkpoint.async_writer import CheckpointWriter, copy_to_cpu
from ssl_core.errors import CheckpointError, Preempted


class Slow:
    """Checkpoints that are written when they are let, and may be refused."""

    def __init__(self):
        self.go = threading.Event()
        self.written = []
        self.refused = False

    def save(self, step, state):
        assert self.go.wait(20)
        if self.refused:
            raise CheckpointError("the disk is full")
        self.written.append((step, state))


def test_background_checkpoint_holds_the_state_at_its_step():
    slow, weight = Slow(), torch.zeros(3)
    with CheckpointWriter(slow, background=True) as writer:
        writer.save(1, {"model": {"weight": weight}, "steps": [1, 2]})
        weight += 1  # training goes on
        assert slow.written == []
        slow.go.set()
    [(step, state)] = slow.written  # the end waits for it
    assert (step, state["steps"]) == (1, [1, 2])
    assert torch.equal(state["model"]["weight"], torch.zeros(3))


def test_next_checkpoint_waits_for_the_one_before():
    slow = Slow()
    with CheckpointWriter(slow, background=True) as writer:
        writer.save(1, {})
        threading.Timer(0.05, slow.go.set).start()
        writer.save(2, {})
        assert slow.written[0][0] == 1
    assert [step for step, _ in slow.written] == [1, 2]


def write(error=None, look=False):
    """Have one refused, then look at it, or end with an error."""
    slow = Slow()
    slow.refused = True
    slow.go.set()
    with CheckpointWriter(slow, background=True) as writer:
        writer.save(1, {})
        if look:
            wait([writer._pending])
            writer.raise_if_failed()
            pytest.fail("it was not raised at the step")
        if error is not None:
            raise error


def test_failed_background_checkpoint_raises():
    with pytest.raises(CheckpointError, match="the disk is full"):
        write(look=True)
    with pytest.raises(CheckpointError, match="the disk is full"):
        write()
    with pytest.raises(CheckpointError, match="the disk is full"):
        write(Preempted("saved"))  # which it is not
    with pytest.raises(ZeroDivisionError):
        write(ZeroDivisionError())  # somebody's bug is what is reported


def test_copies_have_the_same_strides_and_values():
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    state = {"a": [image, image.half()], "b": (torch.tensor(3), "word", None, 1.5)}
    copy = copy_to_cpu(state)
    assert copy["a"][0].stride() == image.stride()
    assert copy["a"][0].data_ptr() != image.data_ptr()
    assert all(torch.equal(x, y) for x, y in zip(copy["a"], state["a"]))
    assert copy["b"] == state["b"]


def test_background_and_foreground_checkpoints_are_equal(make_config, tiny_model):
    contents = []
    for name, background in (("front", False), ("back", True)):
        config = make_config(
            log__run=name,
            log__checkpoint_in_background=background,
            log__checkpoint_every_steps=1,
            log__keep_checkpoints=99,
        )
        tiny_model(config).fit()
        states = [torch.load(path, weights_only=True) for path in sorted(RunFolder.of(config).checkpoints.glob("*.pt"))]
        for state in states:
            for values in (state["logger"]["last"], state["logger"]["line"]):
                values.pop("train/images_per_second")
            state["logger"].pop("bytes")
        contents.append(states)
        assert len(states) == 12
    for front, back in zip(*contents):
        torch.testing.assert_close(back["model"], front["model"], rtol=0, atol=0)
        for part in ("progress", "optimizer", "probes", "logger", "early_stopping", "collapse"):
            assert repr(flat(back[part])) == repr(flat(front[part])), part


def flat(state):
    """Return everything in a nest, tensors as lists of numbers."""
    if isinstance(state, torch.Tensor):
        return state.dtype, state.tolist()
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    return [flat(value) for value in state] if isinstance(state, list | tuple) else state

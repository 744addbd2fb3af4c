"""Malicious checkpoints, and checkpoints of another form: no reader of a run folder loads one.

Oracle: pickle itself. Each forged file is first loaded by ``torch.load(weights_only=False)``, and must run its code.
"""

import builtins
import codecs
import functools
import importlib
import io
import itertools
import operator
import os
import pickle
import posix
import shutil
import subprocess
import timeit
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from ssl_core import CheckpointError
from ssl_core.checkpoint.store import read_state
from ssl_core.diagnostics.replay import replay
from ssl_core.run.folder import RunFolder


class Call:
    """Pickled as a call: ``Call(f, *arguments)`` is ``f(*arguments)`` when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Never: pickle wants whatever it calls to be callable, and what this one loads as is."""


class Restored:
    """Does what it was told when its state is set."""

    def __init__(self, command):
        self.command = command

    def __setstate__(self, state):
        os.system(state["command"])


def payloads(touch, code):
    """Objects whose loading runs ``touch`` in a shell, or ``code`` in Python."""
    return {
        "os.system": Call(os.system, touch),
        "posix.system": Call(posix.system, touch),
        "subprocess.call": Call(subprocess.call, ["sh", "-c", touch]),
        "subprocess.check_output": Call(subprocess.check_output, ["sh", "-c", touch]),
        "subprocess.run": Call(subprocess.run, ["sh", "-c", touch]),
        "builtins.eval": Call(builtins.eval, code),
        "builtins.exec": Call(builtins.exec, code),
        "builtins.getattr": Call(Call(getattr, Call(__import__, "os"), "system"), touch),
        "operator.attrgetter": Call(Call(operator.attrgetter("system"), Call(__import__, "os")), touch),
        "operator.methodcaller": Call(operator.methodcaller("system", touch), Call(__import__, "os")),
        "functools.partial": Call(functools.partial(os.system, touch)),
        "itertools.starmap": Call(list, Call(itertools.starmap, os.system, [(touch,)])),
        "importlib": Call(Call(getattr, Call(importlib.import_module, "os"), "system"), touch),
        "codecs": Call(builtins.eval, Call(codecs.decode, codecs.encode(code, "rot13"), "rot13")),
        "builtins.map": Call(list, Call(map, os.system, [touch])),
        "shutil": Call(shutil.copyfile, "/dev/null", touch.split()[1]),
        "timeit": Call(timeit.timeit, code, "pass", timeit.default_timer, 1),
        "torch's own loader": Call(torch.storage._load_from_bytes, saved(Call(os.system, touch))),
        "__setstate__": Restored(touch),
    }  # fmt: skip


def saved(value, **options):
    """Return what ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def forged(state, touch, code):
    """Return name -> bytes of a checkpoint file: each payload within a state that is right otherwise, and in other places."""
    files = {}
    for name, payload in payloads(touch, code).items():
        files[name] = saved({**state, "payload": payload})
    call = Call(os.system, touch)
    nested = {
        "in place of the state": call,
        "as a key": {**state, "logger": {frozenset([call]): 1}},
        "in a list of a dict": {**state, "logger": {**state["logger"], "last": {"loss": [[{"deep": call}]]}}},
        "in an OrderedDict": {**state, "model": OrderedDict([*state["model"].items(), ("payload", call)])},
        "in place of a weight": {**state, "model": {**state["model"], "head.bias": call}},
        "in a parameter's attributes": {**state, "model": {**state["model"], "head.bias": _with_attribute(call)}},
        "in an array of objects": {**state, "model": {**state["model"], "head.bias": np.array([call], dtype=object)}},
        "in the optimizer": {**state, "optimizer": {**state["optimizer"], "state": {0: {"momentum_buffer": call}}}},
    }  # fmt: skip
    files |= {name: saved(value) for name, value in nested.items()}
    files["the legacy format"] = saved({**state, "payload": call}, _use_new_zipfile_serialization=False)
    files["a bare pickle"] = pickle.dumps({**state, "payload": call})
    files["two pickles in one archive"] = _with_second_pickle(saved(state), pickle.dumps(call))
    files["protocol 4"] = saved({**state, "payload": call}, pickle_protocol=4)
    return files


def _with_attribute(call):
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.payload = call
    return parameter


def _with_second_pickle(archive, pickled):
    """Return an archive with another ``data.pkl`` before the one that it has."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(file, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            target.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else content)
            target.writestr(f"{entry.filename}.pkl", pickled)
    return file.getvalue()


def harmless(state):
    """Return name -> (state, what is said of it): nothing in them runs, and none is a state of this run."""
    model, progress = state["model"], state["progress"]
    group = state["optimizer"]["param_groups"][0]

    def with_model(**changes):
        return {**state, "model": {**model, **changes}}

    return {
        "another shape": (with_model(**{"head.bias": torch.zeros(5)}),
                          r"model\.head\.bias: expected a tensor \(4,\) float32, found a tensor \(5,\) float32"),
        "another dtype": (with_model(**{"head.bias": torch.zeros(4, dtype=torch.int64)}),
                          r"model\.head\.bias: expected a tensor \(4,\) float32, found a tensor \(4,\) int64"),
        "no tensor": (with_model(**{"head.bias": 0.0}), r"model\.head\.bias: expected a tensor .*, found a number"),
        "a foreign weight": (with_model(foreign=torch.zeros(1)), "model has an unexpected 'foreign'"),
        "no weights": ({**state, "model": {}}, r"model has no 'backbone\.1\.bias', has no "),
        "no optimizer": ({key: value for key, value in state.items() if key != "optimizer"}, "the state has no 'optimizer'"),
        "another key": ({**state, "hook": "os.system"}, "the state has an unexpected 'hook'"),
        "a word for a step": ({**state, "progress": {**progress, "step": "os.system"}},
                              r"progress\.step: expected a number, found 'os\.system'"),
        "a list for a dict": ({**state, "progress": [1, 2]}, "progress: expected a dict, found a list of 2"),
        "another group": ({**state, "optimizer": {**state["optimizer"], "param_groups": [group] * 7}},
                          r"optimizer\.param_groups: expected a list of \d, found a list of 7"),
        "a tensor for all": (torch.zeros(3), "of another format"),
    }  # fmt: skip


@pytest.fixture
def readers(make_config, tiny_model, toy_data, monkeypatch):
    """Return name -> (the only checkpoint of a run, what reads it); the run to resume stands after step 4 of 12."""

    class Interrupted(tiny_model):
        def before_train_step(self):
            super().before_train_step()
            if self.progress.step == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr("ssl_core.run.git.git_state", dict)  # two processes a run, of a hundred runs
    found = {}
    resumed = make_config(log__run="resumption", log__checkpoint_every_steps=4, log__keep_checkpoints=1)
    judged = make_config(log__run="evaluation", optim__epochs=0)  # a run of no epochs only evaluates
    with pytest.raises(KeyboardInterrupt):
        Interrupted(resumed).fit()
    tiny_model(judged).fit()
    for name, config, read in (
        ("replay", resumed, lambda: replay(tiny_model, RunFolder.of(resumed).path, 4, toy_data)),
        ("evaluation", judged, lambda: tiny_model(judged).fit()),
        ("resumption", resumed, lambda: tiny_model(resumed).fit()),
    ):
        [path] = RunFolder.of(config).checkpoints.glob("*.pt")
        found[name] = path, read
    return found


def test_code_in_a_checkpoint_is_never_run(readers, tmp_path):
    """Every attack on a replay, which is an attack for pickle, and some on the other readers."""
    marker = tmp_path / "executed"
    touch, code = f"touch {marker}", f"__import__('pathlib').Path({str(marker)!r}).touch()"
    tried = []
    other, _ = readers["evaluation"]  # and what a protocol, an export and a warm start read it with
    for name, (path, read) in {
        "another run": (other, lambda: read_state(other, torch.device("cpu"))),
        **readers,
    }.items():
        state = torch.load(path, weights_only=True)
        for attack, content in forged(state, touch, code).items():
            if name != "replay" and attack not in (
                "os.system",
                "in place of a weight",
                "the legacy format",
                "a bare pickle",
            ):
                continue
            path.write_bytes(content)
            if name == "replay":  # the attack is a real one
                pickle.loads(content) if attack == "a bare pickle" else torch.load(path, weights_only=False)
                assert marker.exists(), attack
                marker.unlink()
            tried.append((name, attack))
            with pytest.raises(CheckpointError, match=rf"{path.name}: no state that is safe to load \("):
                read()
            assert not marker.exists(), tried[-1]
        path.write_bytes(saved(state))
    assert len(tried) > 40


@pytest.mark.filterwarnings("ignore")  # torch's own, of TorchScript
def test_torchscript_program_raises(readers):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    for path, read in readers.values():
        path.write_bytes(file.getvalue())
        with pytest.raises(CheckpointError, match=f"{path.name}: no state that is safe to load"):
            read()


def test_state_of_another_form_raises_with_the_key(readers):
    for path, read in readers.values():
        state = torch.load(path, weights_only=True)
        for content, sentence in harmless(state).values():
            path.write_bytes(saved(content))
            with pytest.raises(CheckpointError, match=f"{path.name}: .*{sentence}"):
                read()
        path.write_bytes(saved(state))
        read()  # as it was: the checks let through what is right

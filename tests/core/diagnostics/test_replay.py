"""A step that is taken again is the step that was taken; and nobody can tell from the folder that it was.

Oracle: what the run itself has written down, in ``diverged.json`` and in ``metrics.jsonl``.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from ssl_core import ConfigError, DivergedError, RunFolderError
from ssl_core.diagnostics.replay import main, replay
from ssl_core.run.folder import RunFolder


class Cliff(torch.nn.Module):
    """Far out, and only there, it falls down: exp overflows in float32."""

    def forward(self, x):
        return x + 0 * x.exp()


@pytest.fixture
def falling(tiny_model):
    """The tiny model with dropout in it; in step 6 the second view is so bright that a module overflows."""

    class Falling(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.cliff = Cliff()

        def compute_loss(self):
            self.data = self.data._replace(views=[torch.nn.functional.dropout(view, 0.1) for view in self.data.views])
            self.data[0][1] = self.cliff(self.data[0][1] * (100 if self.progress.step == 6 else 1))
            return super().compute_loss()

    return Falling


def fingerprint(folder):
    """Every file with its bytes and times."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (content, path.stat().st_mtime_ns)
    return found


def diverged(model, config):
    with pytest.raises(DivergedError):
        model(config).fit()
    return RunFolder.of(config)


@pytest.mark.parametrize("checkpoint_every_steps", [0, 4, 5])
def test_the_diverged_step_is_shown_again_bit_by_bit(make_config, falling, toy_data, checkpoint_every_steps):
    folder = diverged(falling, make_config(log__checkpoint_every_steps=checkpoint_every_steps))
    before = fingerprint(folder.path)
    found = replay(falling, folder.path, data=toy_data)
    assert found.began == max(4, checkpoint_every_steps)  # 4: before the first evaluation
    assert found.found == folder.read_divergence()
    assert found.differences == []
    [batch] = found.batches
    assert batch.samples == folder.read_divergence()["samples"][0]
    assert batch.module.startswith("cliff (Cliff) is the first whose output is not finite, in ")
    assert "max 4" in batch.module  # the range of its inputs: some hundreds
    assert set(batch.gradients) == {f"{name}.{kind}" for name in ("backbone.1", "backbone.2", "head")
                                    for kind in ("weight", "bias")}  # fmt: skip
    assert "recorded   distance is nan: the same, bit by bit" in str(found)
    assert fingerprint(folder.path) == before


def test_any_step_of_a_run_is_shown_as_it_was_logged(make_config, tiny_model, toy_data):
    config = make_config(log__checkpoint_every_steps=3, log__keep_checkpoints=9)
    tiny_model(config).fit()
    folder = RunFolder.of(config)
    logged = {line["step"]: line for line in folder.read_metrics() if "train/loss" in line}
    before = fingerprint(folder.path)
    for step in (0, 5, 11):
        found = replay(tiny_model, folder.path, step, toy_data)
        assert found.began == {0: 0, 5: 4, 11: 9}[step]  # every third step, and before each evaluation
        [batch] = found.batches
        assert batch.terms == {name: logged[step + 1][f"train/{name}"] for name in ("classes", "distance")}
        assert found.found is None
        assert batch.module is None
        assert batch.gradients == []
    assert fingerprint(folder.path) == before


def test_looking_at_a_batch_changes_nothing_for_the_next(make_config, tiny_model, toy_data):
    """A state that the forward pass reads and moves: each batch of the step has its own."""

    class Counting(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.register_buffer("batches", torch.zeros(()))

        def compute_loss(self):
            self.batches += 1
            return {**super().compute_loss(), "batches": self.batches.clone()}

    config = make_config(optim__accumulation_steps=2)
    Counting(config).fit()
    found = replay(Counting, RunFolder.of(config).path, 3, toy_data)
    assert [batch.terms["batches"] for batch in found.batches] == [7, 8]


def test_all_batches_of_an_accumulated_step_are_shown(make_config, falling, toy_data):
    folder = diverged(falling, make_config(optim__accumulation_steps=2, optim__epochs=6))
    record = folder.read_divergence()
    assert (record["step"], record["batch"]) == (6, 0)
    found = replay(falling, folder.path, 5, toy_data)
    assert [batch.batch for batch in found.batches] == [2, 3]
    assert replay(falling, folder.path, data=toy_data).differences == []


def test_replay_shows_nonfinite_gradient_and_weights(make_config, tiny_model, toy_data):
    class Root(tiny_model):
        def compute_loss(self):
            terms = super().compute_loss()
            if self.progress.step == 5:
                terms["root"] = (self.head.bias.sum() * 0).square().sqrt()  # finite, with an infinite slope
            return terms

    class Thrown(tiny_model):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 6:
                self.head.weight.data[0, 0] = float("inf")

    for model, term, parameter in ((Root, "gradient norm", "head.bias"), (Thrown, "weights", "head.weight")):
        folder = diverged(model, make_config(log__run=term, log__checkpoint_every_steps=2))
        found = replay(model, folder.path, data=toy_data)
        assert found.record["term"] == term
        assert found.record["parameters"] == [parameter]
        assert found.differences == []
    assert found.batches[0].gradients == []


def test_replay_repeats_a_diverged_evaluation(make_config, tiny_model, toy_data):
    class TooLarge(tiny_model):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 8:
                self.head.weight.data.fill_(3e38)

    folder = diverged(TooLarge, make_config(log__checkpoint_every_steps=3))
    before = fingerprint(folder.path)
    found = replay(TooLarge, folder.path, data=toy_data)
    assert found.record["during"] == "evaluation"
    assert found.differences == []
    assert "diverged   prediction is inf\nrecorded   prediction is inf: the same, bit by bit" in str(found)
    assert fingerprint(folder.path) == before
    healed = replay(tiny_model, folder.path, data=toy_data)
    assert "not the same: now it has not diverged" in str(healed)


def test_replay_reports_a_different_outcome(make_config, falling, toy_data, tiny_model, monkeypatch, capsys):
    folder = diverged(falling, make_config())
    record = folder.read_divergence()
    record["terms"][0]["distance"] = 0.5
    folder.write_divergence(record)
    found = replay(falling, folder.path, data=toy_data)
    assert found.differences == ["terms"]
    assert "not the same: terms differ" in str(found)
    healed = replay(tiny_model, folder.path, data=toy_data)
    assert "not the same: now it has not diverged" in str(healed)
    monkeypatch.setattr("ssl_core.run.source_location.load_class", {"f:F": falling, "d:D": toy_data}.get)
    assert main([str(folder.path), "--method=f:F", "--data=d:D"]) == 1
    assert "samples    16: " in capsys.readouterr().out
    monkeypatch.setattr(
        "ssl_core.run.source_location.recorded_class",
        lambda record, what, run: {"method": falling, "data": toy_data}[what],
    )
    assert main([str(folder.path)]) == 1  # the classes that the run has recorded
    assert "samples    16: " in capsys.readouterr().out


def test_what_cannot_be_shown_is_one_sentence(make_config, tiny_model, toy_data, tmp_path, capsys):
    config = make_config()
    with pytest.raises(RunFolderError, match=r"has no config\.yaml to read"):
        replay(tiny_model, tmp_path / "nowhere")
    tiny_model(config).fit()
    path = RunFolder.of(config).path
    with pytest.raises(ConfigError, match="has not diverged; name a step with --step N"):
        replay(tiny_model, path, data=toy_data)
    with pytest.raises(ConfigError, match="--step 12: the run has the steps 0 to 11"):
        replay(tiny_model, path, 12, toy_data)
    with pytest.raises(
        ConfigError, match=r"model\.name='tiny': not a method of ssl_core; name its class, e\.g\. --method"
    ):
        replay(None, path, 1, toy_data)
    with pytest.raises(ConfigError, match=r"data=\{'views': 2, 'opened': 1\}: no installed package has such"):
        replay(tiny_model, path, 1)
    assert main([str(path), "--method", "nowhere.py:Class"]) == 2
    assert capsys.readouterr().err == "nowhere.py:Class: expected FILE.py:Class; there is no file 'nowhere.py'\n"
    summary = json.loads((path / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps({**summary, "ranks": 4}))
    with pytest.raises(ConfigError, match=r"a run of 4 ranks and this is one of 1: torchrun --nproc-per-node=4 -m"):
        replay(tiny_model, path, 1, toy_data)

"""TensorBoard's event files, read with TensorBoard's own reader."""

import sys

import pytest
import torch

from ssl_core import ConfigError
from ssl_core.run.folder import RunFolder


def test_without_tensorboard_the_key_is_named(make_config, tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"log.tensorboard=true: tensorboard is not installed; pip install"):
        tiny_model(make_config(log__tensorboard=True)).fit()


@pytest.mark.filterwarnings("ignore")  # those of tensorboard's reader
def test_resumed_run_has_each_step_once(make_config, tiny_model):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Showing(tiny_model):
        def after_eval_epoch(self):
            self.log_image("eval/view", torch.rand(3, 8, 8))

    class Dying(Showing):
        def after_train_step(self):
            super().after_train_step()
            if self.progress.step == 7:
                raise RuntimeError("out of memory")

    config = make_config(log__tensorboard=True, log__checkpoint_every=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        Dying(config).fit()
    Showing(config).fit()  # from the checkpoint before the first evaluation, which is repeated
    folder = RunFolder.of(config)
    events = EventAccumulator(str(folder.tensorboard))
    events.Reload()
    lines = folder.read_metrics()
    assert len(list(folder.tensorboard.iterdir())) == 2
    for name in ("train/loss", "toy/knn"):
        found = {event.step: event.value for event in events.Scalars(name)}
        assert len(found) == len(events.Scalars(name))
        assert found == pytest.approx({line["step"]: line[name] for line in lines if name in line}, rel=1e-6)
    assert [event.step for event in events.Images("eval/view")] == [4, 8, 12]

"""Methods whose accuracy a benchmark of minutes cannot show (runs/bench/methods.py): they learn, and do not collapse."""

import json
import statistics

import pytest
import torch

from ssl_core.diagnostics.collapse import spread
from ssl_core.methods import METHODS
from ssl_core.run.folder import RunFolder

MASKED = ("aim", "capi", "cmae", "data2vec", "i_jepa", "mae", "maskfeat", "nepa", "salt", "simmim")


@torch.no_grad()
def patch_spread(model) -> float:
    """Return the spread of the mean patch over the test images: 0 where all images have the same."""
    [images] = [views[0] for views, _, _ in model.config.data.open(32, 0).evaluation["toy"]]
    return spread(model.eval().backbone.tokens(images).mean(1))


@pytest.mark.parametrize("name", [name for name in MASKED if name in METHODS])
def test_loss_falls_and_representation_does_not_collapse(make_method, name):
    model = make_method(
        name, optim__optimizer="AdamW", optim__lr=3e-3, optim__epochs=12, log__every_steps=1, log__eval_every=0
    )
    untrained = []
    model.before_train_epoch = lambda: untrained.append(patch_spread(model))
    model.fit()
    lines = map(json.loads, RunFolder.of(model.config).metrics.read_text().splitlines())
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    tenth = len(losses) // 10
    assert statistics.mean(losses[-tenth:]) < 0.95 * statistics.mean(losses[:tenth])
    assert patch_spread(model) > 0.5 * untrained[0]

"""Methods whose accuracy a benchmark of minutes cannot show (runs/bench/methods.py): they learn, and do not collapse."""

import json
import statistics

import pytest

from ssl_core.run.folder import RunFolder

LEARNING = (
    "aim", "byol", "capi", "cmae", "data2vec", "dinov2", "dinov3", "i_jepa", "ibot", "jigsaw", "mae", "maskfeat", "msn", "nepa",
    "nnbyol", "salt", "simmim", "swav",
)  # fmt: skip
SHARE = {"ibot": 1.0}  # of the loss at the start, below which it falls; targets of patches move with the teacher


@pytest.mark.parametrize("name", LEARNING)
def test_loss_falls_and_representation_does_not_collapse(make_method, name):
    model = make_method(
        name, optim__optimizer="AdamW", optim__lr=3e-3, optim__epochs=12, log__every_steps=1, log__eval_every=0
    )
    metrics = model.fit()
    lines = map(json.loads, RunFolder.of(model.config).metrics.read_text().splitlines())
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    tenth = len(losses) // 10
    assert statistics.mean(losses[-tenth:]) < SHARE.get(name, 0.95) * statistics.mean(losses[:tenth])
    assert metrics["toy/knn"] > 0.5  # of four classes: the features tell the images apart

"""The collapse alarm: its two numbers, and runs that really collapse and that do not.

Oracle for the numbers: numpy, its singular values, and the formulas written out.
"""

import logging

import numpy as np
import pytest
import torch

from ssl_core.diagnostics.collapse import SAMPLES, CollapseDetector, spread
from ssl_core.distributed.ranks import Distributed
from ssl_core.run.folder import RunFolder


def alarm(tmp_path):
    return CollapseDetector(Distributed("cpu", tmp_path))


@pytest.mark.parametrize("shape", [(200, 16), (40, 64)])
def test_spread_and_rank_are_those_of_numpy(tmp_path, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 2, shape[1])
    ours = alarm(tmp_path)
    for part in features.split(30):
        ours.add({"backbone": part})
    found = ours.compute()
    matrix = features.double().numpy()
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    assert found["std_backbone"] == pytest.approx(unit.std(axis=0).mean() * np.sqrt(shape[1]), rel=1e-6)
    singular = np.linalg.svd(matrix, compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    assert found["rank_backbone"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert ours.compute() == {}  # begun anew


def test_spread_is_1_on_the_whole_sphere_and_0_at_one_point():
    sphere = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert spread(sphere) == pytest.approx(1, abs=0.01)
    assert spread(torch.ones(10, 32)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_number_of_ranks_sees_the_same_images(tmp_path, ranks, monkeypatch):
    """Each rank has every so many-th image of a batch; their shares are put together as ``gather`` does."""
    features = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)) + 1
    alone = alarm(tmp_path)
    together = []
    for batch in features.split(100):
        alone.add({"backbone": batch})
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        one = alarm(tmp_path)
        for batch in features.split(100):
            one.add({"backbone": batch[rank::ranks]})
        together.append(torch.cat(one._kept["backbone"]))
    one.distributed.gather = lambda _: torch.cat(together)
    assert sum(map(len, together)) == SAMPLES
    expected = alone.compute()
    for name, value in one.compute().items():
        assert value == pytest.approx(expected[name], rel=1e-12)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_collapse_is_warned_once_also_after_resume(make_config, tiny_model, caplog):
    class Collapsing(tiny_model):
        """Two views attract each other, and nothing keeps images apart: the trivial solution of Chen & He 2021."""

        def initialize_modules(self):
            self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
            self.projector = torch.nn.Linear(16, 8)

        def forward(self, x):
            return self.backbone(x)

        def compute_loss(self):
            first, second = (self.projector(self.backbone(view)) for view in self.data[0])
            return (first - second).square().mean()

    class Killed(Collapsing):
        def before_train_epoch(self):
            if self.progress.epoch == 9:
                raise KeyboardInterrupt

    config = make_config(optim__epochs=12, optim__weight_decay=0.1, log__checkpoint_every=1, log__knn_samples=0)
    with pytest.raises(KeyboardInterrupt):
        Killed(config).fit()
    [said] = warnings(caplog)
    assert "has collapsed: nearly all images have the same embedding (standard deviation 0.0" in said
    assert "try a smaller optim.lr" in said
    caplog.clear()
    Collapsing(config).fit()
    assert warnings(caplog) == []
    last = RunFolder.of(config).read_metrics()[-1]
    assert last["toy/std_projector"] < 0.03
    assert last["toy/rank_projector"] < 2


def test_a_run_that_learns_is_not_warned_and_logs_its_numbers(make_config, tiny_model, caplog):
    config = make_config(optim__epochs=8)
    tiny_model(config).fit()
    assert warnings(caplog) == []
    found = [line for line in RunFolder.of(config).read_metrics() if "toy/accuracy" in line]
    assert len(found) == 8
    assert all(0.1 < line["toy/std_backbone"] <= 1 and 2 < line["toy/rank_backbone"] <= 16 for line in found)


def test_loss_of_uniform_assignments_is_warned_after_100_steps(tmp_path, caplog):
    detector = alarm(tmp_path)
    detector.uniform_loss = "train/loss", 6.238
    for step in range(5, 100, 5):
        detector.observe(step, {"train/loss": 6.2385})
    detector.observe(100, {"train/loss": 6.24})  # 2e-3 above it: the steps are counted anew
    for step in range(105, 205, 5):
        detector.observe(step, {"train/loss": 6.2375})
    assert warnings(caplog) == []
    for step in range(205, 220, 5):
        detector.observe(step, {"train/loss": 6.2375})
    [said] = warnings(caplog)
    assert said.startswith("the assignments to prototypes have collapsed: since step 105 train/loss has been 6.2380, ")
    assert detector.state_dict() == {"warned": True}

"""Mistakes that implementations of self-supervised methods have made, each as a claim about ours.

``ELSEWHERE`` names the tests of the others, by what goes wrong.
"""

import copy
import logging
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_core import ConfigError
from ssl_core.backbones import build_backbone
from ssl_core.batch import Batch
from ssl_core.methods import METHODS, method_class
from ssl_core.modules.ema import Teacher, warn_if_slow
from ssl_core.modules.transformer.patch_predictor import PatchPredictor
from ssl_losses.ops.normalize import unit_rows

TESTS = Path(__file__).parents[2]
ELSEWHERE = {
    "the teacher or a centre moves with every micro-batch": "core/methods/test_contract_on_ranks.py::test_two_batches_on_two_"
    "ranks_equal_one_large_batch",
    "the teacher drops paths": "core/modules/test_ema.py::test_teacher_has_no_dropout_and_no_drop_path",
    "the average stands still in bfloat16": "core/modules/test_ema.py::test_small_steps_of_a_narrow_student_are_not_lost",
    "the momentum starts again on resume": "core/methods/test_contract.py::test_resume_equals_uninterrupted_run",
    "a cosine where the paper has a line": "core/modules/test_ema.py::test_momentum_follows_its_ramp",
    "the predictor of SimSiam decays": "core/methods/test_steps.py::test_learning_rate_of_the_predictor_of_simsiam_is_constant",
    "gathered rows without a gradient": "core/methods/test_contract_on_ranks.py::test_two_ranks_equal_one_process",
    "a positive among the negatives of the queue": "losses/test_info_nce.py",
    "sinkhorn overflows in float16": "losses/ops/test_sinkhorn.py::test_any_temperature_gives_assignments",
    "the centre moves before the loss": "losses/test_dino.py::test_centre_moves_after_the_loss_by_all_teacher_views",
    "a frozen last layer decays": "core/training/test_freeze.py::test_frozen_head_equals_dino_cancelled_gradients",
    "one view for teacher and student is 0 / 0": "losses/test_dino.py::test_views_without_a_pair_raise",
    "an image without masked patches is 0 / 0": "losses/test_ibot.py::test_without_masked_patches_loss_and_update_are_0",
    "a mean over patches, not over images": "losses/test_ibot.py::test_images_count_equally_for_any_number_of_masked_patches",
    "KoLeo of equal rows is infinite": "losses/test_koleo.py::test_rows_that_coincide_have_a_finite_loss_and_no_gradient",
    "masks depend on ranks or on a resume": "core/modules/masks/test_patch_masks.py::test_mask_depends_on_seed_epoch_"
    "and_id_alone",
    "a constant patch is normalised to NaN": "losses/test_masked.py::test_constant_target_is_0_when_normalised",
    "positions are off by one at another size": "core/backbones/test_vit.py::test_positions_of_another_size_are_those_of_the_"
    "same_places",
    "views of one size in several passes": "core/modules/transformer/test_patch_predictor.py::test_views_of_one_"
    "size_share_a_pass",
    "stochastic depth for the batch": "core/backbones/test_vit.py::test_drop_path_equals_timms",
    "whitening of too few samples": "core/methods/test_methods.py::test_whitening_of_too_few_samples_raises_before_data",
    "equal singular values have a NaN gradient": "losses/test_mmcr.py::test_repeated_and_zero_singular_values_have_finite_"
    "gradients",
    "the probe trains the backbone": "core/test_training_loop.py::test_the_probes_send_no_gradient_into_the_backbone",
    "weight decay of biases and norms": "core/optimizers/test_param_groups.py::test_biases_and_norms_have_no_weight_decay",
}


@pytest.mark.parametrize("place", ELSEWHERE.values())
def test_named_test_exists(place):
    file, _, test = place.partition("::")
    assert f"def {test or 'test_'}" in (TESTS / file).read_text()


def test_running_statistics_of_the_teacher_are_usable(make_method):
    """Only parameters were averaged, so that a teacher in evaluation mode normalised by 0 and 1."""
    model = make_method("byol", optim__epochs=20, log__eval_every=0)
    model.fit()
    images = next(iter(model.run.loaders.train.start(0, 0)))[0][0]
    with torch.no_grad():
        trained, evaluated = (model.teacher.train(mode)(images) for mode in (True, False))
    assert (unit_rows(trained) * unit_rows(evaluated)).sum(1).mean() > 0.8


@pytest.mark.parametrize(
    ("momentum", "steps", "warned"), [(0.996, 1000, True), (0.996, 1300, False), (0.996, 9, False), (1.0, 10, False)]
)
def test_teacher_slower_than_the_run_is_a_warning(caplog, momentum, steps, warned):
    """The momentum of a paper's long run, in a short one: the teacher is still the initial network at the end."""
    with caplog.at_level(logging.WARNING):
        warn_if_slow([Teacher(nn.Linear(2, 2), momentum) for _ in range(2)], steps)  # a backbone's and a head's
    assert caplog.text.count("lower model.momentum=0.996 to 0.995") == warned


def test_slow_teacher_is_a_warning_of_the_run(make_method, caplog):
    make_method("byol", optim__epochs=3, log__eval_every=0).fit()
    assert caplog.text.count("averages over 10 optimizer steps and the run has 12: lower model.momentum=0.9 ") == 1


def test_slow_teacher_of_a_method_without_the_key(make_method, caplog):
    """A user-defined method has the momentum in its code: ``model.momentum`` would be an unknown key."""

    class Averaged(method_class("supervised")):
        def initialize_modules(self):
            super().initialize_modules()
            self.teacher = Teacher(self.backbone, momentum=0.9)

    Averaged(make_method("supervised", optim__epochs=3, log__eval_every=0).config).fit()
    assert "the run has 12: lower momentum=0.9 to" in caplog.text


@pytest.mark.parametrize(("name", "views"), [("simsiam", 2), ("fastsiam", 3)])
def test_target_of_simsiam_gets_no_gradient(make_method, name, views):
    """Oracle: algorithm 1 of the paper with ``z.detach()``. Without it the network collapses (its figure 2)."""
    model = make_method(name, optim__epochs=1, optim__max_steps=1, log__eval_every=0)
    model.config.data.views = views
    model.fit()
    model.data = Batch(*next(iter(model.run.loaders.train.start(0, 0))))
    model.train()

    def gradient(stopped):
        z = [model.embed(view) for view in model.views()]
        total = sum(z)
        losses = []
        for each in z:
            target = (total - each) / (views - 1)
            losses.append(
                -(unit_rows(model.predictor(each)) * unit_rows(target.detach() if stopped else target)).sum(1).mean()
            )
        return torch.autograd.grad(torch.stack(losses).mean(), [*model.backbone.parameters()])

    ours = torch.autograd.grad(model.compute_loss(), [*model.backbone.parameters()])
    torch.testing.assert_close(ours, gradient(stopped=True), rtol=1e-3, atol=1e-6)
    assert any(
        not torch.allclose(our, other, rtol=1e-2, atol=1e-5) for our, other in zip(ours, gradient(stopped=False))
    )


def test_heads_of_simsiam_are_those_of_the_paper(make_method):
    """Section 3: the projector ends in batch normalisation without an affine map, the predictor in a linear layer."""
    model = make_method("simsiam", optim__epochs=1, optim__max_steps=1, log__eval_every=0)
    model.fit()
    assert isinstance(model.projector[-1], nn.BatchNorm1d)
    assert not model.projector[-1].affine
    assert isinstance(model.predictor[-1], nn.Linear)
    assert model.predictor[-1].bias is not None


def test_frozen_patch_projection_of_moco_v3_is_bit_equal(make_method):
    """Section 4 of the paper freezes it: neither weight decay nor momentum moves it."""
    model = make_method("moco_v3", optim__weight_decay=0.5, log__eval_every=0)
    model.config.model.backbone = "vit_tiny"
    model.config.model.backbone_options = {"patch_size": 2, "width": 12, "depth": 1, "num_heads": 3}
    model.config.optim.freeze = {"backbone.patches": -1}
    start = {}
    model.before_train_epoch = lambda: start or start.update(copy.deepcopy(model.backbone.patches.state_dict()))
    model.fit()
    for name, value in model.backbone.patches.state_dict().items():
        assert torch.equal(value, start[name])
    assert all(torch.equal(value, start[name]) for name, value in model.teacher.model[0].patches.state_dict().items())


def test_patch_projection_starts_as_a_linear_layer():
    """MAE's Xavier-uniform range with p p C inputs; as a convolution the fan-out has a factor p p."""
    weight = build_backbone("vit_tiny", (3, 32, 32), patch_size=8).patches.weight
    assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / (8 * 8 * 3 + 192)), rel=1e-3)


def test_mae_without_a_mask_keeps_the_order_of_the_patches():
    """The decoder gets the projected encoder output in order, each with its position; the class token has none."""
    predictor = PatchPredictor((2, 2), inputs=8, outputs=3, width=8, depth=0, num_heads=1)
    tokens, order = torch.randn(1, 5, 8), torch.randperm(4)[None]
    seen = []
    predictor.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    predictor(tokens[:, [0, *(order[0] + 1).tolist()]], order, order)
    assert torch.equal(seen[0], predictor.mask_token + predictor.positions[order])


MASKED = [name for name in METHODS if name != "baseline" and method_class(name).needs_tokens]
# iBOT and its successors draw a share for each image, which may be 0
WITH_RATIO = [name for name in MASKED if hasattr(method_class(name).config_class(name=name), "mask_ratio")]
WITH_RATIO = [
    name for name in WITH_RATIO if not hasattr(method_class(name).config_class(name=name), "mask_ratio_spread")
]


def loss_of(model, views, labels, ids):
    model.data = Batch(views, labels, ids)
    return model.compute_loss()


@pytest.mark.parametrize("name", ["data2vec", "i_jepa", "mae", "simmim"])
def test_loss_of_a_batch_is_the_mean_over_its_images(make_method, name):
    """Masks were cut to the smallest one of the batch, targets got the order of other samples."""
    model = make_method(name, optim__epochs=1, optim__max_steps=1, log__eval_every=0)
    model.fit()
    views, labels, ids = next(iter(model.run.loaders.train.start(0, 0)))
    with torch.no_grad():
        whole = loss_of(model, views, labels, ids)
        order = torch.randperm(len(ids))
        shuffled = loss_of(model, [view[order] for view in views], labels[order], ids[order])
        single = [loss_of(model, [view[[n]] for view in views], labels[[n]], ids[[n]]) for n in range(len(ids))]
    torch.testing.assert_close(shuffled, whole)
    torch.testing.assert_close(torch.stack(single).mean(), whole)


@pytest.mark.parametrize("name", WITH_RATIO)
@pytest.mark.parametrize("ratio", [0.06, 0.99])
def test_extreme_mask_ratio_on_a_tiny_grid_trains(make_method, name, ratio):
    """One of 16 patches masked, or one visible."""
    model = make_method(name, optim__epochs=1, optim__max_steps=2, log__eval_every=0)
    model.config.model.mask_ratio = ratio
    metrics = model.fit()
    assert math.isfinite(metrics["train/loss"])
    assert metrics["train/loss"] > 0
    assert metrics["train/grad_norm"] > 0


@pytest.mark.parametrize("name", WITH_RATIO)
@pytest.mark.parametrize("ratio", [0.0, 0.01])
def test_mask_ratio_without_a_masked_patch_is_an_error(make_method, name, ratio):
    """The loss was 0, or an error of shapes in the first step."""
    model = make_method(name)
    model.config.model.mask_ratio = ratio
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert (caught.value.key, caught.value.value) == ("model.mask_ratio", ratio)
    assert model.config.data.opened == 0


def test_masked_pixels_do_not_leak_through_the_mask_token():
    """x (1 - mask) + token mask is NaN for a masked pixel that is not finite."""
    vit = build_backbone("vit_tiny", (3, 8, 8), patch_size=4, width=12, depth=1, num_heads=3)
    images, mask = torch.randn(1, 3, 8, 8), torch.tensor([[True, False, False, False]])
    hidden = images.clone()
    hidden[:, :, :4, :4] = torch.inf
    expected = vit.tokens(images, mask=mask, mask_token=torch.ones(12))
    assert torch.equal(vit.tokens(hidden, mask=mask, mask_token=torch.ones(12)), expected)


# Method -> the module whose output are the directions that the prototypes are compared with
DIRECTIONS = {
    "capi": "predictor", "deepcluster_v2": "projector", "dino": "head.0", "ibot": "head.0", "msn": "projector",
    "smog": "predictor", "swav": "projector",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "collapsed"), [*((name, True) for name in DIRECTIONS), ("swav", False), ("dino", False)]
)
def test_collapse_of_the_assignments_is_a_warning(make_method, monkeypatch, caplog, name, collapsed):
    """The loss is log K where all directions are 0, and so equally similar to all prototypes."""
    monkeypatch.setattr("ssl_core.diagnostics.collapse.UNIFORM_STEPS", 2)
    model = make_method(name, optim__epochs=1, log__every_steps=1, log__eval_every=0, log__knn_samples=0)

    def collapse():
        model.get_submodule(DIRECTIONS[name]).register_forward_hook(lambda module, inputs, output: 0 * output)

    if collapsed:
        build = model.build
        model.build = lambda: (build(), collapse())
    model.fit()
    found = [record.getMessage() for record in caplog.records if "assignments to prototypes" in record.getMessage()]
    assert len(found) == collapsed


def test_every_method_with_prototypes_names_its_loss():
    """PMSN's is not log K."""
    kinds = {name: method_class(name) for name in METHODS}
    keys = ("num_prototypes", "num_groups", "num_clusters")
    assigning = {name for name, kind in kinds.items() if any(hasattr(kind.config_class(), key) for key in keys)}
    assert {name for name in kinds if getattr(kinds[name], "assignment_loss", None)} == assigning - {"pmsn"}
    assert assigning - {"pmsn", "dinov2", "dinov3"} == {*DIRECTIONS}

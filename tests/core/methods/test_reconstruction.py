"""Reconstructions of the methods that predict pixels."""

import pytest
import torch

from ssl_core.batch import Batch
from ssl_losses.ops.patches import patchify, unpatchify

METHODS = {"mae": "loss", "simmim": "loss", "aim": "loss", "cmae": "reconstruction"}


@pytest.fixture
def reconstructed(make_method):
    """``name -> model, reconstruction, terms of the loss`` of one batch, after a step of training."""

    def make(name):
        model = make_method(name, optim__epochs=1, log__eval_every=0)
        found = {}

        @torch.no_grad()
        def before():
            if model.progress.step == 1:
                loss = model.compute_loss()
                found.update(loss=loss if isinstance(loss, dict) else {"loss": loss}, pixels=model.reconstruct_pixels())

        model.before_train_step = before
        model.fit()
        return model, found["pixels"], found["loss"]

    return make


@pytest.mark.parametrize("name", METHODS)
def test_error_of_the_reconstruction_is_the_loss(reconstructed, name):
    """Oracle: the formulas of the papers, of the pixels in the picture instead of the prediction."""
    model, found, terms = reconstructed(name)
    size = model.backbone.patch_size
    mask = found.mask.flatten(1)
    target, predicted = patchify(found.images, size).double(), patchify(found.pixels, size).double()
    error = predicted - target
    if name == "simmim":
        error = error.abs()
    else:  # patches of mean 0 and variance 1
        error = error.square() / (target.var(2, keepdim=True) + 1e-6)
    assert float(error.mean(2)[mask].mean()) == pytest.approx(float(terms[METHODS[name]]), rel=1e-4)
    assert torch.equal(predicted[~mask], target[~mask])  # visible patches are those of the image
    assert mask.any()


def test_first_run_of_salt_has_a_reconstruction(reconstructed):
    model, found, _ = reconstructed("salt")
    size, mask = model.backbone.patch_size, found.mask.flatten(1)
    changed = (patchify(found.pixels, size) != patchify(found.images, size)).any(2)
    assert torch.equal(changed, mask)


def test_unpatchify_is_the_inverse_of_patchify():
    images = torch.randn(2, 3, 8, 12)
    assert torch.equal(unpatchify(patchify(images, 4), 4, rows=2), images)
    with pytest.raises(ValueError, match="P divisible by rows=5"):
        unpatchify(patchify(images, 4), 4, rows=5)


def test_reconstruction_depends_on_the_sample_ids(reconstructed):
    model, found, _ = reconstructed("mae")
    views, ids = model.data.views, model.data.ids
    with torch.no_grad():
        first = model.reconstruct_pixels()
        model.data = Batch(views, model.data.labels, ids + 1)
        other = model.reconstruct_pixels()
    assert first.mask.shape == found.mask.shape
    assert not torch.equal(first.mask, other.mask)

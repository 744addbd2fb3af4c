"""The loss of a training step of the dense, masked and autoregressive methods is the one of the paper.

Oracle: the pseudocode of each paper, written here in plain loops from the modules of the model, at the third step of a run, so
that queues and teachers are in use; for VICRegL the loss of lightly.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_core import BaseModel
from ssl_core.errors import ConfigError
from ssl_core.methods import METHODS, method_class
from ssl_core.methods.cmae import shifted
from ssl_core.methods.dense_method import cell_locations
from ssl_core.methods.masked_image import MaskedImageModel
from ssl_core.modules.masks.multi_block import multi_block_mask
from ssl_core.modules.masks.patch_masks import block_mask, random_mask
from ssl_core.modules.pretext.hog import hog
from ssl_core.modules.random_numbers import Stream, uniform
from ssl_core.modules.transformer.autoregressive import prefix_lengths
from ssl_core.run.folder import RunFolder


def dalal_triggs(image, cell, bins=9):
    """Wei et al. 2022 and their code: Sobel gradients, hard votes, histograms of unit length; one channel, in float64."""
    padded = np.pad(image.astype(np.float64), 1, mode="reflect")
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    height, width = image.shape
    histograms = np.zeros((height // cell, width // cell, bins))
    for y in range(height):
        for x in range(width):
            window = padded[y : y + 3, x : x + 3]
            across, down = (window * sobel).sum(), (window * sobel.T).sum()
            place = math.floor(math.atan2(across, down) / math.pi * bins) % bins
            histograms[y // cell, x // cell, place] += math.hypot(across, down)
    return histograms / np.maximum(np.linalg.norm(histograms, axis=2, keepdims=True), 1e-12)


def patches_of(images, size):
    """Return the pixels of each patch, ``(N, L, p p C)``, as MAE's patchify."""
    n, channels, height, width = images.shape
    x = images.reshape(n, channels, height // size, size, width // size, size)
    return torch.einsum("nchpwq->nhwpqc", x).reshape(n, -1, size**2 * channels).double()


def normalized(patches):
    return (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()


def seeds(model):
    return model.config.hardware.seed, model.progress.epoch


def maskfeat(model):
    images, encoder, keys = model.data.views[0], model.backbone, model.config.model
    mask = block_mask(model.data.ids, encoder.grid, keys.mask_ratio, *seeds(model))
    x = encoder.patches(images).flatten(2).transpose(1, 2).clone()
    x[mask] = model.mask_token.weight
    x = torch.cat([encoder.class_token.expand(len(x), 1, -1), x + encoder.positions], dim=1)
    prediction = model.head(encoder.norm(encoder.blocks(x))[:, 1:]).double()
    cells = torch.tensor(np.array([[dalal_triggs(c, encoder.patch_size) for c in image] for image in images.numpy()]))
    target = cells.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)  # (N, L, C 9)
    return (prediction - target).square().mean(2)[mask].mean()


def attend_by_hand(block, x, allowed):
    """Return a block's output with the softmax of attention written out."""
    q, k, v = (each.unflatten(1, (block.num_heads, -1)) for each in block.qkv(block.norm1(x)).chunk(3, dim=1))
    logits = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[2])
    weights = logits.masked_fill(~allowed, -math.inf).softmax(2)
    x = x + block.out(torch.einsum("hqk,khd->qhd", weights, v).flatten(1))
    return x + block.mlp(block.norm2(x))


def aim(model):
    encoder, images = model.backbone, model.data.views[0]
    target, errors = normalized(patches_of(images, encoder.patch_size)), []
    length = target.shape[1]
    for n, prefix in enumerate(prefix_lengths(model.data.ids, length, *seeds(model)).tolist()):
        assert 1 <= prefix < length
        x = encoder.patches(images[n : n + 1]).flatten(2)[0].T + encoder.positions
        allowed = torch.tensor([[k <= q or k < prefix for k in range(length)] for q in range(length)])
        for block in encoder.blocks:
            x = attend_by_hand(block, x, allowed)
        prediction = model.head(encoder.norm(x)).double()
        errors += [(prediction[k - 1] - target[n, k]).square().mean() for k in range(prefix, length)]
    return torch.stack(errors).mean()


def nepa(model):
    encoder, images = model.backbone, model.data.views[0]
    z = encoder.patches(images).flatten(2).transpose(1, 2)
    length, losses = z.shape[1], []
    allowed = torch.tensor([[k <= q for k in range(length)] for q in range(length)])
    for n in range(len(z)):
        x = z[n] + encoder.positions
        for block in encoder.blocks:
            x = attend_by_hand(block, x, allowed)
        losses.append(-F.cosine_similarity(encoder.norm(x)[:-1].double(), z[n, 1:].double(), dim=1).mean())
    return torch.stack(losses).mean()


def salt(model):
    images, encoder = model.data.views[0], model.backbone
    context, targets = multi_block_mask(model.data.ids, encoder.grid, *seeds(model), 4)
    pixels, losses = normalized(patches_of(images, encoder.patch_size)), []
    for n in range(len(images)):
        visible = encoder.tokens(images[n : n + 1], keep=context[n : n + 1])
        for block in targets[n]:
            prediction = model.predictor(visible, context[n : n + 1], block[None])[0].double()
            if model.config.model.teacher:
                features = model.teacher.model.tokens(images[n : n + 1])[0, 1:][block]
                losses.append((prediction - F.layer_norm(features, features.shape[1:])).abs().mean())
            else:
                losses.append((prediction - pixels[n, block]).square().mean())
    return torch.stack(losses).mean()


def decode(decoder, x, masked):
    """He et al. 2022: restore the order, add positions, decode all tokens; return those of the patches."""
    x = decoder.project(x)
    full = decoder.mask_token.expand(len(x), len(masked), -1).clone()
    full[:, ~masked] = x[:, 1:]
    x = torch.cat([x[:, :1], full + decoder.positions], dim=1)
    for block in decoder.blocks:
        x = block(x)
    return decoder.head(decoder.norm(x))[:, 1:]


def cmae(model):
    keys, encoder, ids = model.config.model, model.backbone, model.data.ids
    assert encoder.grid == (4, 4)
    grid, size = (3, 3), encoder.patch_size
    masks = random_mask(ids, grid, keys.mask_ratio, *seeds(model))
    shifts = (uniform(ids, 2, *seeds(model), Stream.SHIFT) * size).long().tolist()
    reconstruction, queries, keys_of_teacher = [], [], []
    for image, masked, (top, left) in zip(model.data.views[0], masks, shifts):
        source, target = image[None, :, :6, :6], image[None, :, top : top + 6, left : left + 6]
        x = encoder.patches(source).flatten(2).transpose(1, 2) + encoder.positions_of(grid)
        x = torch.cat([encoder.class_token.view(1, 1, -1), x[:, ~masked]], dim=1)
        x = encoder.norm(encoder.blocks(x))
        pixels = normalized(patches_of(source, size))[0]
        reconstruction.append((decode(model.decoder, x, masked)[0] - pixels).square().mean(1)[masked].mean())
        queries.append(decode(model.feature_decoder, x, masked).mean(1))
        teacher = model.teacher.model
        x = teacher.patches(target).flatten(2).transpose(1, 2) + teacher.positions_of(grid)
        x = teacher.blocks(torch.cat([teacher.class_token.view(1, 1, -1), x], dim=1))
        keys_of_teacher.append(x[:, 1:].mean(1))
    q = F.normalize(model.predictor(model.projector(torch.cat(queries))).double(), dim=1)
    k = F.normalize(model.projector_teacher.model(torch.cat(keys_of_teacher)).double(), dim=1)
    contrast = F.cross_entropy(q @ k.T / keys.temperature, torch.arange(len(q)))
    return torch.stack(reconstruction).mean() + keys.contrast * 2 * keys.temperature * contrast


def densecl(model):
    keys, (first, second) = model.config.model, model.data.views
    teacher = model.teacher.model
    queue, dense_queue = model.criterion.queue.rows.double(), model.dense_criterion.queue.rows.double()
    assert len(queue) == len(dense_queue) == 24  # full

    def embed(modules, x):
        cells = modules.backbone.tokens(x)
        return modules.projector(cells.mean(1)), modules.dense_projector(cells), cells

    def unit(x):
        return F.normalize(x.double(), dim=-1)

    def info_nce(q, k, negatives):
        logits = torch.cat([(unit(q) * unit(k)).sum()[None], negatives @ unit(q)]) / keys.temperature
        return -logits.log_softmax(0)[0]

    (q, q_grid, q_map), (k, k_grid, k_map) = embed(model, first), embed(teacher, second)
    whole, dense = [], []
    for n in range(len(q)):
        whole.append(info_nce(q[n], k[n], queue))
        match = (unit(q_map[n]) @ unit(k_map[n]).T).argmax(1)
        dense += [info_nce(q_grid[n, s], k_grid[n, match[s]], dense_queue) for s in range(len(match))]
    return (1 - keys.dense_weight) * torch.stack(whole).mean() + keys.dense_weight * torch.stack(dense).mean()


def vicregl(model):
    """Bardes et al. 2022, with the loss of lightly, which keeps the same number of matches for both kinds of views here."""
    from lightly.loss import VICRegLLoss

    keys, views, grids = model.config.model, [], []
    for view, crops in zip(model.data.views, model.data.crops):
        cells = model.backbone.tokens(view)
        local = model.map_projector(cells.flatten(0, 1)).view(len(view), 4, 4, -1)
        views.append((model.projector(cells.mean(1)).double(), local.double()))
        grid = torch.empty(len(view), 4, 4, 2, dtype=torch.float64)
        for n, (top, left, height, width, flip) in enumerate(crops.tolist()):
            for row in range(4):
                for column in range(4):
                    across = 3 - column if flip else column
                    place = [top + height * (row + 0.5) / 4, left + width * (across + 0.5) / 4]
                    grid[n, row, column] = torch.tensor(place)
        grids.append(grid)
    loss = VICRegLLoss(keys.invariance, keys.variance, keys.covariance, keys.alpha, num_matches=tuple(keys.num_matches))
    return loss(views, grids)


PAPERS = {
    "maskfeat": maskfeat, "aim": aim, "nepa": nepa, "salt": salt, "cmae": cmae, "densecl": densecl, "vicregl": vicregl,
}  # fmt: skip
DENSE = ("densecl", "vicregl")


@pytest.fixture
def make_dense(make_method):
    """Return a function that makes a small method, with feature maps of 4 x 4 cells for those that compare cells."""

    def make(name, **changes):
        model = make_method(name, **{"log__eval_every": 0, "optim__epochs": 1} | changes)
        if name in DENSE:
            keys = model.config.model
            keys.backbone = "vit_tiny"
            keys.backbone_options = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3, "pool": "mean"}
        if name == "vicregl":
            model.config.model.num_matches = [5, 5]
        return model

    return make


@pytest.mark.parametrize("name", PAPERS)
def test_loss_of_a_step_equals_the_paper(make_dense, name, losses_of_third_step):
    expected, found = losses_of_third_step(make_dense(name), PAPERS[name])
    assert found == pytest.approx(expected, rel=1e-4)


def test_second_run_of_salt_learns_from_the_frozen_first(make_dense, toy_data, losses_of_third_step):
    """The loss is the paper's; the teacher never moves, and the run is loaded without the folder of the first."""
    first = make_dense("salt")
    first.fit()
    second = make_dense("salt", log__run="second")
    second.config.model.teacher = str(RunFolder.of(first.config).path)
    expected, found = losses_of_third_step(second, salt)
    assert found == pytest.approx(expected, rel=1e-4)
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(second.teacher.model.state_dict()[name], value), name
        assert name.endswith("bias") or not torch.equal(second.backbone.state_dict()[name], value), name
    RunFolder.of(first.config).path.rename(RunFolder.of(first.config).path.with_name("gone"))
    loaded = BaseModel.from_run(RunFolder.of(second.config).path, data=toy_data, device="cpu")
    torch.testing.assert_close(loaded.teacher.state_dict(), second.teacher.state_dict())


def test_missing_teacher_of_salt_names_the_key(make_dense):
    model = make_dense("salt")
    model.config.model.teacher = "nowhere"
    with pytest.raises(ConfigError, match=r"^model\.teacher='nowhere': no such file or run folder"):
        model.fit()


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_hog_equals_dalal_and_triggs(cell):
    # Integers: gradients of 0 at the border, which continues by reflection, are exact
    images = torch.randint(0, 256, (2, 3, 8, 12), generator=torch.Generator().manual_seed(0)).double()
    images[1, 1] = 128  # a channel of one colour: zeros, no NaN
    expected = np.array([[dalal_triggs(channel, cell) for channel in image] for image in images.numpy()])
    torch.testing.assert_close(hog(images, cell).permute(0, 1, 3, 4, 2), torch.tensor(expected))
    torch.testing.assert_close(hog(3 * images + 1, cell), hog(images, cell))  # contrast and brightness have no effect


def test_shifted_views_are_parts_of_the_image():
    images, top, left = torch.randn(3, 2, 8, 8), torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    found = shifted(images, (3, 3), 2, top, left)
    for n in range(3):
        assert torch.equal(found[n], images[n, :, top[n] : top[n] + 6, left[n] : left[n] + 6])


def test_prefix_depends_on_the_sample_alone():
    """Traps T25 and T26: not on the batch, the rank or the point of resumption."""
    ids = torch.arange(1000)
    lengths = prefix_lengths(ids, 16, seed=3, epoch=2)
    assert torch.equal(prefix_lengths(ids[700:710], 16, seed=3, epoch=2), lengths[700:710])
    assert not torch.equal(prefix_lengths(ids, 16, seed=3, epoch=3), lengths)
    assert lengths.unique().tolist() == list(range(1, 16))


def test_flipped_view_has_flipped_locations():
    crops = torch.tensor([[10.0, 20.0, 8.0, 4.0, 0.0], [10.0, 20.0, 8.0, 4.0, 1.0]])
    plain, flipped = cell_locations(crops, (2, 4))
    assert plain[..., 0].tolist() == [[12.0] * 4, [16.0] * 4]
    assert plain[0, :, 1].tolist() == [20.5, 21.5, 22.5, 23.5]
    assert torch.equal(flipped, plain.flip(1))


@pytest.mark.parametrize("name", ["aim", "nepa"])
def test_class_token_raises_before_data_is_opened(make_dense, name):
    model = make_dense(name)
    model.config.model.backbone_options = {"pool": "class", "patch_size": 2}
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert caught.value.key == "model.backbone_options"
    assert model.config.data.opened == 0


@pytest.mark.parametrize("name", [name for name in METHODS if method_class(name).needs_crops])
def test_data_without_crops_raises(make_dense, name):
    model = make_dense(name)
    opened = model.config.data.open

    class WithoutCrops:
        def __init__(self, loader):
            self.start, self.loader = loader.start, loader

        def __len__(self):
            return len(self.loader)

        def __iter__(self):
            return iter(self.loader)

    def open_without(*arguments):
        loaders = opened(*arguments)
        loaders.train = WithoutCrops(loaders.train)
        return loaders

    model.config.data.open = open_without
    with pytest.raises(ConfigError, match=r"needs the crops of the views, and the training loader, a WithoutCrops"):
        model.fit()


OTHER_PASSES = [*DENSE, *(name for name in METHODS if issubclass(method_class(name), MaskedImageModel))]


@pytest.mark.parametrize("name", OTHER_PASSES)
def test_online_probe_is_trained_without_a_call_of_the_backbone(make_dense, name):
    """From the features of ``tokens`` and ``forward_dense``."""
    model = make_dense(name, optim__max_steps=2)
    assert math.isfinite(model.fit()["train/probe_backbone_loss"])
    assert all(state["step"] == 2 for state in model.probes.optimizer.state.values())


@pytest.mark.parametrize("name", DENSE)
def test_backbone_without_feature_map_raises(make_dense, name):
    model = make_dense(name)
    model.config.model.backbone, model.config.model.backbone_options = (
        "timm/swin_tiny_patch4_window7_224",
        {"depths": [1, 1]},
    )
    model.image_shape = (3, 64, 64)
    with pytest.raises(ConfigError, match="compares the cells of feature maps") as caught:
        model.initialize_modules()
    assert caught.value.key == "model.backbone"


@pytest.mark.parametrize("name", ["maskfeat", "aim", "nepa", "salt"])
def test_vits_of_timm_are_trained(make_dense, name):
    model = make_dense(name, optim__max_steps=2)
    options = {"patch_size": 2, "embed_dim": 12, "depth": 2, "num_heads": 3}
    if name in ("aim", "nepa"):
        options |= {"class_token": False, "global_pool": "avg"}
    model.config.model.backbone, model.config.model.backbone_options = "timm/vit_tiny_patch16_224", options
    assert math.isfinite(model.fit()["train/loss"])

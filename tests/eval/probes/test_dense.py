"""Dense probes: segmentation and depth from patch tokens."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_eval import depth_probe, knn_segmentation, mean_iou, segmentation_probe
from ssl_eval.probes.dense import patches
from ssl_eval.probes.dense.patches import class_counts, patch_sums, token_standardization

sklearn = pytest.importorskip("sklearn")
GRID, SIZE = (3, 4), (9, 16)  # patches of 3 x 4 pixels


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def scenes(images, seed, noise=0.3, num_classes=3, width=6):
    """Masks whose classes change within patches, and tokens that hold the shares of the classes of their patch, and noise."""
    generator = torch.Generator().manual_seed(seed)
    masks = F.interpolate(torch.rand(images, num_classes, 3, 3, generator=generator), SIZE, mode="bilinear").argmax(1)
    masks[:, 0] = 255
    shares = class_counts(masks, GRID, num_classes, 255).double()
    shares /= shares.sum(2, keepdim=True)
    mixing = torch.randn(num_classes, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    tokens = shares @ mixing
    return tokens + noise * torch.randn(tokens.shape, generator=generator, dtype=torch.float64), masks


def test_standardization_equals_torchs_mean_and_deviation(monkeypatch):
    """Oracle: ``torch.std_mean`` of all tokens of all images; a constant feature is divided by one."""
    monkeypatch.setattr(patches, "CHUNK_ROWS", 7)  # several chunks
    tokens = 5 + 3 * torch.randn(20, 12, 6, generator=torch.Generator().manual_seed(0)).half()
    tokens[..., 2] = 4
    mean, scale = token_standardization(tokens)
    deviation, center = torch.std_mean(tokens.double().flatten(0, 1), 0, correction=0)
    torch.testing.assert_close(mean, center)
    torch.testing.assert_close(scale, deviation.where(torch.arange(6) != 2, 1.0))


def test_segmentation_probe_equals_torchs_sgd_on_pixels():
    """Oracles: torch.optim.SGD and F.cross_entropy of all pixels, of a 1 x 1 convolution whose logits are repeated."""
    (train, masks), (test, test_masks) = scenes(20, 0), scenes(10, 1)
    options = {"grid": GRID, "lrs": [0.3], "epochs": 12, "batch_size": 10_000, "weight_decay": 1e-3}
    found = segmentation_probe(train, masks, test, test_masks, **options)
    mean, scale = token_standardization(train)
    x = ((train - mean) / scale).transpose(1, 2).unflatten(2, GRID)
    layer = nn.Conv2d(6, 3, 1, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    groups = [{"params": [layer.weight], "weight_decay": 1e-3}, {"params": [layer.bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.3, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for _ in range(12):
        loss = F.cross_entropy(F.interpolate(layer(x), SIZE, mode="nearest"), masks, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weight = layer.weight.detach()[:, :, 0, 0] / scale
    torch.testing.assert_close(found.weight, weight, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.bias, layer.bias.detach() - weight @ mean, rtol=1e-8, atol=1e-10)
    logits = layer(((test - mean) / scale).transpose(1, 2).unflatten(2, GRID)).detach()
    expected = F.interpolate(logits, SIZE, mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(found.predictions.long(), expected)
    assert found.mean_iou == pytest.approx(mean_iou(expected, test_masks))


def test_learning_rate_is_chosen_on_held_out_images():
    (train, masks), (test, test_masks) = scenes(40, 0), scenes(10, 1)
    found = segmentation_probe(train.half(), masks, test.half(), test_masks, grid=GRID, lrs=(1e-6, 0.3, 1e6), epochs=20)
    assert found.validation_ious.keys() >= {1e-6, 0.3}
    assert found.lr == max(found.validation_ious, key=found.validation_ious.get) == 0.3
    assert found.mean_iou > 0.6
    assert found.weight.dtype == torch.float32
    shuffled = segmentation_probe(train, masks.roll(1, 0), test, test_masks, grid=GRID, epochs=20)
    assert shuffled.mean_iou < found.mean_iou - 0.2  # masks of other images


def test_ignored_pixels_change_nothing():
    """Tokens of patches without a label are not seen: noise in their place gives the same layer."""
    (train, masks), (test, test_masks) = scenes(20, 0), scenes(10, 1)
    masks[::2, :, :8] = 255
    options = {"grid": GRID, "num_classes": 3, "lrs": [0.3], "epochs": 5}
    first = segmentation_probe(train, masks, test, test_masks, **options)
    changed = train.view(20, *GRID, 6).clone()
    changed[::2, :, :2] = changed[::2, :, :2].flip(1)  # the same tokens: mean and deviation stay
    second = segmentation_probe(changed.flatten(1, 2), masks, test, test_masks, **options)
    torch.testing.assert_close(second.weight, first.weight)
    labelled = test_masks != 255
    assert first.pixel_accuracy == pytest.approx(float((first.predictions == test_masks)[labelled].double().mean()))


def test_knn_segmentation_equals_scikit_learn():
    """Oracle: KNeighborsRegressor of scikit-learn on the shares of the classes, by cosine."""
    from sklearn.neighbors import KNeighborsRegressor

    (train, masks), (test, test_masks) = scenes(20, 0), scenes(10, 1)
    found = knn_segmentation(train, masks, test, test_masks, grid=GRID, ks=[5])
    mean, scale = token_standardization(train)
    counts = class_counts(masks, GRID, 3, 255).flatten(0, 1).double()
    model = KNeighborsRegressor(5, metric="cosine", algorithm="brute")
    model.fit(((train - mean) / scale).flatten(0, 1).numpy(), (counts / counts.sum(1, keepdim=True)).numpy())
    votes = torch.from_numpy(model.predict(((test - mean) / scale).flatten(0, 1).numpy()))
    maps = votes.view(10, *GRID, 3).permute(0, 3, 1, 2)
    expected = F.interpolate(maps, SIZE, mode="bilinear", align_corners=False).argmax(1)
    assert (found.predictions == expected).double().mean() > 0.999  # but for equal votes
    assert found.mean_iou == pytest.approx(mean_iou(expected, test_masks), abs=1e-3)


def test_knn_segmentation_chooses_k_and_samples_references():
    (train, masks), (test, test_masks) = scenes(40, 0, noise=0.6), scenes(10, 1, noise=0.6)
    found = knn_segmentation(train, masks, test, test_masks, grid=GRID, ks=(1, 10, 5000))
    assert found.k == max(found.validation_ious, key=found.validation_ious.get) == 10
    assert max(found.validation_ious) == 32 * 12  # all patches of the images that are not held out
    few = knn_segmentation(train, masks, test, test_masks, grid=GRID, ks=[10], references=20)
    assert few.mean_iou < found.mean_iou
    again = knn_segmentation(train, masks, test, test_masks, grid=GRID, ks=[10], references=20)
    assert torch.equal(few.predictions, again.predictions)


def depth_scenes(images, seed, noise=0.1):
    generator = torch.Generator().manual_seed(seed)
    coarse = 1 + 4 * torch.rand(images, 1, 3, 4, generator=generator, dtype=torch.float64)
    depths = F.interpolate(coarse, SIZE, mode="bilinear", align_corners=False)[:, 0]
    means = patch_sums(depths, GRID) / 12
    tokens = torch.randn(images, 12, 6, generator=generator, dtype=torch.float64)
    tokens[:, :, 2] = means + noise * tokens[:, :, 2]
    depths[:, 0] = 0  # not measured
    depths[:, 1, :3] = torch.nan
    return tokens, depths


def test_depth_probe_equals_scikit_learns_ridge():
    """Oracle: Ridge of scikit-learn on every measured pixel, with the token of its patch."""
    from sklearn.linear_model import Ridge

    (train, depths), (test, test_depths) = depth_scenes(20, 0), depth_scenes(10, 1)
    test = 2 * test  # beyond the depths of the training
    found = depth_probe(train, depths, test, test_depths, grid=GRID, regularization=0.05)
    mean, scale = token_standardization(train)
    x = ((train - mean) / scale).view(20, *GRID, 6).repeat_interleave(3, 1).repeat_interleave(4, 2)
    known = depths > 0
    model = Ridge(alpha=0.05 * int(known.sum())).fit(x[known].numpy(), depths[known].numpy())
    weight = torch.from_numpy(model.coef_) / scale
    torch.testing.assert_close(found.weight, weight)
    torch.testing.assert_close(float(found.bias), float(model.intercept_ - weight @ mean))
    maps = (test @ weight + model.intercept_ - weight @ mean).view(10, 1, *GRID)
    expected = F.interpolate(maps, SIZE, mode="bilinear", align_corners=False)[:, 0]
    assert bool((expected > depths[known].max()).any())
    expected = expected.clamp(depths[known].min(), depths[known].max())
    torch.testing.assert_close(found.predictions.double(), expected, rtol=1e-6, atol=1e-6)
    error = (expected - test_depths)[test_depths > 0]
    assert found.rmse == pytest.approx(float(error.square().mean().sqrt()), rel=1e-6)


def test_depth_regularization_is_chosen_on_held_out_images():
    (train, depths), (test, test_depths) = depth_scenes(30, 0), depth_scenes(10, 1)
    found = depth_probe(train.half(), depths.float(), test.half(), test_depths.float(), grid=GRID)
    assert found.regularization == min(found.validation_rmses, key=found.validation_rmses.get) < 1
    assert found.validation_rmses[100.0] > 2 * found.validation_rmses[found.regularization]
    assert found.rmse < 0.5


def test_patches_need_not_divide_the_mask():
    masks = torch.randint(4, (3, 10, 13), generator=torch.Generator().manual_seed(0))
    masks[0, 0] = 255
    counts = class_counts(masks, (3, 4), 4, 255)
    assert int(counts.sum()) == int((masks != 255).sum())
    for number in range(4):
        torch.testing.assert_close(counts[:, :, number].double(), patch_sums(masks == number, (3, 4)))
    # rows 0 to 3 and columns 0 to 3 are those of the first patch: i * 3 // 10 == 0 and j * 4 // 13 == 0
    assert counts[1, 0].tolist() == torch.bincount(masks[1, :4, :4].flatten(), minlength=4).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_tokens": torch.zeros(4, 12)}, r"train_tokens must be \(N, L, D\)"),
        ({"grid": None}, "grid=None: 12 tokens are no square; pass grid"),
        ({"grid": (5, 2)}, r"grid=\(5, 2\): expected height times width to be the 12 tokens"),
        ({"train_masks": torch.zeros(3, 9, 16).long()}, r"train_masks must be \(4, H, W\)"),
        ({"test_masks": torch.zeros(4, 2, 16).long()}, "at least as large as the grid"),
        ({"train_masks": torch.zeros(4, 9, 16)}, "train_masks must be integers"),
        ({"train_masks": torch.full((4, 9, 16), 255)}, "train_masks must have a labelled pixel"),
        ({"num_classes": 2}, "test_masks must be classes in 0..1, .*got 2"),
        ({"train_tokens": torch.full((4, 12, 6), float("nan"))}, "train_tokens must be finite"),
    ],
)
@pytest.mark.parametrize("probe", [segmentation_probe, knn_segmentation])
def test_invalid_segmentation_is_one_line(probe, change, message):
    tokens = torch.randn(4, 12, 6)
    arguments = {
        "train_tokens": tokens, "train_masks": torch.zeros(4, 9, 16).long(), "test_tokens": tokens,
        "test_masks": torch.full((4, 9, 16), 2), "grid": GRID,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        probe(**{**arguments, **change})


def test_diverging_learning_rates_are_an_error():
    tokens, masks = scenes(10, 0)
    tokens = tokens.float()
    with pytest.raises(ValueError, match=r"lrs=\(1e\+38, 2e\+38\): all of them diverge"):
        segmentation_probe(tokens, masks, tokens, masks, grid=GRID, lrs=(1e38, 2e38))
    with pytest.raises(ValueError, match=r"ks=\(\), references=20000"):
        knn_segmentation(tokens, masks, tokens, masks, grid=GRID, ks=())
    with pytest.raises(ValueError, match="two labelled training images or more; pass ks"):
        knn_segmentation(tokens[:1], masks[:1], tokens, masks, grid=GRID)


def test_depth_without_measurement_is_one_line():
    tokens, depths = depth_scenes(4, 0)
    with pytest.raises(ValueError, match="test_depths must have a measured pixel"):
        depth_probe(tokens, depths, tokens, torch.zeros_like(depths), grid=GRID)
    with pytest.raises(ValueError, match="regularization must be above 0"):
        depth_probe(tokens, depths, tokens, depths, grid=GRID, regularization=0.0)

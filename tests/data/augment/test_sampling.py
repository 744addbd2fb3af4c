"""What is drawn for a view, and that it stays what it is."""

import hashlib

import numpy as np
import pytest

from ssl_data import ViewSpec, views
from ssl_data.augment.presets import view_names
from ssl_data.augment.sampling import PARAMETERS, PARAMETERS_VERSION, sample_parameters

GOLDEN = {
    1: {
        "barlow_twins": "72ef5959c2a5b957",
        "byol": "72ef5959c2a5b957",
        "digits": "54401096620dded8",
        "dino": "13fb84c4d712b3c4",
        "evaluation": "eb22256aff464fa8",
        "mae": "b2ba99699057899d",
        "moco_v2": "fa26923465f858bb",
        "moco_v3": "72ef5959c2a5b957",
        "simclr": "157fcac81d2168ce",
        "simsiam": "fa26923465f858bb",
        "supervised": "e1de216995acc63f",
        "swav": "e54dafc0c3c614c6",
        "vicreg": "72ef5959c2a5b957",
    },
}


def digest(name):
    """Return a hash of the parameters of a preset, in float32: two libraries of mathematics may differ in the last bit."""
    hashed = hashlib.sha256()
    for size in (32, 224):
        for view, spec in enumerate(views(name, size=size)):
            for epoch, (height, width) in enumerate([(32, 32), (375, 500)]):
                drawn = sample_parameters(spec, 2**40 + 1, epoch, np.arange(100), view, height, width)
                for field in sorted(PARAMETERS.names):
                    kind = "<f4" if PARAMETERS[field].kind == "f" else PARAMETERS[field].newbyteorder("<")
                    hashed.update((drawn[field] + 0).astype(kind).tobytes())  # + 0: no negative zero
    return hashed.hexdigest()[:16]


@pytest.mark.parametrize("name", view_names())
def test_parameters_are_pinned(name):
    """Golden: another hash changes every run that anybody has made. It needs another PARAMETERS_VERSION and a line in the
    changelog."""
    assert digest(name) == GOLDEN[PARAMETERS_VERSION][name]


def test_parameters_are_a_function_of_seed_epoch_index_and_view():
    spec = views("byol", size=64)[1]
    place = {"seed": 1, "epoch": 2, "ids": 3, "view": 0, "heights": 40, "widths": 32}
    [drawn] = sample_parameters(spec, **place)
    assert sample_parameters(spec, **place)[0] == drawn
    for name in ("seed", "epoch", "ids", "view"):
        assert sample_parameters(spec, **{**place, name: place[name] + 1})[0] != drawn, name
    assert sample_parameters(spec, **{**place, "ids": [9, 3, 2**40]})[1] == drawn


def test_parameters_keep_to_their_ranges():
    spec = ViewSpec(
        size=32, crop_scale=(0.2, 0.8), crop_ratio=(0.75, 1.5), flip=0.5, rotation=20, translate=0.1, zoom=(0.8, 1.2),
        jitter=0.8, brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1, grayscale=0.2,
        blur=0.5, blur_sigma=(0.1, 2.0), solarize=0.3,
    )  # fmt: skip
    drawn = sample_parameters(spec, 0, 0, np.arange(2000), 0, 100, 120)
    area = drawn["height"] * drawn["width"] / 12000
    assert 0.19 < area.min() < 0.25
    assert 0.75 < area.max() < 0.81
    ratio = drawn["width"] / drawn["height"]
    assert 0.73 < ratio.min() < 0.8
    assert 1.4 < ratio.max() < 1.53
    assert (drawn["top"] + drawn["height"] <= 100).all()
    assert (drawn["left"] + drawn["width"] <= 120).all()
    for name, share in {"flip": 0.5, "grayscale": 0.2, "solarize": 0.3}.items():
        assert abs(drawn[name].mean() - share) < 0.04, name
    assert abs((drawn["sigma"] > 0).mean() - 0.5) < 0.04
    for name, bound in {"angle": 20, "shift_x": 3.2, "hue": 0.1}.items():
        assert 0.9 * bound < np.abs(drawn[name]).max() <= bound, name
    assert set(drawn["order"]) == set(range(24))


def test_omitted_operations_have_neutral_parameters():
    spec = ViewSpec(size=32, jitter=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    drawn = sample_parameters(spec, 0, 0, np.arange(1000), 0, 32, 32)
    names = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}
    neutral = np.stack([drawn[name] == value for name, value in names.items()])
    assert (neutral.all(0) == neutral.any(0)).all()  # the jitter is drawn for the four of them at once
    assert abs(neutral[0].mean() - 0.5) < 0.05
    for name, value in {"angle": 0, "shear": 0, "shift_x": 0, "zoom": 1, "sigma": 0, "noise": 0, "flip": 0}.items():
        assert (drawn[name] == value).all(), name


def test_crops_follow_the_distribution_of_torchvision():
    """Oracle: torchvision's RandomResizedCrop.get_params; means and deviations of 4,000 boxes."""
    import torch
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    image = torch.empty(3, 60, 90)
    crop = RandomResizedCrop(32, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    boxes = [crop.make_params([image]) for _ in range(4000)]
    spec = ViewSpec(size=32, crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3))
    drawn = sample_parameters(spec, 0, 0, np.arange(4000), 0, 60, 90)
    for name in ("top", "left", "height", "width"):
        theirs = np.array([box[name] for box in boxes])
        error = theirs.std() / np.sqrt(len(theirs))
        assert abs(drawn[name].mean() - theirs.mean()) < 4 * error, name
        assert abs(drawn[name].std() / theirs.std() - 1) < 0.05, name


@pytest.mark.parametrize("change", [0.4, 1.0, 1.3, 3.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_jitter_has_the_range_of_torchvision(name, change):
    """Oracle: torchvision's ColorJitter, which accepts more than 1; uniform within its range (Kolmogorov and Smirnov)."""
    from scipy.stats import kstest
    from torchvision.transforms.v2 import ColorJitter

    low, high = getattr(ColorJitter(**{name: change}), name)
    drawn = sample_parameters(ViewSpec(jitter=1.0, **{name: change}), 0, 0, np.arange(4000), 0, 32, 32)[name]
    assert low <= drawn.min() <= drawn.max() <= high
    assert kstest(drawn, "uniform", (low, high - low)).pvalue > 1e-3


def test_shifts_are_those_of_torchvision_before_it_rounds():
    """Oracle: torchvision's RandomAffine, which draws a shift from the same range and rounds it to a whole pixel."""
    import torch
    from torchvision.transforms.v2 import RandomAffine

    size, translate = 32, 0.11  # up to 3.52 pixels
    torch.manual_seed(0)
    affine, image = RandomAffine(0, translate=(translate, translate)), torch.empty(3, size, size)
    theirs = np.array([affine.make_params([image])["translate"] for _ in range(4000)])
    drawn = sample_parameters(ViewSpec(size=size, translate=translate), 0, 0, np.arange(4000), 0, size, size)
    for ours, other in ((drawn["shift_x"], theirs[:, 0]), (drawn["shift_y"], theirs[:, 1])):
        assert not np.array_equal(ours, ours.round())
        assert 0.99 * translate * size < np.abs(ours).max() <= translate * size
        shares = [np.bincount(np.asarray(each).round().astype(int) + 4, minlength=9) / 4000 for each in (ours, other)]
        assert np.abs(shares[0] - shares[1]).max() < 0.03  # four standard errors

"""The presets against the numbers of the papers, written down again from their tables and published code."""

import pytest

from ssl_data import ViewSpec, views

SIMCLR = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grayscale": 0.2}
BYOL = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "grayscale": 0.2}
MOCO = {**BYOL, "saturation": 0.4}
BLURRED, SOLARIZED = {"blur": 1.0}, {"blur": 0.1, "solarize": 0.2}

# size 224: what each view is made of; what is not named is off
PAPERS = {
    "simclr": [{"crop_scale": (0.08, 1.0), **SIMCLR, "blur": 0.5}] * 2,
    "byol": [{"crop_scale": (0.08, 1.0), "interpolation": "bicubic", **BYOL, **own} for own in (BLURRED, SOLARIZED)],
    "barlow_twins": [{"crop_scale": (0.08, 1.0), "interpolation": "bicubic", **BYOL, **own} for own in (BLURRED, SOLARIZED)],
    "vicreg": [{"crop_scale": (0.08, 1.0), "interpolation": "bicubic", **BYOL, **own} for own in (BLURRED, SOLARIZED)],
    "moco_v2": [{"crop_scale": (0.2, 1.0), **MOCO, "blur": 0.5}] * 2,
    "simsiam": [{"crop_scale": (0.2, 1.0), **MOCO, "blur": 0.5}] * 2,
    "moco_v3": [{"crop_scale": (0.08, 1.0), **BYOL, **own} for own in (BLURRED, SOLARIZED)],
    "dino": [
        *({"crop_scale": (0.4, 1.0), "interpolation": "bicubic", **BYOL, **own} for own in (BLURRED, SOLARIZED)),
        *[{"size": 96, "crop_scale": (0.05, 0.4), "interpolation": "bicubic", **BYOL, "blur": 0.5}] * 8,
    ],
    "swav": [
        *[{"crop_scale": (0.14, 1.0), **SIMCLR, "blur": 0.5}] * 2,
        *[{"size": 96, "crop_scale": (0.05, 0.14), **SIMCLR, "blur": 0.5}] * 6,
    ],
    "mae": [{"crop_scale": (0.2, 1.0), "interpolation": "bicubic"}],
    "supervised": [{"crop_scale": (0.08, 1.0)}],
}  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
def test_preset_has_the_numbers_of_its_paper(name):
    always = {"size": 224, "crop_ratio": (3 / 4, 4 / 3), "flip": 0.5}
    assert views(name, size=224) == [ViewSpec(**{**always, **own}) for own in PAPERS[name]]


def test_evaluation_resizes_to_256_and_cuts_out_224():
    assert views("evaluation", size=224) == [ViewSpec(size=224, resize=256)]
    assert views("evaluation", size=32) == [ViewSpec(size=32, resize=32)]


def test_blur_of_224_pixels_has_the_papers_kernel():
    """Grill et al. 2020, appendix B: a kernel of 23 by 23, sigma from 0.1 to 2.0."""
    first = views("byol", size=224)[0]
    assert (first.blur_kernel_size, first.blur_sigma) == (23, (0.1, 2.0))


def test_simclr_on_cifar_has_half_the_strength_and_no_blur():
    """Chen et al. 2020, appendix B.9."""
    half = {**SIMCLR, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    expected = ViewSpec(size=32, crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5, **half)
    assert views("simclr", size=32) == [expected] * 2


@pytest.mark.parametrize(("name", "num_local"), [("dino", 4), ("swav", 0)])
def test_local_views_are_as_many_as_asked_for(name, num_local):
    sizes = [spec.size for spec in views(name, size=224, num_local=num_local)]
    assert sizes == [224, 224] + [96] * num_local
    with pytest.raises(ValueError, match=r"num_local=2.*'simclr' has none"):
        views("simclr", num_local=2)


def test_views_of_any_preset_take_size_mean_and_std():
    [spec] = views("mae", size=48, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    assert (spec.size, spec.mean, spec.std) == (48, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


def test_unknown_preset_and_operation_name_the_nearest():
    with pytest.raises(ValueError, match=r"^name='simclf'.*did you mean 'simclr'"):
        views("simclf")
    with pytest.raises(ValueError, match=r"^rotaton=3: unknown operation; did you mean 'rotation'"):
        ViewSpec().changed({"rotaton": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5}, {"size": 0}, {"crop_scale": (0.5, 0.2)}, {"crop_scale": (0.5, 2.0)}, {"hue": 0.7}, {"std": (0.0,)},
        {"contrast": -0.1}, {"shear": 90.0}, {"zoom": (1.0, float("inf"))}, {"resize": 20}, {"blur": 0.5, "size": 1},
        {"resize": 40, "crop_scale": (0.5, 1.0)}, {"interpolation": "nearest"},
    ],
)  # fmt: skip
def test_invalid_numbers_raise(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}=.*: expected"):
        ViewSpec(**wrong)

"""Views of images with other bands and types than 8-bit RGB. Oracles: torchvision's functions, numpy for exact values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from ssl_data import ViewSpec, views
from ssl_data.augment.backends.cpu import CPUView
from ssl_data.augment.backends.gpu import GPUView
from ssl_data.augment.backends.reference import reference_view
from ssl_data.augment.columns import table
from ssl_data.augment.operations import RandomErasing, VerticalFlip
from ssl_data.augment.sampling import sample_parameters
from ssl_data.errors import ArgumentError

TOLERANCE = 0.02 / 255  # of the range of the values: rounding of float32, nothing else
KINDS = {
    "uint8": (np.uint8, None),
    "uint16": (np.uint16, None),
    "12 bits": (np.uint16, (0, 4095)),
    "float32": (np.float32, None),
    "kelvin": (np.float32, (180.0, 340.0)),
}
kinds = pytest.mark.parametrize(("kind", "value_range"), KINDS.values(), ids=list(KINDS))
ALL = ViewSpec(
    size=24, crop_scale=(0.2, 1.0), flip=0.5, rotation=10.0, jitter=1.0, brightness=0.4, contrast=0.8, blur=0.5, noise=0.1,
    operations=(VerticalFlip(0.5), RandomErasing(0.5)), mean=(0.4,), std=(0.2,),
)  # fmt: skip
OPERATIONS = {
    "nothing": ViewSpec(size=32),
    "crop": ViewSpec(size=24, crop_scale=(0.08, 1.0), flip=0.5),
    "bicubic": ViewSpec(size=24, resize=28, interpolation="bicubic"),
    "affine": ViewSpec(size=32, rotation=30.0, translate=0.2, zoom=(0.7, 1.4), shear=20.0),
    "brightness": ViewSpec(size=32, jitter=1.0, brightness=0.8),
    "contrast": ViewSpec(size=32, jitter=1.0, contrast=0.8),
    "solarize": ViewSpec(size=20, solarize=0.5),
    "all": ALL,
}


def stored(kind, value_range, bands, count=6):
    """Return images ``(count, 40, 32, bands)`` of noise, of which each band has a brightness of its own."""
    low, high = value_range or {np.uint8: (0, 255), np.uint16: (0, 65535), np.float32: (0, 1)}[kind]
    random = np.random.default_rng(bands).random((count, 40, 32, bands)) ** np.linspace(0.5, 3, bands)
    values = low + random * (high - low)
    return (values if kind is np.float32 else values.round()).astype(kind)


def drawn(images, spec):
    return sample_parameters(spec, 0, 0, np.arange(len(images)), 0, *images.shape[1:3])


def cpu(images, spec, value_range, dtype=torch.float32):
    view = CPUView(spec, images.shape[3], value_range)
    out = torch.empty((len(images), *view.shape), dtype=dtype)
    view.fill(np.ascontiguousarray(images), np.arange(len(images)), drawn(images, spec), out)
    return out.permute(0, 3, 1, 2)


def gpu(images, spec, value_range, dtype=torch.float32):
    view = GPUView(spec, images.shape[3], torch.device("cpu"), value_range)
    return view.make(torch.from_numpy(images), torch.arange(len(images)), table(drawn(images, spec)), dtype)


def reference(images, spec, value_range):
    return torch.stack([reference_view(*each, value_range) for each in each_with(images, spec)])


def each_with(images, spec):
    return [(image, spec, row) for image, row in zip(images, drawn(images, spec))]


backends = pytest.mark.parametrize("backend", [cpu, gpu])


@backends
@kinds
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13, 64])
def test_all_operations_equal_the_reference(backend, kind, value_range, bands):
    images = stored(kind, value_range, bands)
    made = backend(images, ALL, value_range)
    assert made.shape == (6, bands, 24, 24)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert ((made - reference(images, ALL, value_range)).abs() * ALL.std[0]).max() < TOLERANCE


@backends
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_equals_the_reference(backend, name):
    spec, images = OPERATIONS[name], stored(np.uint16, None, 13)
    expected, made = reference(images, spec, None), backend(images, spec, None)
    if spec.solarize:  # a pixel on the threshold may fall to either side
        plain = reference(images, replace(spec, solarize=0.0), None)
        expected = torch.where((plain - 0.5).abs() < 1e-5, made, expected)
    assert ((made - expected).abs() * spec.std[0]).max() < TOLERANCE
    if name not in ("nothing", "bicubic"):
        neutral = replace(spec, **{key: getattr(ViewSpec, key) for key in vars(spec) if key not in ("size", "resize")})
        assert (made - backend(images, neutral, None)).abs().max() > 0.01


@backends
@kinds
@pytest.mark.parametrize("bands", [1, 3, 13])
def test_without_operations_the_values_are_those_that_are_stored(backend, kind, value_range, bands):
    """Oracle: numpy, in float64."""
    images = stored(kind, value_range, bands, count=2)[:, :32]
    low, high = value_range or {np.uint8: (0, 255), np.uint16: (0, 65535), np.float32: (0, 1)}[kind]
    expected = (images.astype(np.float64) - low) / (high - low)
    made = backend(images, ViewSpec(size=32), value_range).permute(0, 2, 3, 1).double().numpy()
    assert np.abs(made - expected).max() < 2e-7  # two roundings of float32
    if kind is not np.float32:
        assert np.array_equal((low + made * (high - low)).round(), images)


@backends
def test_brightness_and_contrast_are_those_of_torchvision(backend):
    """Oracles: each band as a grey image; all bands side by side as one grey image."""
    images = stored(np.uint16, None, 13)[:, :32]
    bands = torch.from_numpy(images.astype(np.float32) / 65535).permute(0, 3, 1, 2)
    spec = ViewSpec(size=32, jitter=1.0, brightness=0.8)
    expected = [
        torch.cat([tv.adjust_brightness(band[None], row["brightness"]) for band in image])
        for image, row in zip(bands, drawn(images, spec))
    ]
    assert (backend(images, spec, None) - torch.stack(expected)).abs().max() < TOLERANCE
    spec = ViewSpec(size=32, jitter=1.0, contrast=0.8)
    expected = [
        torch.stack(tv.adjust_contrast(torch.cat(list(image), 1)[None], row["contrast"])[0].split(32, 1))
        for image, row in zip(bands, drawn(images, spec))
    ]
    assert (backend(images, spec, None) - torch.stack(expected)).abs().max() < TOLERANCE


@backends
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_of_deep_rgb_and_grey_images(backend, kind):
    """The presets apply to RGB and to grey images of any type."""
    spec = replace(views("simclr", size=32)[0], jitter=1.0, grayscale=0.5)
    for bands in (1, 3):
        images = stored(kind, None, bands)
        assert (backend(images, spec, None) - reference(images, spec, None)).abs().max() < TOLERANCE


@backends
def test_bfloat16_is_float32_rounded_to_the_nearest(backend):
    """Oracle: torch's own conversion."""
    images, spec = stored(np.uint8, None, 13), replace(ALL, operations=())
    single, half = (backend(images, spec, None, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert torch.equal(half, single.to(torch.bfloat16))


@pytest.mark.parametrize("bands", [2, 4, 13])
@pytest.mark.parametrize(
    ("changes", "argument", "message"),
    [
        ({"saturation": 0.4}, "saturation", r"^saturation=0.4: needs RGB images, and these have {} bands; leave it out"),
        ({"hue": 0.1, "grayscale": 0.2}, "hue", r"^hue=0.1: needs RGB images \(grayscale=0.2 as well\).*\(spec, hue=0, gra"),
        ({"grayscale": 0.2}, "grayscale", r"data.views=\[\{{preset: simclr, grayscale: 0\}}\]$"),
    ],
)  # fmt: skip
def test_colour_operations_raise_by_name(bands, changes, argument, message):
    spec, image = ViewSpec(jitter=0.8, **changes), np.zeros((32, 32, bands), np.uint8)
    for make in (
        lambda: CPUView(spec, bands),
        lambda: GPUView(spec, bands, torch.device("cpu")),
        lambda: reference_view(*each_with(image[None], spec)[0]),
    ):
        with pytest.raises(ArgumentError, match=message.format(bands)) as caught:
            make()
        assert (caught.value.argument, caught.value.value) == (argument, changes[argument])
    left_out = replace(spec, saturation=0, hue=0, grayscale=0)
    assert CPUView(left_out, bands).shape == (32, 32, bands)
    assert CPUView(replace(spec, jitter=0.0, grayscale=0.0), bands).shape == (32, 32, bands)  # nothing is drawn

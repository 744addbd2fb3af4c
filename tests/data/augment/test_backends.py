"""The executors against the reference. Oracle: torchvision.transforms.v2.functional, one image at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from ssl_data import ViewSpec, views
from ssl_data.augment.backends.cpu import CPUView
from ssl_data.augment.backends.gpu import GPUView
from ssl_data.augment.backends.reference import reference_view
from ssl_data.augment.columns import table
from ssl_data.augment.presets import view_names
from ssl_data.augment.sampling import sample_parameters

TOLERANCE = 0.02  # grey levels of 255: rounding of float32, nothing else
RATIO = (3 / 4, 4 / 3)
OPERATIONS = {
    "nothing": ViewSpec(size=32),
    "smaller": ViewSpec(size=20),
    "larger": ViewSpec(size=48),
    "centre": ViewSpec(size=24, resize=28),
    "bicubic": ViewSpec(size=24, resize=28, interpolation="bicubic"),
    "crop": ViewSpec(size=32, crop_scale=(0.08, 1.0), crop_ratio=RATIO),
    "bicubic_crop": ViewSpec(size=32, crop_scale=(0.08, 1.0), crop_ratio=RATIO, interpolation="bicubic"),
    "flip": ViewSpec(size=32, flip=0.5),
    "rotation": ViewSpec(size=32, rotation=30.0),
    "shift": ViewSpec(size=32, translate=0.2),
    "zoom": ViewSpec(size=32, zoom=(0.7, 1.4)),
    "shear": ViewSpec(size=32, shear=20.0),
    "brightness": ViewSpec(size=32, jitter=1.0, brightness=0.8),
    "contrast": ViewSpec(size=32, jitter=1.0, contrast=0.8),
    "saturation": ViewSpec(size=32, jitter=1.0, saturation=0.8),
    "hue": ViewSpec(size=32, jitter=1.0, hue=0.5),
    "strong_jitter": ViewSpec(size=32, jitter=1.0, brightness=1.3, contrast=2.0, saturation=1.5),
    "jitter": ViewSpec(size=32, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "grayscale": ViewSpec(size=32, grayscale=0.5),
    "blur": ViewSpec(size=64, blur=0.5, blur_sigma=(0.1, 2.0)),
    "solarize": ViewSpec(size=32, solarize=0.5),
    "noise": ViewSpec(size=32, noise=0.1),
    "normalise": ViewSpec(size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)),
}


def fused(images, spec, parameters, dtype=torch.float32):
    view = CPUView(spec, images.shape[3])
    out = torch.empty((len(images), *view.shape), dtype=dtype)
    view.fill(np.ascontiguousarray(images), np.arange(len(images)), parameters, out)
    return out.permute(0, 3, 1, 2)


def device(images, spec, parameters, dtype=torch.float32):
    view = GPUView(spec, images.shape[3], torch.device("cpu"))
    rows = torch.arange(len(images))
    return view.make(torch.from_numpy(np.ascontiguousarray(images)), rows, table(parameters), dtype)


EXECUTORS = {"fused": fused, "device": device}
# One name for each preset: several papers have the views of another one
PRESETS = sorted({tuple(views(name, size=224)): name for name in view_names()}.values())
executors = pytest.mark.parametrize("executor", EXECUTORS.values(), ids=list(EXECUTORS))


def drawn(images, spec, view=0, epoch=0):
    return sample_parameters(spec, 0, epoch, np.arange(len(images)), view, *images.shape[1:3])


def difference(executor, images, spec, view=0, epoch=0):
    """Return the largest difference over all images, in grey levels of 255 before normalisation.

    Solarisation may flip a pixel that lies on the threshold to a rounding: it is left out.
    """
    parameters = drawn(images, spec, view, epoch)
    made = executor(images, spec, parameters)
    std, mean = torch.tensor(spec.std)[:, None, None], torch.tensor(spec.mean)[:, None, None]
    worst = 0.0
    for number, image in enumerate(images):
        expected = reference_view(image, spec, parameters[number])
        if parameters[number]["solarize"]:
            unsolarized = parameters[number : number + 1].copy()
            unsolarized["solarize"] = False
            before = reference_view(image, spec, unsolarized[0]) * std + mean
            expected = torch.where((before - 0.5).abs() < 1e-5, made[number], expected)
        worst = max(worst, float(((made[number] - expected).abs() * std).max() * 255))
    return worst


@executors
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_equals_the_reference_on_noise(executor, name, noise):
    assert difference(executor, noise, OPERATIONS[name]) < TOLERANCE


@executors
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_equals_the_reference_on_photographs(executor, name, photographs):
    assert difference(executor, photographs[::10], OPERATIONS[name]) < TOLERANCE


@executors
@pytest.mark.parametrize("name", PRESETS)
def test_preset_equals_the_reference_on_noise(executor, name, noise):
    for view, spec in enumerate(distinct(views(name, size=32, mean=(0.5,), std=(0.25,)))):
        assert difference(executor, noise, spec, view=view, epoch=3) < TOLERANCE


@executors
@pytest.mark.parametrize("name", PRESETS)
def test_preset_equals_the_reference_on_photographs(executor, name, photographs):
    for view, spec in enumerate(distinct(views(name, size=64, mean=(0.5,), std=(0.25,)))):
        assert difference(executor, photographs[::20], spec, view=view, epoch=3) < TOLERANCE


@executors
@pytest.mark.parametrize("name", PRESETS)
def test_preset_equals_the_reference_on_large_photographs(executor, name, large_photographs):
    """At 224 pixels, each photograph of its own size."""
    for view, spec in enumerate(distinct(views(name, size=224, mean=(0.5,), std=(0.25,)))):
        for image in large_photographs:
            assert difference(executor, image[None], spec, view=view, epoch=1) < TOLERANCE


def distinct(specs):
    return list(dict.fromkeys(specs))


@executors
def test_grey_images_have_one_channel(executor, noise):
    """The digits' views on images of one channel."""
    grey = noise[:, :8, :8, :1].copy()
    assert difference(executor, grey, views("digits", size=16)[0]) < TOLERANCE
    assert difference(executor, grey, views("byol", size=16)[1]) < TOLERANCE


@executors
def test_operations_do_something(executor, noise):
    plain = executor(noise, ViewSpec(size=32), drawn(noise, ViewSpec(size=32)))
    for name, spec in OPERATIONS.items():
        if spec.size == 32 and name != "nothing":
            assert (executor(noise, spec, drawn(noise, spec)) - plain).abs().max() > 0.01, name


@executors
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_torchvisions_resize_and_centre_crop(executor, interpolation):
    """Oracle: torchvision's Resize and CenterCrop as transforms, on images that are no square."""
    images = np.random.default_rng(3).integers(0, 256, (2, 45, 61, 3), dtype=np.uint8)
    spec = ViewSpec(size=28, resize=32, interpolation=interpolation)
    resize = v2.Resize(32, interpolation=v2.InterpolationMode(interpolation), antialias=True)
    evaluation = v2.Compose([resize, v2.CenterCrop(28)])
    expected = evaluation(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).clamp(0, 1)
    made = executor(images, spec, drawn(images, spec))
    assert (made - expected).abs().max() * 255 < TOLERANCE


@executors
def test_bfloat16_is_float32_rounded_to_the_nearest(executor, noise):
    """Oracle: torch's own conversion."""
    spec = views("simclr", size=32, mean=(0.5,), std=(0.25,))[0]
    parameters = drawn(noise, spec)
    single = executor(noise, spec, parameters)
    half = executor(noise, spec, parameters, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, single.to(torch.bfloat16))


@executors
def test_views_are_channels_last(executor, noise):
    spec = replace(views("simclr", size=32)[0])
    assert executor(noise, spec, drawn(noise, spec)).is_contiguous(memory_format=torch.channels_last)


def test_device_executor_never_waits_for_the_device(noise):
    """Oracle: torch's fake tensors, which have no values: whatever asks for one raises."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    spec = replace(OPERATIONS["jitter"], rotation=10.0, grayscale=0.5, blur=0.5, solarize=0.5, noise=0.1)
    parameters = table(drawn(noise, spec))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        view = GPUView(spec, 3, torch.device("cpu"))
        images, rows = mode.from_tensor(torch.from_numpy(noise)), mode.from_tensor(torch.arange(len(noise)))
        made = view.make(images, rows, mode.from_tensor(parameters))
        with pytest.raises(DataDependentOutputException):
            made.max().item()
    assert tuple(made.shape) == (20, 3, 32, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_views_are_the_same_and_nothing_waits(noise):
    """Oracle: torch's check for synchronisation, which only a GPU has."""
    spec = views("byol", size=64)[1]
    parameters = drawn(noise, spec)
    cuda = torch.device("cuda")
    view = GPUView(spec, 3, cuda)
    images, rows, own = (x.to(cuda) for x in (torch.from_numpy(noise), torch.arange(len(noise)), table(parameters)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = view.make(images, rows, own)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (made.cpu() - device(noise, spec, parameters)).abs().max() * 255 < 2 * TOLERANCE

"""Operations that extend the engine: the three implementations, and what is drawn."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from code_blocks import code_blocks
from ssl_data import ArraySource, DataConfig, Loader, ViewSpec, views
from ssl_data.augment.backends.cpu import CPUView
from ssl_data.augment.backends.gpu import GPUView
from ssl_data.augment.backends.reference import reference_view
from ssl_data.augment.columns import table
from ssl_data.augment.operation_parameters import _uniforms
from ssl_data.augment.operations import OPERATIONS
from ssl_data.augment.operations.patch_drop import PatchDrop
from ssl_data.augment.operations.random_erasing import RandomErasing
from ssl_data.augment.operations.three_augment import ThreeAugment
from ssl_data.augment.operations.vertical_flip import VerticalFlip
from ssl_data.augment.rng import philox
from ssl_data.augment.sampling import sample_parameters

README = Path(__file__).parents[3] / "packages" / "ssl-data" / "README.rst"
KINDS = [
    (VerticalFlip(0.5),),
    (RandomErasing(0.7, value=0.3),),
    (RandomErasing(1.0), VerticalFlip(0.5), RandomErasing(0.5)),
    (ThreeAugment(0.9),),
    (PatchDrop(0.4, grid=3, value=0.7), PatchDrop(0.1, grid=5, probability=0.5)),
]
NAMES = ["vertical flip", "random erasing", "three", "3-augment", "patch drop"]


@pytest.mark.parametrize("operations", KINDS, ids=NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_backends_agree_with_the_reference(noise, operations, channels):
    """Oracle: the reference, which calls torchvision's functions."""
    images = np.ascontiguousarray(noise[:12, :32, :, :channels])
    spec = ViewSpec(size=16, flip=0.5, jitter=1.0, brightness=0.4, operations=operations, mean=(0.4,), std=(0.2,))
    assert_backends_agree(images, spec)


def assert_backends_agree(images, spec):
    channels, size = images.shape[3], spec.size
    rows = np.arange(12)
    drawn = sample_parameters(spec, 1, 2, rows, 0, 32, 32)
    expected = torch.stack([reference_view(image, spec, p) for image, p in zip(images, drawn)])
    out = torch.empty(12, size, size, channels)
    CPUView(spec, channels).fill(images, rows, drawn, out)
    made = GPUView(spec, channels, torch.device("cpu")).make(
        torch.from_numpy(images), torch.from_numpy(rows), table(drawn)
    )
    assert (out.permute(0, 3, 1, 2) - expected).abs().max() < 1e-3
    assert (made - expected).abs().max() < 1e-3
    half = torch.empty(12, size, size, channels, dtype=torch.bfloat16)
    CPUView(spec, channels).fill(images, rows, drawn, half)
    assert torch.equal(half, out.bfloat16())


def test_operation_of_the_readme_in_a_file_of_a_user(noise, tmp_path, monkeypatch):
    """Oracle: torchvision.transforms.v2.functional.posterize."""
    [text] = [block for block in code_blocks(README.read_text()) if "class Posterize" in block]
    (tmp_path / "posterize.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("posterize")
    images = np.ascontiguousarray(noise[:12, :32])
    spec = ViewSpec(size=32, operations=(module.Posterize(0.5, bits=3), VerticalFlip(0.5)))
    assert_backends_agree(images, spec)
    assert list(Path(module._posterize.stats.cache_path).glob("posterize.*.nbi"))
    spec = replace(spec, operations=(module.Posterize(1.0),))
    expected = v2.functional.posterize(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, 4)
    for options in ({"num_workers": 3}, {"device": "cpu"}):
        loader = Loader(ArraySource(images), [spec], 12, shuffle=False, return_parameters=True, **options)
        (view,), _, _, (parameters,) = next(iter(loader))
        assert (view - expected).abs().max() < 1e-6
        assert parameters["posterize"].all()


def test_flip_is_that_of_torchvision(noise):
    """Oracle: torchvision.transforms.v2.functional.vertical_flip."""
    spec = ViewSpec(size=32, operations=(VerticalFlip(1.0),))
    images = np.ascontiguousarray(noise[:2, :32])
    view = next(iter(Loader(ArraySource(images), [spec], 2, shuffle=False, num_workers=1)))[0][0]
    expected = v2.functional.vertical_flip(torch.from_numpy(images).permute(0, 3, 1, 2)) / 255
    assert (view - expected).abs().max() < 1e-6


def test_erased_shares_are_those_of_torchvision():
    """Oracle: torchvision.transforms.v2.RandomErasing."""
    u = torch.rand((4000, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = RandomErasing(0.4).draw(u, 32)
    is_erased = drawn["erase_height"] > 0
    ours = (drawn["erase_height"] * drawn["erase_width"])[is_erased] / 32**2
    torch.manual_seed(0)
    transform, black = v2.RandomErasing(1.0, value=1.0), torch.zeros(1, 32, 32)
    theirs = torch.stack([transform(black).mean() for _ in range(1500)])
    assert is_erased.double().mean() == pytest.approx(0.4, abs=0.03)
    for quantile in (0.1, 0.5, 0.9):
        assert ours.quantile(quantile).item() == pytest.approx(theirs.quantile(quantile).item(), abs=0.02)
    assert (drawn["erase_top"] + drawn["erase_height"]).max() <= 32
    assert (drawn["erase_left"] + drawn["erase_width"]).max() <= 32


def test_three_augment_draws_each_operation_equally_often():
    u = torch.rand((6000, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = ThreeAugment(0.75, sigma=(1.0, 3.0)).draw(u, 32)
    shares = drawn["three_augment"].bincount(minlength=4) / 6000
    assert shares == pytest.approx([0.25] * 4, abs=0.02)
    assert drawn["three_augment_sigma"].min() >= 1.0
    assert drawn["three_augment_sigma"].mean() == pytest.approx(2.0, abs=0.05)


def test_patch_drop_drops_the_share_of_each_sample():
    operation = PatchDrop(0.25, grid=4, probability=0.8)
    u = torch.rand((4000, operation.num_uniforms), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dropped = operation.draw(u, 32)["dropped_patches"]
    assert sorted(set(dropped.sum(1).tolist())) == [0, 4]
    assert (dropped.sum(1) > 0).double().mean() == pytest.approx(0.8, abs=0.03)
    assert dropped.double().mean(0) == pytest.approx([0.2] * 16, abs=0.03)  # every patch equally often
    left = operation.gpu(torch.ones(4000, 1, 32, 32), {"dropped_patches": dropped}).mean((1, 2, 3))
    assert torch.equal(left, 1 - dropped.float().mean(1))


def test_uniforms_are_those_of_philox():
    """Oracle: ssl_data.augment.rng.philox, which is tested against its authors' known answers."""
    keys = torch.tensor([2**62 + 5, -7])
    drawn = _uniforms(keys, 2, 6)
    for row, key in zip(drawn, keys.tolist()):
        for block in range(2):
            words = philox(*(np.uint64(each) for each in (block, 0, 3, 0, key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF)))
            expected = [int(word) // 256 / 2**24 for word in words]
            assert row[4 * block : 4 * block + 4].tolist() == expected[: 4 if block == 0 else 2]


def test_operations_change_no_other_parameter(noise):
    source = ArraySource(np.ascontiguousarray(noise[:, :32]))
    plain = views("simclr", size=16)
    extended = [spec.changed({"operations": [{"name": "vertical_flip", "probability": 1.0}]}) for spec in plain]
    before, after = (next(iter(Loader(source, each, 8, num_workers=1))) for each in (plain, extended))
    assert torch.allclose(before[0][1].flip(2), after[0][1])
    *_, parameters = next(iter(Loader(source, extended, 8, num_workers=1, return_parameters=True)))
    assert parameters[0]["vertical_flip"].all()
    on_device = next(iter(Loader(source, extended, 8, device="cpu", return_parameters=True)))
    assert on_device[3][1]["vertical_flip"].all()
    with pytest.raises(ValueError, match="no box in the image"):
        Loader(source, extended, 8).with_crops()


def test_operations_by_name_in_a_configuration():
    config = DataConfig(views=[{"preset": "digits", "operations": [{"name": "random_erasing", "scale": [0.1, 0.2]}]}])
    assert [spec.operations for spec in config.open(8, 0).train.views] == [(RandomErasing(scale=(0.1, 0.2)),)] * 2


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([{"operations": [{"name": "vertical_flop"}]}], "'vertical_flop': expected one of .*; did you mean 'vertical_flip'"),
        ([{"operations": ["random_erasing", {"name": "vertical_flip", "probabilty": 1}]}], "did you mean 'probability'"),
        ([{"operations": 3}], "operations=3: expected a list of operations"),
        ([{"operations": [{"name": "vertical_flip", "probability": 2.0}]}], "vertical_flip: probability=2.0: expected 0 to 1"),
        ([{"operations": [{"name": "random_erasing", "scale": [0.3, 0.1]}]}], "random_erasing: scale=.*two numbers above 0"),
        ([{"operations": [{"name": "three_augment", "sigma": [0.0, 2.0]}]}], r"three_augment: sigma=\(0.0, 2.0\): expected"),
        ([{"operations": [{"name": "patch_drop", "share": 1.5}]}], "patch_drop: share=1.5: expected 0 to 1"),
        ([{"operations": [{"name": "patch_drop", "grid": 0}]}], "patch_drop: grid=0: expected a whole number"),
        ([{"vertical_flip": 0.5}], "unknown operation"),
    ],
)  # fmt: skip
def test_unknown_operations_and_options_name_the_nearest(views, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(views=views).check()


def test_unknown_field_of_a_subclass_raises():
    @dataclass(frozen=True)
    class Mine(ViewSpec):
        flips: float = 0.5

    with pytest.raises(ValueError, match=r"Mine.flips=0.5: .*did you mean 'flip'"):
        Mine(size=8)


@pytest.mark.parametrize("operations", [(VerticalFlip,), VerticalFlip(0.5), ({"name": "vertical_flip"},)])
def test_other_things_than_operations_raise(operations):
    with pytest.raises(
        ValueError, match=r"operations=.*: expected a tuple of operations, such as \(VerticalFlip\(0.5\),\)"
    ):
        ViewSpec(size=8, operations=operations)
    assert ViewSpec(size=8, operations=[VerticalFlip(0.5)]) == ViewSpec(size=8, operations=(VerticalFlip(0.5),))


def test_registered_names_are_those_of_the_files():
    assert all(kind.__module__.endswith(f".{name}") for name, kind in OPERATIONS.items())

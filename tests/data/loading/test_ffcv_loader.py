"""FFCV's own loader as the training loader. Oracle: FFCV's order, and the pixels that were written."""

import logging
import threading

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from ssl_data import ArraySource, BetonSource, DataConfig, write_beton
from ssl_data.errors import ArgumentError
from ssl_data.loading.ffcv_loader import FFCVLoader

pytestmark = pytest.mark.usefixtures("ffcv")

M, SIZE, BATCH = 32, 16, 4
IMAGES = np.random.default_rng(0).integers(0, 256, (M, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(M) % 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ffcv") / "train.beton"
    write_beton(ArraySource(IMAGES, LABELS), path)
    return path


def make_loader(path, pipelines=None, **options):
    """Return a loader of two views that are not random: the image, and the mirrored image."""
    from ffcv import transforms as t
    from ffcv.fields.decoders import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.pipeline import PipelineSpec

    decoder = SimpleRGBImageDecoder()

    def last():
        table = t.NormalizeImage(np.array([0.0, 51, 102]), np.array([255.0, 51, 255]), np.float32)
        return [table, t.ToTensor(), t.ToTorchImage()]

    default = {
        "image": None,
        "plain": PipelineSpec("image", decoder, last()),
        "mirrored": PipelineSpec(decoder, None, [t.RandomHorizontalFlip(1.0), *last()]),  # one decoding for both
    }
    options = {"batch_size": BATCH, "num_workers": 2, "order": OrderOption.RANDOM, "batches_ahead": 1} | options
    return Loader(str(path), pipelines=pipelines or default, **options)


@pytest.fixture(scope="module")
def loader(path):
    return make_loader(path)


def adapted(loader, path, batch_size=BATCH, **options):
    return FFCVLoader(loader, BetonSource(path), batch_size, **{"seed": 3, **options})


def test_views_labels_and_ids_belong_together(loader, path):
    """All batches are held while the ring of three buffers is overwritten."""
    batches = list(adapted(loader, path))
    assert len(batches) == len(adapted(loader, path)) == M // BATCH
    mean, std = torch.tensor([0, 0.2, 0.4]).view(3, 1, 1), torch.tensor([1, 0.2, 1]).view(3, 1, 1)
    for (plain, mirrored), labels, ids in batches:
        expected = (torch.from_numpy(IMAGES[ids]).permute(0, 3, 1, 2) / 255 - mean) / std
        assert torch.allclose(plain, expected, atol=1e-6)
        assert torch.allclose(mirrored, expected.flip(3), atol=1e-6)
        assert labels.dtype == ids.dtype == torch.int64
        assert labels.tolist() == LABELS[ids].tolist()


def test_order_is_that_of_ffcv_with_the_seed_of_the_run(loader, path):
    """Whatever the seed of the loader is, which FFCV draws if none is given."""
    ours = adapted(loader, path)
    for epoch in (0, 1):
        ids = torch.cat([batch[2] for batch in ours]).tolist()
        assert ids == np.random.default_rng(3 + epoch).permutation(M).tolist()


def test_resumed_epoch_equals_the_rest_of_the_uninterrupted_one(loader, path):
    ours = adapted(loader, path)
    whole = list(ours.start(1))
    for step in (1, 5, M // BATCH):
        rest = list(ours.start(1, step))
        assert len(rest) == len(whole) - step
        for batch, expected in zip(rest, whole[step:]):
            assert all(torch.equal(a, b) for a, b in zip((*batch[0], *batch[1:]), (*expected[0], *expected[1:])))
    with pytest.raises(ValueError, match="expected epoch >= 0 and 0 <= step <= 8"):
        ours.start(0, 9)


def test_ranks_share_each_batch(loader, path):
    """Two ranks with half of a batch each; the oracle is the order of FFCV."""
    ranks = [adapted(loader, path, 2 * BATCH, rank=rank, world_size=2) for rank in (0, 1)]
    parts = [[batch[2] for batch in each] for each in ranks]
    assert len(parts[0]) == len(parts[1]) == M // (2 * BATCH)
    ids = torch.cat([torch.cat(step) for step in zip(*parts)]).tolist()
    assert ids == np.random.default_rng(3).permutation(M).tolist()


def test_loop_that_ends_early_leaves_no_thread(loader, path):
    ours = adapted(loader, path)
    list(ours)  # numba starts its threads once
    before = threading.active_count()
    for _ in range(3):
        for _ in ours:
            break
    assert threading.active_count() == before


def test_iteration_that_is_held_changes_no_other(loader, path):
    """As by the traceback of an interrupted run, in a notebook."""
    held = iter(adapted(loader, path).start(1, 5))
    next(held)
    ids = torch.cat([batch[2] for batch in adapted(loader, path)]).tolist()
    assert ids == np.random.default_rng(3).permutation(M).tolist()
    assert torch.cat([batch[2] for batch in held]).tolist() == np.random.default_rng(4).permutation(M)[24:].tolist()


def test_limit_of_reproducibility_is_logged_once(loader, path, caplog):
    with caplog.at_level(logging.WARNING):
        ours = adapted(loader, path)
        for epoch in (0, 1):
            next(iter(ours.start(epoch)))
    (message,) = [record.getMessage() for record in caplog.records if "FFCV" in record.getMessage()]
    assert "cannot be reproduced" in message
    assert "in 2 threads; order, ids and labels can" in message


@pytest.mark.parametrize(
    ("options", "batch_size", "message"),
    [
        ({}, 16, r"batch_size=16: the FFCV Loader has batch_size=4, expected 16, the samples of each of 1 ranks"),
        ({"drop_last": False}, BATCH, "drop_last=False, expected True"),
        (
            {"image": ["plain", "mirored"]},
            BATCH,
            r"data.image='mirored': expected a pipeline of .*: label, plain, mirrored",
        ),
        ({"label": "kind"}, BATCH, "data.label='kind': expected a pipeline"),
    ],
)
def test_loader_that_does_not_fit_is_an_error(path, loader, options, batch_size, message, monkeypatch):
    names = {name: options.pop(name) for name in ("image", "label") if name in options}
    for name, value in options.items():
        monkeypatch.setattr(loader, name, value)
    with pytest.raises(ValueError, match=message):
        adapted(loader, path, batch_size, **names)


def test_pipelines_can_be_chosen(loader, path):
    ours = adapted(loader, path, image="mirrored", label="label")
    (view,), *_ = next(iter(ours))
    assert torch.equal(view, next(iter(adapted(loader, path)))[0][1])
    assert ours.fingerprint()["pipelines"]["plain"] == "SimpleRGBImageDecoder, NormalizeImage, ToTensor, ToTorchImage"


def test_outputs_that_are_no_views_are_named(path):
    """Without pipelines the loader gives images as bytes, (n, H, W, C), and labels (n, 1)."""
    ours = adapted(make_loader(path, {"nothing": None}, indices=np.arange(8)), path)
    with pytest.raises(
        ValueError, match=r"pipeline 'image' gives uint8 \(4, 16, 16, 3\), expected floats .* ToTorchImage"
    ):
        next(iter(ours))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_pipeline_that_fails_ends_the_run(loader, path, monkeypatch):
    """FFCV itself would wait forever."""

    def failing(**memory):
        raise RuntimeError("broken")

    ours = adapted(loader, path)
    monkeypatch.setattr(loader, "code", ([(failing, [])], []))
    with pytest.raises(RuntimeError, match="a pipeline of the FFCV Loader failed in its thread"):
        next(iter(ours))


def test_evaluation_has_the_normalization_of_the_pipelines(loader, path):
    loaders = DataConfig.of(train=loader, test=str(path), num_workers=1).open(BATCH, seed=3)
    assert isinstance(loaders.train, FFCVLoader)
    assert loaders.mean == pytest.approx((0, 0.2, 0.4), abs=1e-5)
    assert loaders.std == pytest.approx((1, 0.2, 1), abs=1e-5)
    assert loaders.num_classes == 5
    assert loaders.image_shape == (3, SIZE, SIZE)
    assert loaders.fingerprint()["train"]["num_samples"] == M
    ((plain, _), _, ids), evaluated = next(iter(loaders.train)), {}
    for (view,), _, positions in loaders.evaluation["test"]:
        evaluated |= dict(zip(positions.tolist(), view))
    assert torch.allclose(plain, torch.stack([evaluated[number] for number in ids.tolist()]), atol=1e-4)
    references = torch.cat([ids for _, _, ids in loaders.reference])
    assert references.tolist() == list(range(M))


def test_evaluation_can_have_a_function(loader, path):
    centre = v2.Compose([v2.ToImage(), v2.CenterCrop(8), v2.ToDtype(torch.float32, scale=True)])
    loaders = DataConfig.of(train=loader, test=str(path), eval_view=centre, num_workers=0).open(BATCH, seed=3)
    assert loaders.image_shape == (3, 8, 8)
    (view,), _, ids = next(iter(loaders.evaluation["test"]))
    expected = torch.from_numpy(IMAGES[ids][:, 4:12, 4:12]).permute(0, 3, 1, 2) / 255
    assert torch.allclose(view, expected)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"views": "simclr"},
            "data.views='simclr': not a key of data.train, an FFCV Loader; its pipelines make the views",
        ),
        (
            {"fraction": 0.5},
            "data.fraction=0.5: not a key of data.train, an FFCV Loader; pass indices=... to the Loader",
        ),
        ({"label_noise": 0.5}, "data.label_noise=0.5: not a key"),
        ({"executor": "fused"}, "data.executor='fused': not a key"),
        ({"dtype": "bfloat16"}, "data.dtype='bfloat16': not a key"),
        ({"batch_transform": max}, "append an operation to its pipelines"),
    ],
)
def test_keys_of_other_data_name_the_way_out(loader, path, keys, message):
    with pytest.raises(ArgumentError, match=message):
        DataConfig.of(train=loader, test=str(path), **keys)


def test_loader_for_evaluation_is_an_error(loader, path):
    with pytest.raises(
        ValueError, match=r"data.test: an FFCV Loader, which makes views for training; expected the path of its"
    ):
        DataConfig.of(train=loader, test=loader).open(BATCH, seed=0)

"""Views that are made by functions, in worker processes."""

import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

from loader_batches import equal, together
from ssl_data import ArraySource, IndexedSource, Loader, SampleSource, ViewSpec
from ssl_data.augment.functions import SampleError
from ssl_data.augment.seeding import view_seed, view_seeds

M = 14
PIPELINE = v2.Compose(
    [
        v2.ToImage(),
        v2.RandomResizedCrop(8, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


def noisy(sample, generator):
    return sample + torch.randn(sample.shape, generator=generator)


def in_place(sample, generator):
    sample += torch.randn(sample.shape, generator=generator)
    return sample


def of_python_and_numpy(sample):
    return torch.as_tensor(np.asarray(sample), dtype=torch.float32) * random.random() + np.random.rand()  # noqa: NPY002


def several(sample, generator):
    return [noisy(sample, generator)[..., :5], noisy(sample, generator)]


def photographs():
    return np.random.default_rng(0).integers(0, 256, (M, 10, 12, 3), dtype=np.uint8)


def fake_data():
    return datasets.FakeData(M, (3, 12, 12), num_classes=2, transform=v2.ToImage())


def of(kind):
    """Return source and views of a kind of data."""
    series = torch.arange(M * 20.0).reshape(M, 1, 4, 5)
    return {
        "images": lambda: (ArraySource(photographs(), np.arange(M) % 2), [PIPELINE, PIPELINE]),
        "torchvision": lambda: (SampleSource(fake_data()), [PIPELINE, PIPELINE]),
        "spectrograms": lambda: (SampleSource(series), [noisy, in_place]),
        "table": lambda: (SampleSource(np.ones((M, 7), np.float32), np.arange(M) % 3), [of_python_and_numpy] * 3),
        "tensor data set": lambda: (SampleSource(TensorDataset(series, torch.arange(M) % 2)), [noisy, noisy]),
        "several views of a function": lambda: (SampleSource(series), [several]),
    }[kind]()


def make(kind="spectrograms", **options):
    source, functions = of(kind)
    return Loader(source, functions, **{"batch_size": 4, "num_workers": 0, "seed": 3, **options})


def test_three_ranks_share_a_last_batch_of_one_sample():
    options = {"batch_size": 13, "drop_last": False}
    ranks = [list(make(rank=rank, world_size=3, **options)) for rank in range(3)]
    assert [len(batch[1]) for batch in (rank[-1] for rank in ranks)] == [1, 0, 0]
    assert equal(together(ranks), list(make(**options)))


@pytest.mark.parametrize("kind", ["images", "torchvision"])
def test_pipeline_equals_a_call_by_hand_with_the_same_seed(kind):
    """Oracle: the pipeline of torchvision, called after torch.manual_seed."""
    source, _ = of(kind)
    for views, _, ids in make(kind).start(2):
        for number, view in enumerate(views):
            for made, index in zip(view, ids.tolist()):
                torch.manual_seed(view_seed(3, 2, index, number))
                sample = v2.functional.to_pil_image(source.image(index)) if kind == "images" else source.sample(index)
                assert torch.equal(made, PIPELINE(sample))


def test_generator_is_that_of_the_seed():
    """Oracle: torch.Generator."""
    views, _, ids = next(iter(make(shuffle=False)))
    generator = torch.Generator().manual_seed(view_seed(3, 0, 2, 1))
    assert ids[2] == 2
    assert torch.equal(
        views[1][2], torch.arange(40.0, 60.0).reshape(1, 4, 5) + torch.randn((1, 4, 5), generator=generator)
    )


def test_global_generators_and_threads_are_unchanged():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()  # noqa: NPY002
    list(make("table"))
    list(make("table", num_workers=1))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_shapes_of_the_views_and_half_precision():
    assert make("several views of a function")._batches.shapes() == [(1, 4, 5), (1, 4, 5)]
    assert next(iter(make(dtype=torch.bfloat16)))[0][1].dtype == torch.bfloat16


def test_subset_and_order_are_those_of_any_loader():
    whole = make("tensor data set").in_order()
    part = whole.subset([2, 5, 7])
    ((first, second), labels, ids) = next(iter(part))
    assert (ids.tolist(), labels.tolist()) == ([2, 5, 7], [0, 1, 1])
    everything = torch.cat([batch[0][1] for batch in whole.start(0)])
    assert torch.equal(second, everything[[2, 5, 7]])
    assert not torch.equal(first, second)


def fails_at_seven(sample, generator):
    if sample[0, 0, 0] == 140:
        raise ZeroDivisionError("seven")
    return sample


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails_at_seven, r"data set Tensor: sample 7: view 0: ZeroDivisionError: seven \(.*test_worker_batches.py, line"),
        (lambda x: x.byte(), r"returned a tensor \(1, 4, 5\) of uint8: expected a tensor or an array of floating point; end"),
        (lambda x: v2.functional.to_pil_image(x), r"a PIL image 5 x 4 of mode L: expected .*v2.ToDtype"),
        (lambda x: None, "view 0: the function returned None: expected a tensor"),
        (lambda x: x[..., : 4 + int(x[0, 0, 0]) % 40 // 20], r"sample 1: .* \(1, 4, 5\), those of sample 0 \(1, 4, 4\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("num_workers", [0, 1])
def test_failing_function_names_its_sample(function, message, num_workers):
    source, _ = of("spectrograms")
    with pytest.raises(SampleError, match=message) as raised:
        list(Loader(source, [function], batch_size=11, num_workers=num_workers, shuffle=False))
    assert "Traceback" in raised.value.__notes__[0]


def test_unpicklable_view_raises_where_processes_are_spawned(monkeypatch):
    monkeypatch.setattr(
        "multiprocessing.context._default_context._actual_context", multiprocessing.get_context("spawn")
    )
    source, _ = of("spectrograms")
    with pytest.raises(
        ValueError, match=r"num_workers=1: the data set or a view cannot be sent .* or set num_workers=0"
    ):
        list(Loader(source, [lambda sample: sample], batch_size=11, num_workers=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "device='cpu': the views are functions, .* leave it out"),
        ({"return_parameters": True}, "return_parameters=True: the views are functions"),
        (
            {"views": [noisy, ViewSpec(size=8)]},
            "view 1 is a ViewSpec, others are functions: expected a function for each",
        ),
    ],
)
def test_options_of_the_engine_raise_with_functions(options, message):
    source, functions = of("spectrograms")
    with pytest.raises(ValueError, match=message):
        Loader(source, **{"views": functions, "batch_size": 4, **options})
    with pytest.raises(ValueError, match="have no boxes"):
        make().with_crops()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (iter([1]), "it has no __len__ and no __getitem__: expected samples by position, .*; make a list of a stream"),
        ([], "data set list: it is empty: expected samples by position"),
    ],
)
@pytest.mark.parametrize("kind", [SampleSource, IndexedSource])
def test_data_set_without_samples_by_position_raises(kind, dataset, message):
    with pytest.raises(ValueError, match=message):
        kind(dataset)


def test_unreadable_data_set_names_the_cause():
    class Broken:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise OSError(f"no file {index}")

    with pytest.raises(ValueError, match="none of its 3 samples can be read; the last raised OSError: no file 2"):
        IndexedSource(Broken())
    with pytest.raises(ValueError, match=r"2 class_names for labels from 0 to 3: expected 4"):
        SampleSource(torch.zeros(4, 1), labels=[0, 1, 2, 3], class_names=["a", "b"])


def process(sample):
    return torch.full_like(sample, os.getpid())


def processes(loader):
    return {int(each) for batch in loader for each in batch[0][0].flatten()}


def test_workers_live_from_one_epoch_to_the_next():
    before = set(multiprocessing.active_children())
    loader = Loader(SampleSource(torch.ones(M, 1)), [process], 2, num_workers=2)
    first = processes(loader)
    assert len(first) == 2
    assert processes(loader.start(3, 2)) == processes(loader) == first
    iterators = iter(loader), iter(loader)  # both at once: the second has workers of its own
    next(iterators[0])
    assert not processes(iterators[1]) & first
    del iterators
    assert processes(loader.in_order())
    del loader
    assert set(multiprocessing.active_children()) <= before


def test_early_stop_leaves_no_worker_process():
    loader = Loader(SampleSource(torch.ones(M, 1)), [process], 2, num_workers=1, shuffle=False)
    before = set(multiprocessing.active_children())
    list(loader)
    next(iter(loader))
    shuffled = make(num_workers=1)
    next(iter(shuffled))
    assert set(multiprocessing.active_children()) <= before


def test_idle_workers_that_have_ended_are_replaced():
    before = set(multiprocessing.active_children())
    loader = make(num_workers=1)
    list(loader)
    for worker in set(multiprocessing.active_children()) - before:
        os.kill(worker.pid, signal.SIGINT)
        worker.join()
    assert equal(list(loader.start(1)), list(make().start(1)))


def numpy_in_lambda(sample):
    return sample * np.random.rand()  # noqa: NPY002


def test_generators_of_all_libraries_are_seeded():
    """Oracle: the pipeline, called after numpy.random.seed."""
    pipeline = v2.Compose([v2.RandomApply([v2.Lambda(numpy_in_lambda)], p=1.0)])
    views, _, ids = next(iter(Loader(of("spectrograms")[0], [pipeline], 4, seed=3, num_workers=0)))
    for made, index in zip(views[0], ids.tolist()):
        np.random.seed(view_seed(3, 0, index, 0) & 0xFFFFFFFF)  # noqa: NPY002
        assert torch.equal(made, numpy_in_lambda(of("spectrograms")[0].sample(index)))


def test_seeds_of_a_batch_are_those_of_its_views():
    seeds = view_seeds(2**64 - 1, 5, np.array([3, 2**40]), [0, 7, 4094])
    assert seeds == [[view_seed(2**64 - 1, 5, index, view) for view in (0, 7, 4094)] for index in (3, 2**40)]

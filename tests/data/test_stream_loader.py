"""Streams as training data. Oracle: webdataset and datasets, which write the shards and read them by themselves."""

import io
import itertools
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from ssl_data import DataConfig, ShardSource, StreamLoader, views
from ssl_data.loading.streams import is_stream

M, BATCH = 32, 8  # samples in 8 shards
NAMES = list("abcd")


def picture(number):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 14, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(number) for number in range(M)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    library = pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("shards")
    with library.ShardWriter(str(folder / "%06d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(M):
            writer.write({"__key__": f"{number:04}", "png": PICTURES[number], "cls": number % 4})
    return f"{folder}/{{000000..000007}}.tar"


def web_dataset(shards, shuffled=True):
    library = pytest.importorskip("webdataset")
    if not shuffled:
        return library.WebDataset(shards, shardshuffle=False)
    return library.WebDataset(shards, shardshuffle=8).shuffle(10, initial=10)


def hugging_face(shuffled=True):
    library = pytest.importorskip("datasets")
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=NAMES)})
    columns = {"image": [{"bytes": each, "path": None} for each in PICTURES], "label": [n % 4 for n in range(M)]}
    stream = library.Dataset.from_dict(columns, features=features).to_iterable_dataset(num_shards=8)
    return stream.shuffle(seed=3, buffer_size=10) if shuffled else stream


class Pairs(IterableDataset):
    """A stream of a user, with a stage that draws from a global generator."""

    def __init__(self, ends=M):
        self.ends = ends

    def __iter__(self):
        for number in range(self.ends):
            image = np.asarray(Image.open(io.BytesIO(PICTURES[number]))).copy()
            image[0, 0, 0] = random.randrange(256)
            yield image, number % 4


STREAMS = ["webdataset", "hugging face", "torch"]


def opened(kind, shards, functions=False, **keys):
    keys = {"batch_size": BATCH, "epoch_samples": M, "class_names": NAMES, "num_workers": 2} | keys
    keys["num_workers"] = 0 if functions and keys["num_workers"] == 2 else keys["num_workers"]
    stream = {"webdataset": lambda: web_dataset(shards), "hugging face": hugging_face, "torch": Pairs}[kind]()
    return StreamLoader(stream, [noisy, noisy] if functions else views("simclr", size=16), **keys)


def pixels(sample, generator=None):
    return torch.from_numpy(np.array(sample)).float()


def noisy(sample, generator):
    return pixels(sample) + torch.randn(20, 14, 3, generator=generator)


def batches(loader, epoch=0, step=0):
    loader.start(epoch, step)
    return [(*views, labels, ids) for views, labels, ids in loader]


def equal(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def samples_of(loader, epoch=0):
    """Return what a stream gave, as numbers of pictures."""
    known = {np.asarray(Image.open(io.BytesIO(each))).tobytes(): number for number, each in enumerate(PICTURES)}
    return [known[view.byte().numpy().tobytes()] for batch in batches(loader, epoch) for view in batch[0]]


def plain(stream, **keys):
    keys = {"batch_size": BATCH, "epoch_samples": M, "class_names": NAMES, "num_workers": 0} | keys
    return StreamLoader(stream, [pixels], **keys)


@pytest.mark.parametrize("kind", ["webdataset", "hugging face"])
def test_samples_are_those_that_the_library_reads(kind, shards):
    if kind == "webdataset":
        stream = web_dataset(shards, shuffled=False)
        expected = list(stream.decode("pil").to_tuple("png", "cls"))
    else:
        stream = hugging_face()
        expected = [(each["image"], each["label"]) for each in stream]
    read = [(view, label) for first, labels, _ in plain(stream) for view, label in zip(first[0], labels.tolist())]
    assert len(read) == len(expected) == M
    for (view, label), (image, own) in zip(read, expected):
        assert np.array_equal(view.byte().numpy(), np.asarray(image))
        assert label == own


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("functions", [False, True])
def test_batches_do_not_depend_on_workers(kind, functions, shards):
    for epoch in (0, 1):
        whole = batches(opened(kind, shards, functions), epoch)
        for num_workers in (1, 4):
            equal(whole, batches(opened(kind, shards, functions, num_workers=num_workers), epoch))


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("world_size", [1, 2])
def test_resumption_at_any_step_is_exact(kind, world_size, shards):
    def loader():  # another process has other streams
        return opened(kind, shards, rank=world_size - 1, world_size=world_size, seed=5)

    for epoch in (0, 2):
        whole = batches(loader(), epoch)
        for step in range(len(whole)):
            equal(whole[step:], batches(loader(), epoch, step))
    assert batches(loader(), 0, M // BATCH) == []


def test_state_continues_with_the_next_batch(shards):
    loader, other = (opened("webdataset", shards) for _ in range(2))
    taken = list(itertools.islice(loader, 3))
    other.load_state_dict(loader.state_dict())
    equal([(*views, *rest) for views, *rest in other], batches(opened("webdataset", shards), 0, len(taken)))
    with pytest.raises(ValueError, match="seed=1: the state is of a loader with seed=0"):
        opened("webdataset", shards, seed=1).load_state_dict(loader.state_dict())


def test_order_depends_on_seed_and_epoch(shards):
    pytest.importorskip("webdataset")
    orders = [samples_of(plain(web_dataset(shards), seed=seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(map(tuple, orders))) == 4  # WebDataset itself has the same order in each epoch
    assert all(sorted(order) == list(range(M)) for order in orders)
    assert orders[0] == samples_of(plain(web_dataset(shards)), 0)
    first, second = (samples_of(plain(hugging_face()), epoch) for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(M))


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("kind", ["webdataset", "hugging face"])
def test_ranks_share_a_stream_out(kind, world_size, shards, caplog):
    def stream():
        return web_dataset(shards) if kind == "webdataset" else hugging_face()

    parts = [samples_of(plain(stream(), rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert [len(part) for part in parts] == [M // world_size] * world_size
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(M))
    assert caplog.text.count("resumed exactly on the same number only") == 1


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_any_other_stream_is_the_same_on_ranks(world_size, shards):
    whole = batches(opened("torch", shards, batch_size=12))
    parts = [
        batches(opened("torch", shards, batch_size=12, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    equal(whole, [tuple(map(torch.cat, zip(*step))) for step in zip(*parts, strict=True)])


def test_crops_and_batch_transform(shards):
    specs = views("vicreg", size=16)
    plainly, changed = (
        StreamLoader(web_dataset(shards), specs, BATCH, M, num_workers=1, batch_transform=function)
        for function in (None, lambda batch, generator: ([view * 2 for view in batch[0]], *batch[1:]))
    )
    for (first, *_), (second, *_) in zip(plainly, changed):
        assert torch.equal(first[0] * 2, second[0])
    *_, boxes = next(iter(plainly.with_crops()))
    assert [tuple(box.shape) for box in boxes] == [(BATCH, 5)] * 2


def test_pipelines_of_web_dataset(shards):
    library = pytest.importorskip("webdataset")
    stages = [library.tarfile_to_samples(), library.detshuffle(5), library.decode("pil")]
    explicit = library.DataPipeline(library.SimpleShardList(shards, seed=1), library.split_by_node, *stages)
    assert sorted(samples_of(plain(explicit))) == list(range(M))
    assert samples_of(plain(explicit), 0) != samples_of(plain(explicit), 1)
    endless = library.WebDataset(shards, resampled=True, shardshuffle=False)
    assert samples_of(plain(endless)) == samples_of(plain(endless))
    assert samples_of(plain(endless), 0) != samples_of(plain(endless), 1)
    one, other = (set(samples_of(plain(endless, rank=rank, world_size=2))) for rank in range(2))
    assert one != other
    unsplit = library.DataPipeline(library.SimpleShardList(shards), library.tarfile_to_samples())
    parts = [samples_of(plain(unsplit, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(M))  # nobody gets a sample twice
    length = library.WebDataset(shards, shardshuffle=False).with_length(M, silent=True)
    assert len(plain(length, epoch_samples=None)) == M // BATCH


class Unseeded(Pairs):
    def __iter__(self):
        yield from ((random.SystemRandom().randbytes(8) + PICTURES[number], 0) for number in range(M))


def test_order_that_does_not_repeat_is_reported(shards, caplog):
    assert opened("torch", shards).fingerprint()["images"]
    assert not caplog.records
    loader = StreamLoader(Unseeded(), [lambda sample, generator: torch.zeros(1)], BATCH, M, image=1, num_workers=0)
    assert loader.repeats
    loader = StreamLoader(Unseeded(), [lambda sample, generator: torch.zeros(1)], BATCH, M, num_workers=0)
    assert (loader.repeats, loader.fingerprint()["images"]) == (False, "")
    assert "differ from one reading to the next" in caplog.text


def test_fingerprint_changes_with_the_stream(shards, tmp_path):
    library = pytest.importorskip("webdataset")

    def of(stream, **keys):
        return plain(stream, **keys).fingerprint()

    whole = of(web_dataset(shards))
    assert whole == of(web_dataset(shards)) == of(web_dataset(shards), rank=1, world_size=2)
    assert whole != of(web_dataset(shards, shuffled=False))
    assert whole != of(web_dataset(shards), epoch_samples=24)
    unseeded = [hugging_face(shuffled=False).shuffle(buffer_size=10) for _ in range(2)]  # as in two processes
    assert of(unseeded[0]) != of(unseeded[1])
    with library.TarWriter(str(tmp_path / "other.tar")) as writer:
        for number in range(M):
            writer.write({"__key__": f"{number}", "png": PICTURES[-number], "cls": number % 4})
    other = library.WebDataset(str(tmp_path / "other.tar"), shardshuffle=False)
    assert of(other) != of(web_dataset(shards, shuffled=False))


def test_configuration_of_a_stream(shards, caplog):
    evaluated = ShardSource(shards, memory=0)
    config = DataConfig.of(train=web_dataset(shards), test=evaluated, reference=shards, size=16, epoch_samples=M)
    loaders = config.open(BATCH, 0)
    assert (loaders.num_classes, loaders.image_shape, len(loaders.train)) == (4, (3, 16, 16), M // BATCH)
    images, labels, _ = next(iter(loaders.train))
    assert images[0].shape == (BATCH, 3, 16, 16)
    assert set(labels.tolist()) <= {0, 1, 2, 3}
    assert list(loaders.fingerprint()) == ["train", "reference", "test"]
    assert config.labelled_part(0.5, 0)[1] == M // 2
    alone = DataConfig.of(train=web_dataset(shards), views=[noisy], epoch_samples=M, num_workers=0).open(BATCH, 0)
    assert (alone.num_classes, alone.reference, alone.image_shape) == (0, [], (20, 14, 3))
    assert next(iter(alone.train))[1].tolist() == [-1] * BATCH
    assert "its labels ('cls') are not used; with class_names=" in caplog.text


class GreyPairs(IterableDataset):
    def __iter__(self):
        for number in range(M):
            yield np.full((16, 16), 8 * number, np.uint8), number % 4


def test_grey_streams_are_normalized_as_one_band():
    loaders = DataConfig.of(train=GreyPairs(), size=16, epoch_samples=M, num_workers=0).open(BATCH, 0)
    assert loaders.image_shape == (1, 16, 16)
    assert loaders.mean == pytest.approx([0.449], abs=1e-3)
    assert next(iter(loaders.train))[0][0].shape == (BATCH, 1, 16, 16)


def test_bands_to_evaluate_are_those_of_the_stream():
    colour = (np.zeros((4, 16, 16, 3), np.uint8), np.arange(4))
    config = DataConfig.of(train=GreyPairs(), test=colour, reference=colour, size=16, epoch_samples=M, num_workers=0)
    with pytest.raises(ValueError, match=r"data\.reference: .* bands .* is 3, that of the stream 1"):
        config.open(BATCH, 0)


class ByPosition(Pairs):
    def __len__(self):
        return M

    def __getitem__(self, position):
        return Image.open(io.BytesIO(PICTURES[position])), position % 4


def test_streams_with_positions_are_read_by_position():
    """As MosaicML's StreamingDataset, which has ``__len__``, ``__getitem__`` and ``__iter__``."""
    assert not is_stream(ByPosition())
    loaders = DataConfig.of(train=ByPosition(), size=16).open(BATCH, 0)
    assert len(loaders.train.labels) == M


def test_streaming_dataset_of_mosaicml(tmp_path):
    streaming = pytest.importorskip("streaming")
    with streaming.MDSWriter(out=str(tmp_path), columns={"image": "png", "label": "int"}) as writer:
        for number in range(M):
            writer.write({"image": Image.open(io.BytesIO(PICTURES[number])), "label": number % 4})
    dataset = streaming.StreamingDataset(local=str(tmp_path), batch_size=1)
    loader = DataConfig.of(train=dataset, size=16).open(BATCH, 0).train
    assert loader.labels.tolist() == [number % 4 for number in range(M)]
    assert np.array_equal(loader.source.image(7), np.asarray(dataset[7]["image"]))


def missing(folder):
    return pytest.importorskip("webdataset").WebDataset(str(folder / "missing.tar"), shardshuffle=False)


def incomplete(folder):
    library = pytest.importorskip("webdataset")
    with library.TarWriter(str(folder / "incomplete.tar")) as writer:
        for number in range(M):
            writer.write({"__key__": f"k{number}", "cls": 0} | ({"png": PICTURES[number]} if number != 20 else {}))
    return library.WebDataset(str(folder / "incomplete.tar"), shardshuffle=False)


def unreadable(folder):
    library = pytest.importorskip("webdataset")
    with library.TarWriter(str(folder / "unreadable.tar")) as writer:
        for number in range(M):
            writer.write({"__key__": f"k{number}", "png": PICTURES[number][: 60 if number == 20 else None]})
    return library.WebDataset(str(folder / "unreadable.tar"), shardshuffle=False)


class Bad(Pairs):
    def __iter__(self):
        yield from ({"first": 1, "second": 2} for _ in range(M))


class Labelled(Pairs):
    def __iter__(self):
        yield from ((image, label + 3 * (label == 3)) for image, label in super().__iter__())


@pytest.mark.parametrize(
    ("stream", "keys", "message"),
    [
        (missing, {}, r"data.train=WebDataset: reading sample 0 of epoch 0 raised FileNotFoundError: .*missing.tar"),
        (incomplete, {}, r"sample 20 \('k20' in '.*incomplete.tar'\) has no 'png', it has .*'cls'"),
        (unreadable, {}, r"sample 20 \('k20' in '.*unreadable.tar'\) cannot be read: "),
        (lambda folder: Pairs(ends=20), {}, "ended before sample 20 of epoch 0; epoch_samples=32 counts those of all ranks"),
        (lambda folder: Pairs(), {"epoch_samples": None}, "data.train=Pairs: its length is not known; pass epoch_samples=N"),
        (lambda folder: Pairs(), {"epoch_samples": 7}, "batch_size=8: larger than the data set, which has 7"),
        (lambda folder: Bad(), {}, "which is the image of 'first', 'second'. pass image=KEY"),
        (lambda folder: Bad(), {"image": "third"}, "a sample has no 'third', it has 'first', 'second'"),
        (lambda folder: Labelled(), {}, "has the label 6: expected one of the 4 class_names, or a number below that"),
        (lambda folder: Pairs(), {"fraction": 0.5}, r"data.fraction=0.5: not possible with a stream \(data.train=Pairs\)"),
        (lambda folder: Pairs(), {"value_range": [0, 4095]}, "data.value_range=.* not a key of a stream, whose images are"),
        (lambda folder: Pairs(), {"pixels": "stored"}, "data.pixels='stored': not a key of a stream"),
        (lambda folder: Pairs(), {"on_error": "skip"}, "data.on_error='skip': not possible with a stream"),
        (lambda folder: Pairs(), {"executor": "device"}, "data.executor='device': the images of a stream are not in memory"),
        (lambda folder: Pairs(), {"test": (np.zeros((4, 9, 9, 3), np.uint8), [0, 1, 2, 3])}, "data.reference=None: the train"),
    ],
)  # fmt: skip
def test_invalid_streams_name_what_was_found(stream, keys, message, tmp_path):
    config = DataConfig.of(train=stream(tmp_path), **{"epoch_samples": M, "size": 16, "class_names": NAMES} | keys)
    with pytest.raises(ValueError, match=message):
        list(config.open(BATCH, 0).train)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_errors_of_a_stream_cross_worker_processes(num_workers, shards):
    loader = StreamLoader(Pairs(ends=20), [noisy], BATCH, M, num_workers=num_workers)
    with pytest.raises(ValueError, match="ended before sample 20"):
        list(loader)
    library = pytest.importorskip("webdataset")
    few = library.WebDataset(shards.replace("000007", "000000"), shardshuffle=False)
    with pytest.raises(ValueError, match=r"rank 1 of 2|No samples found in dataset; perhaps you have fewer shards"):
        list(StreamLoader(few, [noisy], 2, 6, num_workers=num_workers, rank=1, world_size=2))

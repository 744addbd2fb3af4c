"""The sample of training images for kNN and the final table: balanced, seeded, the same for any number of ranks."""

import dataclasses

import pytest
import torch

from ssl_core.distributed.ranks import Distributed
from ssl_core.evaluation.features import collect_features
from ssl_core.training.data.reference_sample import ReferenceSample, balanced_sample

SORTED = torch.arange(5).repeat_interleave(torch.tensor([40, 2, 10, 1, 27]))  # by class, as folders are


@pytest.mark.parametrize(
    ("limit", "counts"),
    [(5, [1, 1, 1, 1, 1]), (13, [4, 2, 3, 1, 3]), (3, None), (79, [39, 2, 10, 1, 27]), (80, [40, 2, 10, 1, 27])],
)
def test_sample_is_balanced_as_far_as_classes_reach(limit, counts):
    labels = torch.cat([torch.tensor([-1, -1]), SORTED])
    chosen = balanced_sample(labels, limit, seed=3)
    assert torch.equal(chosen, chosen.unique())
    assert len(chosen) == limit
    found = labels[chosen].bincount(minlength=5).tolist()
    if counts is None:
        assert max(found) == 1
    else:
        assert sorted(found) == sorted(counts) if limit == 13 else found == counts


def test_sample_depends_on_seed_only_and_is_no_prefix():
    first = balanced_sample(SORTED, 10, seed=0)
    assert torch.equal(first, balanced_sample(SORTED, 10, seed=0))
    assert not torch.equal(first, balanced_sample(SORTED, 10, seed=1))
    assert not torch.equal(first, torch.arange(10))


class Iterated:
    """Batches of 16 over all ranks; counts what it gives."""

    def __init__(self, rank=0, world_size=1, positions=None):
        self.rank, self.world_size, self.given = rank, world_size, 0
        self.positions = torch.arange(80) if positions is None else torch.as_tensor(positions)

    def __iter__(self):
        for whole in self.positions.split(16):
            ids = whole.tensor_split(self.world_size)[self.rank]
            self.given += len(ids)
            yield [ids[:, None, None, None].float()], SORTED[ids], ids


class Declared(Iterated):
    """The same, restricted to what is asked for."""

    labels = SORTED

    def subset(self, positions):
        return Declared(self.rank, self.world_size, positions)


def read(loader, distributed, limit, counted):
    sample = ReferenceSample(loader, 5, limit, 0, distributed)

    def features(images):
        counted.append(len(images))
        return images.flatten(1)

    return collect_features(sample.batches(), features, distributed)


@pytest.mark.parametrize("limit", [20, 80, 0])
def test_restricted_and_iterated_loaders_give_one_sample(tmp_path, limit):
    alone, computed = Distributed("cpu", tmp_path), []
    rows, labels = read(Declared(), alone, limit, computed)
    assert sum(computed) == (limit or 80)  # nothing outside of the sample is read
    iterated = Iterated()
    again, same_labels = read(iterated, alone, limit, computed := [])
    assert torch.equal(rows, again)
    assert torch.equal(labels, same_labels)
    assert sum(computed) == (limit or 80)
    assert iterated.given == (160 if limit else 80)
    if limit == 20:
        assert labels.bincount().min() == 1
        assert labels.bincount().tolist()[1:4:2] == [2, 1]


class Rank:
    """One of two ranks in one process; what the other would send is known."""

    device = torch.device("cpu")

    def __init__(self, gathered):
        self.gathered = iter(gathered)

    def gather(self, _):
        return next(self.gathered)

    def any(self, _):
        return True


@pytest.mark.parametrize("declared", [True, False])
def test_two_ranks_read_the_sample_of_one(tmp_path, declared):
    one = ReferenceSample(Declared(), 5, 20, 0, Distributed("cpu", tmp_path))
    expected = torch.cat([ids for *_, ids in one.batches()]).sort().values
    parts = [(Declared if declared else Iterated)(rank, 2) for rank in range(2)]
    ids = [torch.cat([index for *_, index in part]) for part in parts]
    found = []
    for part in parts:
        ranks = Rank([torch.cat(ids), SORTED[torch.cat(ids)]])
        sample = ReferenceSample(part, 5, 20, 0, ranks)
        found += [ids for *_, ids in sample.batches()]
    assert torch.equal(torch.cat(found).sort().values, expected)


def test_knn_of_a_bank_smaller_than_the_classes(make_config, tiny_model):
    """A bank of two images knows two of four classes; the scores are as wide as the run's classes."""
    metrics = tiny_model(make_config(optim__epochs=1, log__knn_samples=2)).fit()
    assert 0 <= metrics["toy/knn"] <= 0.5 + 1e-9


def test_a_sorted_data_set_has_every_class_in_the_bank(make_config, tiny_model, toy_data):
    @dataclasses.dataclass
    class Sorted(toy_data):
        def open(self, *arguments):
            loaders = super().open(*arguments)
            order = loaders.reference.labels.argsort(stable=True)
            loaders.reference.images = loaders.reference.images[order]
            loaders.reference.labels = loaders.reference.labels[order]
            return loaders

    config = make_config(log__knn_samples=16)
    config.data = Sorted()
    assert tiny_model(config).fit()["toy/knn"] > 0.9  # chance is 0.25, and the first 16 images are of one class

"""Landmark retrieval against the definition of Radenović et al. (2018), written as loops over the ranked list of a query."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from ssl_eval import landmark_retrieval, read_ground_truth


def by_the_definition(ranked, wanted, removed, ks):
    """Area under precision and recall by trapezoids, and precision at min(k, rank of the last positive), in float64."""
    kept = [image for image in ranked if image not in removed]
    area, found, last = 0.0, 0, 0
    for rank, image in enumerate(kept, 1):
        if image in wanted:
            before = found / (rank - 1) if rank > 1 else 1.0
            found, last = found + 1, rank
            area += (before + found / rank) / 2 / len(wanted)
    precision = []
    for k in ks:
        cut = min(k, last)
        precision.append(sum(image in wanted for image in kept[:cut]) / cut)
    return area, precision


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    queries = torch.randn(70, 6, generator=generator, dtype=torch.float64)
    truth = []
    for _ in range(70):
        order = torch.randperm(40, generator=generator).tolist()
        sizes = torch.randint(0, 6, (3,), generator=generator).tolist()
        cuts = np.cumsum([0, *sizes])
        truth.append({name: order[a:b] for name, a, b in zip(("easy", "hard", "junk"), cuts, cuts[1:])})
    return queries, gallery, truth


def test_measures_equal_the_definition(data):
    queries, gallery, truth = data
    found = landmark_retrieval(queries, gallery, truth, ks=(1, 3, 10))
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(gallery).T
    setups = {"easy": ("easy", "junk hard"), "medium": ("easy hard", "junk"), "hard": ("hard", "junk easy")}
    for setup, (wanted, removed) in setups.items():
        expected = []
        for row, entry in zip(similarity, truth):
            positives, others = (
                {image for name in names.split() for image in entry[name]} for names in (wanted, removed)
            )
            if positives:
                area, precision = by_the_definition(
                    row.argsort(descending=True).tolist(), positives, others, (1, 3, 10)
                )
                expected.append([area, *precision])
        means = np.mean(expected, 0)
        assert found.mean_average_precision[setup] == pytest.approx(means[0], abs=1e-12)
        assert list(found.precision[setup].values()) == pytest.approx(means[1:], abs=1e-12)
        assert found.queries[setup] == len(expected)
    assert found.queries["easy"] < 70


def test_worked_example_of_the_authors_convention():
    """Two positives at ranks 2 and 3 of what remains: ((0 + 1/2) / 2 + (1/2 + 2/3) / 2) / 2; mP@10 stops at rank 3."""
    gallery = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    truth = [{"easy": [2, 3], "hard": [], "junk": [0]}]
    found = landmark_retrieval(gallery[:1], gallery, truth, ks=(1, 10))
    assert found.mean_average_precision["easy"] == pytest.approx(((0 + 1 / 2) / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert found.precision["medium"] == {1: 0.0, 10: pytest.approx(2 / 3)}
    assert found.queries == {"easy": 1, "medium": 1, "hard": 0}
    assert np.isnan(found.mean_average_precision["hard"])


def test_ground_truth_files_are_read(tmp_path):
    """A pickle with arrays, as the authors write it, and JSON."""
    entry = {"bbx": [1.0, 2.0, 3.0, 4.0], "easy": [0, 2], "hard": [1], "junk": []}
    content = {"gnd": [entry], "imlist": ["a", "b", "c"], "qimlist": ["q"]}
    (tmp_path / "gnd.json").write_text(json.dumps(content))
    arrays = content | {"gnd": [entry | {"easy": np.array([0, 2]), "junk": np.empty(0, np.int64)}]}
    for protocol in (2, 4):
        (tmp_path / "gnd.pkl").write_bytes(pickle.dumps(arrays, protocol))
        found = read_ground_truth(tmp_path / "gnd.pkl")
        assert found["gnd"][0]["easy"].tolist() == [0, 2]
        features = torch.eye(3)
        assert landmark_retrieval(features[:1], features, found["gnd"]).queries["medium"] == 1
    assert read_ground_truth(tmp_path / "gnd.json") == content


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_code_in_a_pickle_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (Harmful(), {"gnd": [Harmful()]}, np.array([Harmful()], object)):
        (tmp_path / "gnd.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"gnd.pkl' is not a ground truth of this format: it names posix.mkdir"):
            read_ground_truth("gnd.pkl")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(("content", "message"), [(b"\x80", "is not a ground truth"), (b"{}", "is not a ground truth")])
def test_damaged_ground_truth_raises(tmp_path, content, message):
    (tmp_path / "gnd.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_ground_truth(tmp_path / "gnd.pkl")
    (tmp_path / "gnd.json").write_text('{"gnd": []}')
    with pytest.raises(ValueError, match="lacks imlist, qimlist"):
        read_ground_truth(tmp_path / "gnd.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, g, t: (q, g, t[:3]), "ground_truth must have an entry for each query, 70, got 3"),
        (lambda q, g, t: (q, g, [{"easy": [0]}, *t[1:]]), r"ground_truth\[0\] lacks hard, junk"),
        (lambda q, g, t: (q, g[:5], t), r"ground_truth\[0\] names image \d+; the gallery has 5"),
        (lambda q, g, t: (q, g, [{"easy": [0], "hard": [0], "junk": []}, *t[1:]]), r"ground_truth\[0\] names an image twice"),
        (lambda q, g, t: (q[:, :3], g, t), "same width"),
    ],
)  # fmt: skip
def test_invalid_arguments_raise(data, change, message):
    with pytest.raises(ValueError, match=message):
        landmark_retrieval(*change(*data))
    with pytest.raises(ValueError, match="ks=\\(0,\\): expected numbers of at least 1"):
        landmark_retrieval(*data, ks=(0,))

"""A protocol's numbers are those of the functions it names, and no more are taken than asked for."""

import json
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from ssl_eval import (
    Features,
    Protocol,
    accuracy,
    episodic_few_shot,
    evaluate_features,
    few_shot,
    knn,
    linear_probe,
    rankme,
    write_report,
)
from ssl_eval.metrics.registry import metric_of
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import shown


@pytest.fixture
def features(make_features):
    train, labels = make_features(240, 12, num_classes=6)
    test, test_labels = make_features(90, 12, num_classes=6, seed=1)
    return Features(train, labels, test, test_labels, class_names=list("abcdef"))


def test_standard_protocol(features):
    data = features.train, features.train_labels, features.test, features.test_labels
    result = evaluate_features(features, Protocol())
    metrics = result.metrics
    assert set(metrics) == {
        "knn_20", "knn_200", "linear", "linear_top5", "balanced_accuracy", "ece", "linear_1_percent", "linear_10_percent",
        "rankme", "alpha_req", "nesum", "stable_rank", "uniformity",
    }  # fmt: skip
    assert metrics["knn_20"] == accuracy(knn(*data[:3], k=20), features.test_labels, topk=(1,))[0]
    assert metrics["linear"] == linear_probe(*data).accuracy == float(result.hits.double().mean())
    assert metrics["linear_10_percent"]["mean"] == few_shot(*data, labels_per_class=0.1).mean
    assert metrics["rankme"] == rankme(features.train)
    assert result.interval[0] <= metrics["linear"] <= result.interval[1]
    assert result.per_class["names"] == list("abcdef")
    assert sum(map(sum, result.confusion)) == 90
    assert sum(result.reliability["count"]) == 90
    assert len(result.spectrum) == 12
    assert [len(result.map[part]) for part in ("pca", "tsne", "labels")] == [90, 90, 90]
    assert list(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == [
        "settings", "metrics", "interval", "per_class", "confusion", "reliability", "neighbours", "mistakes", "map", "spectrum",
    ]  # fmt: skip


def test_neighbours_are_the_nearest_by_cosine(features):
    """Oracle: scikit-learn's brute-force search."""
    from sklearn.neighbors import NearestNeighbors

    found = evaluate_features(features, Protocol(linear=False, few=[], map_samples=0, pictures=5)).neighbours
    assert features.test_labels[found["queries"]].tolist() == [0, 1, 2, 3, 4]  # a query of each class
    search = NearestNeighbors(n_neighbors=8, metric="cosine", algorithm="brute").fit(features.train.numpy())
    assert found["rows"] == search.kneighbors(features.test[found["queries"]].numpy())[1].tolist()


def test_mistakes_are_the_most_confident_errors(features):
    data = features.train, features.train_labels, features.test, features.test_labels
    found = evaluate_features(features, Protocol(few=[], map_samples=0, pictures=4)).mistakes
    scores = linear_probe(*data).scores.softmax(1)
    wrong = {
        row: float(scores[row].max())
        for row in range(90)
        if int(scores[row].argmax()) != int(features.test_labels[row])
    }
    assert found["rows"] == sorted(wrong, key=wrong.__getitem__, reverse=True)[:8]
    assert found["predicted"] == scores[found["rows"]].argmax(1).tolist()
    assert found["confidence"] == pytest.approx([wrong[row] for row in found["rows"]])


def test_protocol_without_pictures_keeps_no_rows(features):
    result = evaluate_features(features, Protocol(few=[], map_samples=0, pictures=0))
    assert result.neighbours is None
    assert result.mistakes is None


def test_umap_is_part_of_the_map_if_installed(features, monkeypatch):
    monkeypatch.setattr("ssl_eval.evaluate.has_umap", lambda: True)
    monkeypatch.setattr("ssl_eval.evaluate.umap", lambda points, seed: points[:, :2])
    quick = Protocol(knn=[], linear=False, few=[], label_free=False, map_samples=30)
    assert set(evaluate_features(features, quick).map) == {"pca", "tsne", "umap", "labels"}


def test_confusion_matrix_of_many_classes_is_omitted(features, monkeypatch):
    """Everything else is as with few classes."""
    nothing = {"knn": [], "few": [], "label_free": False, "map_samples": 0}
    whole = evaluate_features(features, Protocol(**nothing)).to_dict()
    monkeypatch.setattr("ssl_eval.evaluate.MAX_CONFUSION", 5)
    found = evaluate_features(features, Protocol(**nothing)).to_dict()
    reason = "6 classes; a confusion matrix is stored for 5 classes at most"
    assert found.pop("omitted") == {"confusion": reason}
    del whole["confusion"]
    assert found == whole


def test_episodes_are_centred_by_the_training_features(features):
    nothing = {"knn": [], "linear": False, "few": [], "label_free": False, "map_samples": 0}
    data = replace(features, test=features.train[:120] + 5, test_labels=features.train_labels[:120])
    result = evaluate_features(data, Protocol(**nothing, episodic=[1, 30]))
    found = result.metrics["episodic_5_way_1_shot"]
    expected = episodic_few_shot(data.test, data.test_labels, center=data.train.mean(0))
    assert (found["mean"], found["n"]) == (pytest.approx(expected.mean, abs=0.01), 600)
    assert found["interval"] == pytest.approx(
        [found["mean"] - expected.half_width, found["mean"] + expected.half_width], abs=0.01
    )
    assert "only 0 classes have 45 samples" in result.omitted["episodic_30_shot"]
    assert "episodic_5_way_30_shot" not in result.metrics


def test_ood_scores_equal_scikit_learns(features):
    """Mahalanobis is compared in test_ood.py; the maximum softmax is that of the linear probe of the same evaluation."""
    other = features.test.flip(1)[:50]
    nothing = {"knn": [], "few": [], "label_free": False, "map_samples": 0}
    result = evaluate_features(replace(features, ood={"flossy": other}), Protocol(**nothing, ood_k=9))
    is_other = [0] * 90 + [1] * 50
    unit = [torch.nn.functional.normalize(x).numpy() for x in (features.train, torch.cat([features.test, other]))]
    distance = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(unit[0]).kneighbors(unit[1])[0][:, -1]
    probe = linear_probe(features)
    logits = torch.cat([features.test, other]) @ probe.weight.T + probe.bias
    for score, values in (("knn", distance), ("max_softmax", 1 - logits.softmax(1).amax(1).numpy())):
        assert result.metrics[f"ood_auroc_flossy_by_{score}"] == pytest.approx(
            roc_auc_score(is_other, values), abs=1e-3
        )
    ood = {name: metric_of(name) for name in result.metrics if name.startswith("ood_")}
    assert len(ood) == 12
    assert {(metric.kind, metric.percent) for metric in ood.values()} == {("ood", True)}
    assert [metric.name for metric in ood.values() if not metric.higher_is_better] == ["ood_fpr95"] * 3
    assert result.to_dict()["ood"] == {"flossy": 50}
    unlabelled = evaluate_features(
        replace(features, ood={"x": other}, train_labels=torch.full((240,), -1)), Protocol(**nothing)
    )
    assert unlabelled.omitted["ood_x"] == "no training image has a label"


def test_everything_and_nothing(features):
    nothing = Protocol(knn=[], linear=False, few=[], label_free=False, map_samples=0)
    assert evaluate_features(features, nothing).metrics == {}
    features = replace(features, views=torch.stack([features.train[:50], features.train[:50] + 0.1], 1))
    everything = Protocol(
        knn=[1000], sgd=True, ridge=True, class_means=True, few=[2, 0.5], draws=1, retrieval=[1, 5], clustering=True,
        map_samples=20,
    )  # fmt: skip
    metrics = evaluate_features(features, everything).metrics
    assert {
        "knn_240", "linear_sgd", "ridge", "class_means", "linear_2_labels", "linear_50_percent", "recall_1", "recall_5",
        "mean_average_precision", "cluster_nmi", "cluster_ari", "cluster_accuracy", "lidar", "alignment",
    } <= set(metrics)  # fmt: skip
    assert isinstance(metrics["linear_2_labels"], float)  # a single draw has no spread
    for name in ("linear_sgd", "ridge", "class_means", "cluster_accuracy"):
        assert metrics[name] > 1 / 6, name


def test_registry_has_every_name_that_an_evaluation_writes(features):
    features = replace(features, views=torch.stack([features.train[:50], features.train[:50] + 0.1], 1))
    everything = Protocol(
        knn=[1],
        sgd=True,
        ridge=True,
        class_means=True,
        few=[2, 0.5],
        draws=1,
        retrieval=[1],
        clustering=True,
        map_samples=0,
    )
    metrics = evaluate_features(features, everything).metrics
    kinds = {name: metric_of(name).kind for name in metrics}
    assert set(kinds.values()) == {"accuracy", "agreement", "error", "label-free"}
    for name, value in metrics.items():
        assert isinstance(metric_cell(name, [value]), float if metric_of(name).percent else str)


@pytest.mark.usefixtures("tables_only")
def test_fractions_of_an_evaluation_are_reported_in_percent(make_run):
    metrics = {"mean_average_precision": 0.25, "cluster_nmi": 0.5, "cluster_ari": -0.0123, "ece": 0.04, "rankme": 0.5}
    for seed in (0, 1):
        folder = make_run(f"run{seed}", seed=seed, evaluation={"metrics": metrics})
        row = dict(zip(*_columns_and_row(write_report([folder]).tables[1])))
        assert {name: row[name] for name in ("mAP", "NMI", "ARI", "ECE", "RankMe")} == {
            "mAP": "25.0", "NMI": "50.0", "ARI": "-1.2", "ECE": "4.0", "RankMe": "0.5",
        }  # fmt: skip
    row = dict(zip(*_columns_and_row(write_report([folder.parent]).tables[1])))
    assert [row[name] for name in ("mAP", "NMI", "ARI")] == ["25.0 ± 0.0", "50.0 ± 0.0", "-1.2 ± 0.0"]


def _columns_and_row(table):
    (row,) = table.rows
    return table.columns, list(map(shown, row))


def test_collapsed_encoder_is_evaluated(features):
    features = replace(features, train=torch.ones_like(features.train), test=torch.ones_like(features.test))
    metrics = evaluate_features(features, Protocol()).metrics
    assert metrics["rankme"] == pytest.approx(1, abs=1e-4)
    assert "alpha_req" not in metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": torch.full((240, 12), torch.nan)}, "train_features must be finite"),
        ({"train_labels": torch.full((240,), -2)}, "train_labels must be 0 or more"),
        ({"train_labels": torch.arange(239) % 6}, r"train_labels must be \(240,\)"),
        ({"test_labels": torch.zeros(90)}, "test_labels must be integers"),
    ],
)
def test_bad_features_raise(features, change, message):
    features = replace(features, **change)
    with pytest.raises(ValueError, match=message):
        evaluate_features(features, Protocol())


EVERYTHING = Protocol(sgd=True, ridge=True, class_means=True, few=[0.1, 50], draws=2, retrieval=[1], clustering=True)
PROBES = {"linear", "linear_sgd", "ridge", "class_means", "linear_10_percent", "linear_50_labels"}


@pytest.mark.parametrize(
    ("change", "omitted", "reason"),
    [
        ({}, {"linear_50_labels"}, "has only 40 training samples"),
        ({"train_labels": torch.arange(240) % 5 + 1}, PROBES, "got none of class 0"),
        ({"test_labels": torch.full((90,), 6)}, PROBES - {"class_means"}, "test_labels must be below num_classes=6"),
        ({"train_labels": torch.full((240,), -1)}, PROBES | {"knn_20", "knn_200"}, "no training image has a label"),
        (
            {"test_labels": torch.full((90,), -1)},
            PROBES | {"knn_20", "knn_200", "retrieval", "clustering", "map"},
            "no test image has a label",
        ),
    ],
)
def test_metrics_follow_from_the_labels(features, change, omitted, reason):
    expected = evaluate_features(features, EVERYTHING).metrics
    features = replace(features, **change)
    result = evaluate_features(features, EVERYTHING)
    assert omitted <= set(result.omitted)
    assert reason in result.omitted[max(omitted)]
    assert result.metrics["rankme"] == expected["rankme"]
    assert not set(result.omitted) & set(result.metrics)
    if "knn_20" not in omitted:
        assert 0 <= result.metrics["knn_20"] <= 1
        assert {"map", "spectrum"} <= set(result.to_dict())


def test_samples_without_a_label_are_left_out(features):
    expected = evaluate_features(features, EVERYTHING)
    blank = torch.full((7,), -1)
    labels = {name: torch.cat([getattr(features, name), blank]) for name in ("train_labels", "test_labels")}
    rows = {name: torch.cat([getattr(features, name), getattr(features, name)[:7]]) for name in ("train", "test")}
    features = replace(features, **labels, **rows)
    found = evaluate_features(features, EVERYTHING)
    assert found.metrics["ridge"] == expected.metrics["ridge"]
    assert torch.equal(found.hits, expected.hits)


def test_protocol_without_metrics_is_empty():
    nothing = Protocol(name="segmentation", knn=[], linear=False, few=[], label_free=False, map_samples=0)
    assert nothing.is_empty
    assert replace(nothing, temperature=0.1, draws=3, seed=1).is_empty
    assert not replace(nothing, retrieval=[1]).is_empty
    assert not Protocol().is_empty

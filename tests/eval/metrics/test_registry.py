"""The registry of metrics: kind, percent and direction of the names that evaluations write."""

import pytest
import torch

from ssl_eval import label_free, reliability
from ssl_eval.metrics.registry import (
    LABEL_FREE,
    METRICS,
    accuracies,
    in_order,
    main_accuracy,
    metric_of,
    readable,
    with_unit,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "percent", "higher_is_better"),
    [
        ("digits/accuracy", "accuracy", True, True),
        ("knn_200", "accuracy", True, True),
        ("linear_top5", "accuracy", True, True),
        ("fine_tuning_10_percent", "accuracy", True, True),
        ("mean_iou_knn", "accuracy", True, True),
        ("delta1_linear", "accuracy", True, True),
        ("rmse_linear", "depth", False, False),
        ("cluster_ari", "agreement", True, True),
        ("ece", "error", True, False),
        ("digits/uniformity", "label-free", False, False),
        ("rankme", "label-free", False, True),
        ("digits/rank_backbone", "collapse", False, True),
        ("digits/probe_backbone_loss", "loss", False, False),
        ("train/loss", "loss", False, False),
        ("train/accuracy", "training", False, True),  # of training batches, no evaluation
        ("lossless/knn", "accuracy", True, True),  # the data set's name is not the metric's
        ("digits/mine", "other", False, True),
        ("knnx", "other", False, True),
    ],
)
def test_kind_percent_and_direction_of_a_name(name, kind, percent, higher_is_better):
    metric = metric_of(name)
    assert (metric.kind, metric.percent, metric.higher_is_better) == (kind, percent, higher_is_better)
    assert metric.is_better(0.7, 0.5) == higher_is_better
    assert not metric.is_better(0.7, 0.5, margin=0.3)


def test_direction_is_that_of_better_features():
    """Features on the whole sphere against features near one point; views that agree against views that do not."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(200, 8, generator=generator)
    narrow = 0.1 * torch.randn(200, 8, generator=generator) * torch.logspace(0, -4, 8) + 1
    noise = torch.randn(200, 2, 8, generator=generator)
    good = label_free(spread, spread[:, None] + 0.1 * noise)
    bad = label_free(narrow, narrow[:, None] + 10 * noise)
    for name in set(LABEL_FREE) - {"alpha_req"}:  # best near 1
        assert metric_of(name).is_better(good[name], bad[name]), name
    labels = torch.arange(100) % 2
    sure = torch.nn.functional.one_hot(labels, 2).double()
    right, wrong = (reliability(scores, labels).expected_error for scores in (sure, 1 - sure))
    assert metric_of("ece").is_better(right, wrong)


def test_each_name_is_registered_once():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert [metric_of(name).name for name in names] == names


def test_order_and_main_accuracy():
    names = ["b/knn", "a/mine", "a/rankme", "a/knn_200", "a/knn_20", "a/probe_head", "a/accuracy", "a/ece"]
    assert in_order(names) == [
        "a/accuracy", "a/knn_20", "a/knn_200", "a/probe_head", "a/ece", "a/rankme", "a/mine", "b/knn",
    ]  # fmt: skip
    assert accuracies(names) == ["a/accuracy", "a/knn_20", "a/knn_200", "a/probe_head", "b/knn"]
    assert [main_accuracy(each) for each in (names, names[:2], ["accuracy"], ["rankme"])] == [
        "a/probe_head", "b/knn", "accuracy", None,
    ]  # fmt: skip


def test_printed_forms():
    assert [readable(name) for name in ("cluster_nmi", "cluster_ari", "mean_average_precision", "recall_5", "top_5")] == [
        "NMI", "ARI", "mAP", "recall@5", "top-5",
    ]  # fmt: skip
    assert [with_unit(name) for name in ("linear_sgd", "ece", "std_backbone")] == [
        "linear probe,\nSGD (%)", "ECE (%)", "std,\nbackbone",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linear_1_labels", "linear probe, 1 label a class"),
        ("linear_11_labels", "linear probe, 11 labels a class"),
        ("linear_0.5_percent", "linear probe, 0.5 % of labels"),
        ("episodic_5_way_1_shot", "episodic few-shot, 5-way 1-shot"),
        ("fine_tuning_10_percent", "fine-tuning, 10 % of labels"),
        ("mean_iou_knn", "mIoU, kNN"),
        ("shift_knn_20_stop_signs", "shift, kNN 20 stop signs"),
        ("transfer_desktop", "transfer, desktop"),
    ],
)
def test_variants_are_whole_words(name, words):
    assert readable(name) == words

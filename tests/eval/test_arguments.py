"""Arguments of a wrong type: every function answers with one line, and never takes them for something else."""

import pytest
import torch

import ssl_eval

FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
SCORES, LABELS, COLUMN = FEATURES[:, :3], torch.arange(30) % 3, FEATURES[:, 0]
# name -> a call with a value in place of features, scores or numbers, and one in place of labels
CALLS = {
    "knn": lambda x, y: ssl_eval.knn(x(FEATURES), y(LABELS), x(FEATURES), k=3),
    "linear_probe": lambda x, y: ssl_eval.linear_probe(x(FEATURES), y(LABELS), x(FEATURES), y(LABELS)),
    "ridge_probe": lambda x, y: ssl_eval.ridge_probe(x(FEATURES), y(LABELS), x(FEATURES), y(LABELS)),
    "sgd_probe": lambda x, y: ssl_eval.sgd_probe(x(FEATURES), y(LABELS), x(FEATURES), y(LABELS), epochs=1),
    "few_shot": lambda x, y: ssl_eval.few_shot(x(FEATURES), y(LABELS), x(FEATURES), y(LABELS), 2, draws=1),
    "nearest_class_mean": lambda x, y: ssl_eval.nearest_class_mean(x(FEATURES), y(LABELS), x(FEATURES)),
    "retrieval": lambda x, y: ssl_eval.retrieval(FEATURES, LABELS, x(FEATURES), y(LABELS), ks=(1,)),
    "episodic_few_shot": lambda x, y: ssl_eval.episodic_few_shot(x(FEATURES), y(LABELS), 3, 2, 2, episodes=2),
    "ood_detection": lambda x, y: (
        ssl_eval.ood_detection(x(FEATURES), y(LABELS), x(FEATURES), x(FEATURES + COLUMN[:, None]), k=3)[
            "max_softmax"
        ].auroc
    ),
    "mahalanobis_distance": lambda x, y: ssl_eval.mahalanobis_distance(x(FEATURES), y(LABELS), x(FEATURES)),
    "accuracy": lambda x, y: ssl_eval.accuracy(x(SCORES), y(LABELS), topk=(1,)),
    "balanced_accuracy": lambda x, y: ssl_eval.balanced_accuracy(x(SCORES), y(LABELS)),
    "confusion_matrix": lambda x, y: ssl_eval.confusion_matrix(x(SCORES), y(LABELS)),
    "reliability": lambda x, y: ssl_eval.reliability(x(SCORES.softmax(1)), y(LABELS)),
    "per_class_accuracy": lambda x, y: ssl_eval.per_class_accuracy(x(SCORES), y(LABELS)),
    "auroc": lambda x, y: ssl_eval.auroc(x(SCORES.softmax(1)), y(LABELS)),
}
OF_FEATURES = {
    "kmeans": lambda x: ssl_eval.kmeans(x(FEATURES), 2, restarts=1),
    "kmeans, centers": lambda x: ssl_eval.kmeans(FEATURES, 2, centers=x(FEATURES[:2])),
    "linear_cka": lambda x: ssl_eval.linear_cka(x(FEATURES), x(FEATURES)),
    "mutual_knn": lambda x: ssl_eval.mutual_knn(x(FEATURES), x(FEATURES), 3),
    "procrustes_similarity": lambda x: ssl_eval.procrustes_similarity(x(FEATURES), x(FEATURES)),
    "ood_separation": lambda x: ssl_eval.ood_separation(x(COLUMN), x(COLUMN)),
    "knn_distance": lambda x: ssl_eval.knn_distance(x(FEATURES), x(FEATURES), 3),
    "alignment": lambda x: ssl_eval.alignment(x(FEATURES), x(FEATURES)),
    "uniformity": lambda x: ssl_eval.uniformity(x(FEATURES)),
    "eigenvalues": lambda x: ssl_eval.eigenvalues(x(FEATURES)),
    "lidar": lambda x: ssl_eval.lidar(x(FEATURES.unflatten(0, (15, 2)))),
    "label_free": lambda x: ssl_eval.label_free(x(FEATURES)),
    "principal_components": lambda x: ssl_eval.principal_components(x(FEATURES)),
    "tsne": lambda x: ssl_eval.tsne(x(FEATURES), perplexity=5, iterations=250),
    "best_assignment": lambda x: ssl_eval.best_assignment(x(SCORES[:3])),
    "bootstrap_interval": lambda x: ssl_eval.bootstrap_interval(x(COLUMN)),
    "mean_interval": lambda x: ssl_eval.mean_interval(x(COLUMN)),
    "welch_test": lambda x: ssl_eval.welch_test(x(COLUMN), x(COLUMN)),
    "spearman": lambda x: ssl_eval.spearman(x(COLUMN), x(COLUMN)),
    "kendall": lambda x: ssl_eval.kendall(x(COLUMN), x(COLUMN)),
} | {name: lambda x, call=call: call(x, same) for name, call in CALLS.items()}
OF_LABELS = {
    "contingency_table": lambda y: ssl_eval.contingency_table(y(LABELS), y(LABELS)),
    "adjusted_rand_index": lambda y: ssl_eval.adjusted_rand_index(y(LABELS), y(LABELS)),
    "normalized_mutual_information": lambda y: ssl_eval.normalized_mutual_information(y(LABELS), y(LABELS)),
    "cluster_accuracy": lambda y: ssl_eval.cluster_accuracy(y(LABELS), y(LABELS)),
} | {name: lambda y, call=call: call(same, y) for name, call in CALLS.items()}


def same(value):
    return value


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (torch.Tensor.tolist, "must be a torch.Tensor, got list; try torch.as_tensor"),
        (torch.Tensor.numpy, "must be a torch.Tensor, got ndarray; try torch.as_tensor"),
        (torch.Tensor.cfloat, "must hold real numbers, got torch.complex64"),
        (torch.Tensor.to_sparse, "must be dense"),
        (lambda x: x.to(torch.float8_e4m3fn), "try .float()"),
        (lambda x: x / 0, "finite|NaN|must be 0 or more"),
    ],
)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_wrong_features_are_one_line(name, convert, message):
    if "finite" in message and name in ("accuracy", "balanced_accuracy", "confusion_matrix", "per_class_accuracy"):
        pytest.skip("infinite scores are in order")
    with pytest.raises(ValueError, match=message) as error:
        OF_FEATURES[name](convert)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (torch.Tensor.tolist, "must be a torch.Tensor, got list; try torch.as_tensor"),
        (torch.Tensor.numpy, "must be a torch.Tensor, got ndarray; try torch.as_tensor"),
        (torch.Tensor.float, "must be integers"),
        (torch.Tensor.bool, "must be integers"),
        (lambda y: y.to(torch.uint16), r"must be integers.*try .long\(\)"),
        (lambda y: y + 10**9, r"renumber the classes|must be below num_classes=3"),
        (lambda y: y * (2**61), r"renumber the classes|must be below num_classes=3"),
    ],
)
@pytest.mark.parametrize("name", OF_LABELS)
def test_wrong_labels_are_one_line(name, convert, message):
    with pytest.raises(ValueError, match=message) as error:
        OF_LABELS[name](convert)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("name", OF_LABELS)
def test_labels_of_any_integer_dtype_are_the_same(name, dtype):
    found, expected = (OF_LABELS[name](convert) for convert in (lambda y: y.to(dtype), same))
    for part in ("scores", "accuracies", "recall", "confidence"):  # of results
        found, expected = getattr(found, part, found), getattr(expected, part, expected)
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_two_large_groupings_need_too_large_a_table():
    groups = torch.arange(20_000)
    with pytest.raises(ValueError, match="20000 by 20000 groups is too large"):
        ssl_eval.normalized_mutual_information(groups, groups)


def test_classes_may_be_as_many_as_samples(make_features):
    features, _ = make_features(30)
    votes = ssl_eval.knn(features, torch.arange(30), features, k=1)
    assert votes.shape == (30, 30)


@pytest.mark.parametrize(
    ("probe", "advice", "option"),
    [
        (ssl_eval.linear_probe, "regularization=0.01", {"regularization": 0.01}),
        (ssl_eval.sgd_probe, r"lrs=\[0.1\]", {"lrs": [0.1]}),
    ],
)
def test_advice_of_one_sample_per_class_is_an_argument(probe, advice, option):
    data = FEATURES[:3], LABELS[:3], FEATURES, LABELS
    with pytest.raises(ValueError, match=f"pass {advice}"):
        probe(*data)
    assert 0 <= probe(*data, **option).accuracy <= 1

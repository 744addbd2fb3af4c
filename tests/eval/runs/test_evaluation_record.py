"""Offline evaluations, as another tool may have written them."""

import json

import numpy as np
import pytest
import torch

from ssl_eval import EvaluationRecord, RunRecord, write_report


def record(folder, **values):
    (folder / "eval").mkdir(exist_ok=True)
    path = folder / "eval" / "standard.json"
    path.write_text(json.dumps({"protocol": "standard", "step": 8, "metrics": {}, **values}))
    return EvaluationRecord(path)


def test_three_parts_are_enough(tmp_path):
    found = record(tmp_path, metrics={"knn_20": 0.5, "few": {"mean": 0.25, "n": 3}, "absent": None})
    assert (found.protocol, found.step, found.epoch, found.dataset, found.of_newest) == ("standard", 8, None, "", True)
    assert (found.value("knn_20"), found.value("few"), found.value("absent")) == (0.5, 0.25, None)
    assert found.per_class is found.confusion is found.reliability is found.spectrum is found.hits is None
    assert found.maps == {}


def test_everything_comes_as_tensors(tmp_path, full_evaluation):
    found = record(tmp_path, **full_evaluation())
    assert found.class_names[3] == "class 3"
    assert found.per_class.isnan().tolist() == [True, *[False] * 9]
    assert found.confusion.shape == (10, 10)
    assert [len(part) for part in found.reliability] == [3, 3, 3]
    assert found.spectrum[1] == 0.5
    assert found.maps["tsne"].shape == (60, 2)
    assert found.map_labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("values", "part", "message"),
    [
        ({"step": "8"}, None, "'step' must be of type int, got '8'"),
        ({"metrics": {"knn": "high"}}, None, "metric 'knn' must be a number or have a 'mean', got 'high'"),
        ({"confusion": [[1, 2], [3]]}, "confusion", "'confusion' must hold numbers"),
        (
            {"confusion": [[1, 2, 3]], "per_class": {"names": ["a"]}},
            "confusion",
            r"'confusion' must be \(1, 1\), got \(1, 3\)",
        ),
        ({"map": {"pca": [[0, 1]], "labels": [0, 1]}}, "maps", r"'map, pca' must be \(2, 2\), got \(1, 2\)"),
        ({"hits": "eval/nowhere.npy"}, "hits", "names hits that cannot be read"),
        ({"per_class": [1]}, "per_class", "'per_class' must be of type dict"),
    ],
)
def test_damaged_evaluation_is_named(tmp_path, values, part, message):
    with pytest.raises(ValueError, match=r"standard\.json'.*" + message):
        getattr(record(tmp_path, **values), part or "values")


def test_damaged_file_is_named_and_nothing_is_written(make_run):
    folder = make_run("one", evaluation={"metrics": {"linear": 0.5}})
    (folder / "eval" / "standard.json").write_text('{"protocol":')
    with pytest.raises(ValueError, match=r"eval/standard\.json' is damaged"):
        write_report([folder])
    assert not (folder / "report").exists()


def test_hits_belong_to_the_metric_whose_value_is_their_share(tmp_path):
    found = record(tmp_path, metrics={"linear": 0.75, "knn_20": 0.5}, hits="eval/hits.npy")
    np.save(tmp_path / "eval" / "hits.npy", np.array([True, True, True, False]))
    assert found.hits_of("linear").tolist() == [True, True, True, False]
    assert found.hits_of("knn_20") is None


def test_hits_are_never_unpickled(tmp_path):
    found = record(tmp_path, hits="eval/hits.npy")
    np.save(tmp_path / "eval" / "hits.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read"):
        found.hits  # noqa: B018


def test_runs_know_their_evaluations(make_run):
    folder = make_run("one", evaluation={"metrics": {"linear": 0.5}})
    text = (folder / "eval" / "standard.json").read_text()
    (folder / "eval" / "standard_step_4.json").write_text(text.replace('"step": 24', '"step": 4'))
    found = RunRecord(folder).evaluations
    assert {name: e.of_newest for name, e in found.items()} == {"standard": True, "standard_step_4": False}


def evaluated(make_run, name, values, **more):
    for seed, value in enumerate(values):
        make_run(f"{name}_{seed}", seed=seed, evaluation={"metrics": {"linear": value, "rankme": 3.0 + value}}, **more)


@pytest.mark.usefixtures("tables_only")
def test_table_of_a_protocol_has_means_and_a_significant_best(make_run, tmp_path):
    evaluated(make_run, "low", (0.90, 0.91, 0.92), changes={"optim.lr": 1})
    evaluated(make_run, "high", (0.95, 0.96, 0.97), changes={"optim.lr": 2})
    make_run("failed", status="failed", done=2, changes={"optim.lr": 3}, evaluation={"metrics": {"linear": 0.99}})
    make_run("bare", changes={"optim.lr": 4})
    table = write_report([tmp_path], tmp_path / "out").tables[1]
    assert table.title == "Evaluated offline: standard"
    assert list(table.columns) == ["run", "lr", "status", "n", "epoch", "linear probe", "RankMe"]
    failed, high, low = table.rows
    assert failed[:6] == ["failed", "3", "failed", 1, "2", 0.99]
    assert high[:5] == ["high_*", "2", "finished", 3, "6"]
    assert high[5] == pytest.approx({"mean": 0.96, "std": 0.01, "n": 3})
    assert high[6] == "3.96 ± 0.01"
    assert low[5]["mean"] == pytest.approx(0.91)
    assert table.best == [(1, 5)]
    assert "Not evaluated: bare." in table.notes
    assert any("Welch's test" in note for note in table.notes)
    assert r"\textbf{96.0 $\pm$ 1.0}" in (tmp_path / "out" / "table.tex").read_text()
    assert "<strong>96.0 ±&nbsp;1.0</strong>" in (tmp_path / "out" / "index.html").read_text()
    assert "0.96" in (tmp_path / "out" / "evaluation_standard.csv").read_text()


@pytest.mark.usefixtures("tables_only")
def test_no_difference_no_bold(make_run, tmp_path):
    evaluated(make_run, "low", (0.90, 0.94, 0.92), changes={"optim.lr": 1})
    evaluated(make_run, "high", (0.95, 0.91, 0.97), changes={"optim.lr": 2})
    table = write_report([tmp_path]).tables[1]
    assert table.best == []
    assert any("No row does." in note for note in table.notes)


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(("wrong", "best"), [(3, []), (40, [(1, 4)])])
def test_single_runs_are_compared_over_test_samples(make_run, tmp_path, wrong, best):
    """McNemar's exact test: 3 samples of 200 could be chance (p = 0.25), 40 not."""
    for name, misses in (("a", wrong), ("b", 0)):
        hits = np.ones(200, dtype=bool)
        hits[:misses] = False
        values = {"metrics": {"linear": 1 - misses / 200}, "hits": hits}
        make_run(name, changes={"optim.lr": len(name + "b" * (name == "b"))}, evaluation=values)
    table = write_report([tmp_path]).tables[1]
    column = list(table.columns).index("linear probe")
    assert table.best == [(row, column) for row, _ in best]


@pytest.mark.usefixtures("tables_only")
def test_evaluation_of_an_older_state_is_noted(make_run):
    folder = make_run("one", evaluation={"metrics": {"linear": 0.5}, "step": 8})
    assert any("evaluated at step 8, the run is at step 24" in note for note in write_report([folder]).tables[1].notes)


@pytest.mark.usefixtures("tables_only")
def test_every_evaluated_checkpoint_has_a_row(make_run, tmp_path):
    for seed in (0, 1):
        earlier = {8: {"linear": 0.5 + 0.1 * seed}, 16: {"linear": 0.7}}
        evaluation = {"metrics": {"linear": 0.8 + 0.1 * seed}}
        folder = make_run(f"s{seed}", seed=seed, evaluation=evaluation, earlier=earlier if seed else {8: earlier[8]})
    report = write_report([tmp_path], tmp_path / "out")
    _, last, every = report.tables
    assert last.rows[0][-1] == pytest.approx({"mean": 0.85, "std": 0.0707107, "n": 2})
    assert "last checkpoint that was evaluated" in last.notes[0]
    assert every.title == "Every checkpoint: standard"
    assert list(every.columns) == ["run", "step", "epoch", "n", "linear probe"]
    assert [row[:4] for row in every.rows] == [["s0, s1", 8, "2", 2], ["s0, s1", 16, "4", 1], ["s0, s1", 24, "6", 2]]
    assert every.rows[0][4] == pytest.approx({"mean": 0.55, "std": 0.0707107, "n": 2})
    assert every.rows[1][4] == 0.7
    assert "Every checkpoint: standard" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "checkpoints_standard.csv").read_text() == every.to_csv()
    (folder / "eval" / "standard.json").unlink()  # only older ones are left
    (row,) = write_report([folder], tmp_path / "out").tables[1].rows
    assert row[-2:] == ["4", 0.7]


@pytest.mark.usefixtures("tables_only")
def test_each_protocol_on_each_data_set_has_its_table(make_run, tmp_path):
    """The names of files that the evaluation of several sets writes."""
    folder = make_run("one", evaluation={"metrics": {"linear": 0.5}})
    text = (folder / "eval" / "standard.json").read_text()
    for name in ("digits", "letters"):
        (folder / "eval" / f"standard_{name}.json").write_text(text.replace('"digits"', f'"{name}"'))
    (folder / "eval" / "standard.json").unlink()
    report = write_report([folder])
    titles = [table.title for table in report.tables[1:]]
    assert titles == ["Evaluated offline: standard on digits", "Evaluated offline: standard on letters"]
    assert {"evaluation_standard_on_digits.csv", "evaluation_standard_on_letters.csv"} <= {f.name for f in report.files}

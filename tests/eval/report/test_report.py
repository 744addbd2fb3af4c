"""``ssl-eval report`` and the learning curves."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from ssl_eval import NothingToDraw, RunRecord, learning_curves, write_report
from ssl_eval.cli import main
from ssl_eval.figures.curves import _points
from ssl_eval.runs.seed_groups import MAX_COLUMNS, group_runs

TEXTS = ["index.html", "table.csv", "table.md", "table.tex"]
FIGURES = [f"{name}{suffix}" for name in ("accuracy_against_time", "learning_curves") for suffix in (".pdf", ".png")]
FILES = sorted([*TEXTS, *FIGURES, "figures.tex"])


def groups_of(*folders):
    return group_runs([RunRecord(folder) for folder in folders])


@pytest.mark.usefixtures("tables_only")
def test_names_of_sweep_runs_omit_the_columns(make_run):
    """The names that ssl-launch gives; where a run has not finished, its whole name tells it from the others."""
    for lr in (1, 2):
        for seed in (0, 1):
            make_run(f"simclr_digits-hardware.seed={seed},optim.lr={lr}", seed=seed, changes={"optim.lr": lr})
    make_run("simclr_digits-hardware.seed=2,optim.lr=2", status="failed", seed=2, changes={"optim.lr": 2})
    records = [RunRecord(path) for path in sorted(make_run("simclr-plain", changes={"optim.lr": 3}).parent.iterdir())]
    groups, _ = group_runs(records)
    assert {(group.label, group.settings["optim.lr"], len(group.records)) for group in groups} == {
        ("simclr-plain", "3", 1),
        ("simclr_digits", "1", 2),
        ("simclr_digits-hardware.seed=*,optim.lr=2", "2", 2),
        ("simclr_digits-hardware.seed=2,optim.lr=2", "2", 1),
    }


@pytest.mark.usefixtures("tables_only")
def test_runs_that_differ_in_the_seed_alone_are_one_row(make_run):
    for seed, final in enumerate((0.90, 0.92, 0.94)):
        make_run(f"low_{seed}", final=final, seed=seed, changes={"data.num_workers": seed})
    folder = make_run("high", changes={"optim.lr": 2.0}, final=0.8)
    table = write_report([folder.parent]).tables[0]
    assert list(table.columns) == [
        "run", "lr", "status", "n", "prediction", "kNN", "linear probe, backbone", "minutes", "images/s",
    ]  # fmt: skip
    high, low = table.rows
    assert low[:4] == ["low_*", "0.5", "finished", 3]
    assert low[4] == pytest.approx({"mean": 0.92, "std": 0.02, "n": 3})
    assert low[5] == pytest.approx({"mean": 0.90, "std": 0.02, "n": 3})
    assert low[7:] == ["1.5", None]  # printed as a dash
    assert high[:5] == ["high", "2", "finished", 1, pytest.approx(0.8)]


@pytest.mark.usefixtures("tables_only")
def test_unfinished_runs_are_shown_and_never_averaged(make_run):
    make_run("a", final=0.9)
    make_run("b", status="failed", done=2, seed=1, error="DivergedError: loss is nan\nat step 9")
    make_run("c", status="preempted", done=4, seed=2)
    begun = make_run("d", status="running", done=0, seed=3)
    (begun / "metrics.jsonl").write_text("")
    old = time.time() - 3600
    for path in (begun, *begun.iterdir()):
        os.utime(path, (old, old))
    table = write_report([begun.parent]).tables[0]
    assert [row[:3] for row in table.rows] == [
        ["a", "finished", 1],
        ["b", "failed, epoch 2 of 6", 1],
        ["c", "preempted, epoch 4 of 6", 1],
        ["d", "running, epoch 0 of 6", 1],
    ]
    assert table.rows[0][3] == pytest.approx(0.9)
    assert table.rows[3][3] is None
    notes = "\n".join(table.notes)
    assert "b: failed: DivergedError: loss is nan at step 9" in notes
    assert "d: status running, but nothing was written for 60 minutes" in notes


@pytest.mark.usefixtures("tables_only")
def test_repeated_seed_is_noted(make_run):
    make_run("a", seed=1)
    folder = make_run("b", seed=1)
    assert any(
        "standard deviation is underestimated: seed 1 is repeated" in note
        for note in write_report([folder.parent]).tables[0].notes
    )


@pytest.mark.usefixtures("tables_only")
def test_metric_that_some_runs_lack_is_noted(make_run):
    make_run("a", seed=1)
    folder = make_run("b", seed=2)
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.replace("digits/knn", "digits/rank_backbone"))
    table = write_report([folder.parent]).tables[0]
    assert any("1 of the 2 runs have digits/knn" in note for note in table.notes)
    assert table.columns[-3] == "effective rank, backbone"
    assert table.rows[0][-3] == "0.88"  # no accuracy: a number as it is, not percent


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
def test_values_that_are_not_finite_are_reported(make_run, value):
    for number, lr in enumerate((0.5, 0.5, 3, 3)):
        wrong = {"digits/knn": value, "digits/loss": value if number % 2 else -value}
        folder = make_run(f"run{number}", {"optim.lr": lr}, seed=number, evaluation={"metrics": {"knn_20": value}})
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": 25, "epoch": 6, **wrong}) + "\n")
    table = write_report([folder.parent]).tables[0]
    assert [row[table.columns.index("n")] for row in table.rows] == [2, 2]


@pytest.mark.usefixtures("tables_only")
def test_columns_are_named_as_short_as_they_stay_different(make_run):
    folders = [
        make_run("a", changes={"model.name": "vicreg", "optim.lr": [0.1, 0.2]}),
        make_run("b", changes={"data.dataset": "cifar10", "optim.name": None}),
    ]
    groups, left_out = groups_of(*folders)
    assert left_out == []
    assert groups[0].settings == {
        "model.name": "vicreg",
        "data.dataset": "digits",
        "optim.lr": "[0.1, 0.2]",
        "optim.name": "–",
    }
    table = write_report(folders).tables[0]
    assert list(table.columns[1:5]) == ["model", "dataset", "lr", "optim"]


@pytest.mark.usefixtures("tables_only")
def test_columns_settled_by_others_are_omitted_and_noted(make_run):
    many = {f"model.option_{i}": i for i in range(MAX_COLUMNS)}
    folders = [
        make_run("a"),
        make_run("b", changes={"model.name": "vicreg", **many}),
        make_run("c", changes={"model.name": "vicreg", "optim.lr": 1.0, **many}),
    ]
    groups, left_out = groups_of(*folders)
    assert [group.settings for group in groups] == [
        {"model.name": "simclr", "optim.lr": "0.5"},
        {"model.name": "vicreg", "optim.lr": "0.5"},
        {"model.name": "vicreg", "optim.lr": "1"},
    ]
    assert left_out == list(many)
    assert any("model.option_3" in note for note in write_report(folders).tables[0].notes)


@pytest.mark.usefixtures("tables_only")
def test_tables_of_the_ends_of_runs_are_averaged(make_run):
    def table(value):
        rows = [["trained", value, {"mean": value - 0.1, "std": 0.01, "n": 5}], ["raw pixels", 0.5, None]]
        return {"title": "t", "columns": ["", "kNN", "10 labels"], "rows": rows, "notes": ["Protocol."]}

    for seed, value in enumerate((0.8, 0.9)):
        make_run(f"s{seed}", seed=seed, table=table(value))
    folder = make_run("other", changes={"optim.lr": 9}, table=table(0.7))
    make_run("failed", changes={"optim.lr": 9}, status="failed", seed=5, table=table(0.1))
    report = write_report([folder.parent])
    final = report.tables[1]
    assert list(final.columns) == ["run", "lr", "features", "n", "kNN", "10 labels"]
    single, _, averaged, pixels = final.rows
    assert single == ["other", "9", "trained", 1, 0.7, {"mean": pytest.approx(0.6), "std": 0.01, "n": 5}]
    assert averaged[:4] == ["s0, s1", "0.5", "trained", 2]
    assert averaged[4] == pytest.approx({"mean": 0.85, "std": 0.0707107, "n": 2})
    assert averaged[5] == pytest.approx({"mean": 0.75, "std": 0.0707107, "n": 2})
    assert pixels[4:] == [{"mean": 0.5, "std": 0.0, "n": 2}, None]
    assert final.notes[0] == "Protocol."
    assert (folder.parent / "report" / "final.csv").read_text() == final.to_csv()


def test_command_writes_the_files_and_prints_the_table(make_run, capsys):
    folder = make_run("one")
    assert main(["report", str(folder)]) == 0
    out = folder / "report"
    assert sorted(path.name for path in out.glob("[!.]*")) == FILES
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "learning_curves.pdf").read_bytes().startswith(b"%PDF")
    printed, problems = capsys.readouterr()
    assert problems == ""
    assert re.search(r"one +finished +1 +90\.0 +88\.0 +90\.0", printed)
    assert printed.splitlines()[-len(FILES) :] == [str(out / name) for name in FILES]
    assert "| one | finished | 1 | 90.0 | 88.0 | 90.0 |" in (out / "table.md").read_text()
    (row,) = csv.DictReader(io.StringIO((out / "table.csv").read_text()))
    assert float(row["kNN"]) == pytest.approx(0.88)
    assert main(["report", str(folder), "--out", str(folder.parent / "elsewhere")]) == 0
    again = {path.name: path.read_bytes() for path in (folder.parent / "elsewhere").glob("[!.]*")}
    assert again == {name: (out / name).read_bytes() for name in FILES}  # the same report


@pytest.mark.parametrize("arguments", [["report"], [], ["report", "nowhere"], ["reprot", "x"], ["report", "."]])
def test_invalid_input_is_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as stopped:  # of argparse
        code = stopped.code
    printed, problem = capsys.readouterr()
    assert (code, printed) == (2, "")
    assert problem.startswith("ssl-eval")
    assert problem.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_command_ends_with_its_exit_code(tmp_path):
    command = [sys.executable, "-m", "ssl_eval.cli", "report", "nowhere"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "ssl-eval report: 'nowhere': there is no such folder\n"


def test_damaged_run_alone_is_an_error_and_nothing_is_written(make_run, capsys):
    folder = make_run("bad")
    (folder / "summary.json").write_text("{")
    assert main(["report", str(folder.parent)]) == 2
    printed, problem = capsys.readouterr()
    assert printed == ""
    assert problem.count("\n") == 1
    assert "bad/summary.json' is damaged" in problem
    assert not (folder.parent / "report").exists()


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", '{"epoch": "three"}'),
        ("metrics.jsonl", "garbage\n"),
        ("config.yaml", "- a"),
        ("table.json", "{}"),
        ("eval/standard.json", '{"protocol": "standard", "step": 24, "metrics": {"knn": 0.5}, "spectrum": 7}'),
    ],
)
def test_damaged_run_is_left_out_and_named(make_run, capsys, name, text):
    make_run("good", evaluation={"metrics": {"knn_20": 0.5}})
    folder = make_run("bad", changes={"optim.lr": 3}, evaluation={"metrics": {"knn_20": 0.5}})
    (folder / name).write_text(text)
    assert main(["report", str(folder.parent)]) == 0
    printed, problem = capsys.readouterr()
    assert problem.startswith(f"left out: '{folder / name}'")
    assert problem.count("\n") == 1
    assert printed.startswith("1 run on digits")
    assert f"Left out: '{folder / name}'" in " ".join(printed.split())


@pytest.mark.usefixtures("tables_only")
def test_files_and_folders_without_runs_are_skipped(make_run, capsys):
    runs = [make_run("sweep/0"), make_run("sweep/1", seed=1)]
    file, empty = runs[0].parent / "multirun.yaml", runs[0].parent / "empty"
    file.write_text("hydra: {}")
    empty.mkdir()
    assert main(["report", str(file), str(empty), *map(str, runs), "--out", str(file.parent / "out")]) == 0
    printed, problem = capsys.readouterr()
    assert printed.startswith("2 runs on digits")
    assert problem.splitlines()[0] == f"left out: '{file}' is not a folder"
    assert problem.splitlines()[1].startswith(f"left out: '{empty}' holds no run")
    assert main(["watch", "--once", str(file), *map(str, runs)]) == 0
    assert "2 finished" in capsys.readouterr().out
    assert main(["report", str(file), *map(str, runs)]) == 0
    assert (runs[0] / "report" / "table.md").is_file()
    assert main(["report", str(file)]) == 2


def test_place_that_cannot_be_written_is_one_line(make_run, capsys):
    folder = make_run("one")
    (folder / "report").write_text("a file is in the way")
    assert main(["report", str(folder)]) == 2
    assert "report': File exists" in capsys.readouterr().err


def test_full_disk_is_one_line_and_keeps_the_earlier_report(make_run, tmp_path, capsys):
    """A file system of 2 MiB in memory; mounts need root, and the test is skipped, visibly, where they are refused."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {mounted.stderr.strip()}")
    try:
        folder = make_run("one")
        assert main(["report", str(folder), "--out", str(disk / "report")]) == 0
        before = {path.name: path.read_bytes() for path in (disk / "report").iterdir()}
        with open(disk / "filler", "wb") as filler:  # all but 100 KiB
            filler.write(bytes(shutil.disk_usage(disk).free - 100 * 1024))
        (folder / "summary.json").write_text((folder / "summary.json").read_text().replace("90.0", "95.0"))
        capsys.readouterr()
        assert main(["report", str(folder), "--out", str(disk / "report")]) == 2
        assert capsys.readouterr().err == f"ssl-eval report: '{disk / 'report'}': No space left on device\n"
        assert {path.name: path.read_bytes() for path in (disk / "report").iterdir()} == before
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_failing_figure_leaves_the_earlier_report_whole(make_run, monkeypatch):
    folder = make_run("one")
    write_report([folder])
    before = {path: path.read_bytes() for path in (folder / "report").iterdir()}
    make_run("one/two", final=0.5, seed=1)

    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("ssl_eval.report.report.save", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report([folder])
    assert {path: path.read_bytes() for path in (folder / "report").iterdir()} == before


def test_without_matplotlib_there_are_tables_and_a_hint(make_run, monkeypatch, capsys):
    folder = make_run("one")
    assert main(["report", str(folder)]) == 0
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib.*ssl-eval\[report\]"):
        learning_curves([folder], folder / "curves.png")
    assert list(folder.glob("*curves*")) == []
    assert main(["report", str(folder)]) == 0
    assert sorted(path.name for path in (folder / "report").glob("[!.]*")) == TEXTS  # no old figure
    assert "no figure: a figure needs matplotlib" in capsys.readouterr().err


def test_without_yaml_the_package_is_named(make_run, monkeypatch, capsys):
    folder = make_run("one")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert main(["report", str(folder)]) == 2
    assert "pip install pyyaml" in capsys.readouterr().err
    assert learning_curves([folder], folder / "curves.png").exists()  # a run's own figure needs no config


def test_functions_on_features_import_only_torch():
    script = """
import sys
import torch
before = set(sys.modules)
import ssl_eval
print({name.split('.')[0] for name in set(sys.modules) - before} & {'matplotlib', 'yaml', 'numpy', 'sklearn', 'scipy'})
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_curves_are_means_where_all_runs_of_a_group_have_a_value(make_run):
    records = [
        RunRecord(make_run(f"s{seed}", seed=seed, final=final, done=done, status="running"))
        for seed, (final, done) in enumerate(((0.6, 6), (0.9, 4)))
    ]
    points = _points(records, "digits/accuracy", in_epochs=True)
    assert [x for x, _, _ in points] == [2.0, 4.0]
    assert points[0][1:] == pytest.approx((25.0, 7.0710678))
    loss = _points(records[:1], "train/loss", in_epochs=True)
    assert loss[0] == (0.25, 5.0, 0.0)
    assert loss[-1][0] == 6.0


def drawn(figure_call, monkeypatch):
    """Return the axes of the figure that a call draws."""
    figures = []
    monkeypatch.setattr("ssl_eval.figures.curves.save", lambda figure, path: figures.append(figure))
    figure_call()
    return figures[0].axes, figures[0].legends


def test_one_run_has_its_accuracies_in_one_panel(make_run, monkeypatch):
    folder = make_run("one")
    (loss, accuracy, rate), (legend,) = drawn(lambda: learning_curves([folder], "x.png"), monkeypatch)
    labels = ["prediction = linear probe, backbone", "kNN"]  # the run has equal values of the first two
    assert [text.get_text() for text in legend.get_texts()] == labels
    assert loss.get_ylabel() == "training loss"
    assert accuracy.get_ylabel() == "top-1 accuracy (%)"
    assert rate.get_xlabel() == "epoch"
    assert rate.get_ylabel() == "learning rate"
    assert set(rate.get_lines()[0].get_ydata()) == {0.1}
    assert [line.get_label() for line in accuracy.get_lines()] == labels
    assert accuracy.get_lines()[1].get_ydata()[-1] == pytest.approx(88)
    assert accuracy.get_lines()[1].get_xdata().tolist() == [2, 4, 6]


def test_several_groups_have_a_panel_for_each_accuracy(make_run, monkeypatch):
    groups = {"lr 1": [make_run("a"), make_run("b", final=0.7)], "lr 2": [make_run("c", final=0.5)]}
    axes, (legend,) = drawn(lambda: learning_curves(groups, "x.pdf"), monkeypatch)
    assert [ax.get_ylabel() for ax in axes] == [
        "training loss",
        "prediction (%)",
        "kNN (%)",
        "linear probe,\nbackbone (%)",
    ]
    assert [text.get_text() for text in legend.get_texts()] == ["lr 1", "lr 2"]
    assert len({line.get_color() for ax in axes for line in ax.get_lines()}) == 2
    assert [len(ax.collections) for ax in axes] == [0, 1, 1, 1]  # a band for the group of two, where they differ


def test_runs_in_their_first_epoch_are_drawn_against_steps(make_run, monkeypatch):
    folder = make_run("one", status="running", done=1)
    (loss, rate), _ = drawn(lambda: learning_curves([folder], "x.png"), monkeypatch)
    assert rate.get_xlabel() == "optimizer step"
    assert loss.get_lines()[0].get_xdata().tolist() == [1, 2, 3, 4]


def test_figure_with_nothing_in_it_raises(make_run, capsys):
    folder = make_run("one", status="running", done=0)
    with pytest.raises(NothingToDraw, match="none of the 1 runs"):
        learning_curves([folder], folder / "x.png")
    with pytest.raises(ValueError, match=r"written as \.png or \.pdf, got 'x\.svg'"):
        learning_curves([folder], folder / "x.svg")
    assert main(["report", str(folder)]) == 0  # the table still says how the run stands
    assert "no figure: no curve to draw" in capsys.readouterr().err
    assert "no curve to draw" in (folder / "report" / "index.html").read_text()


def test_run_whose_loss_is_not_a_number_is_drawn(make_run):
    folder = make_run("one", status="failed", done=2)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 9, "epoch": 2, "train/loss": float("nan")}) + "\n")
    assert learning_curves([folder], folder / "curves.png").stat().st_size > 1000

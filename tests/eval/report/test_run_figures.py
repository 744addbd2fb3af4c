"""Which figures a report has, what stands in them, and what their captions say."""

import pytest
import torch

from ssl_eval import RunRecord, write_report
from ssl_eval.figures.class_bars import MAX_CLASSES
from ssl_eval.figures.style import paper, save
from ssl_eval.figures.sweep import is_geometric
from ssl_eval.report.evaluation_tables import protocols
from ssl_eval.report.run_figures import drawings
from ssl_eval.runs.seed_groups import group_runs


def found(*folders):
    groups, _ = group_runs([RunRecord(folder) for folder in folders])
    return {drawing.name: drawing for drawing in drawings(groups, protocols(groups))}


@pytest.fixture
def sweep(make_run):
    return [
        make_run(f"lr{lr}_{seed}", changes={"optim.lr": lr}, seed=seed, final=final + 0.01 * seed)
        for lr, final in ((0.1, 0.5), (0.3, 0.7), (1.0, 0.8), (3.0, 0.6))
        for seed in (0, 1)
    ]


def test_every_caption_names_its_protocol(make_run, full_evaluation):
    figures = found(make_run("one", evaluation=full_evaluation()))
    assert list(figures) == [
        "learning_curves",
        "accuracy_against_time",
        "per_class",
        "confusion_matrix",
        "reliability",
        "spectrum",
        "embedding",
    ]
    for name, drawing in figures.items():
        online = name in ("learning_curves", "accuracy_against_time")
        assert f"Protocol: {'online' if online else 'standard, offline'}" in drawing.caption
    assert "class 1 as class 0" in figures["confusion_matrix"].caption


def test_all_figures_are_in_both_formats_and_in_the_page(make_run, full_evaluation, tmp_path):
    """100 classes: the figures that have to choose what they show."""
    folder = make_run("one", evaluation=full_evaluation(classes=100))
    names = [path.name for path in write_report([folder]).files]
    page = (folder / "report" / "index.html").read_text()
    latex = (folder / "report" / "figures.tex").read_text()
    drawn = found(folder)
    for name in drawn:
        assert {f"{name}.png", f"{name}.pdf"} <= set(names)
        assert f"{{{name}.pdf}}" in latex
        assert f"<code>{name}.pdf</code>" in page
    assert page.count("data:image/png;base64,") == len(drawn)
    assert f"the {MAX_CLASSES // 2} lowest" in drawn["per_class"].caption


def test_figures_of_several_data_sets_are_apart(make_run, full_evaluation):
    """Four runs on two data sets: the curves, sweeps and correlations of each, with its runs and its panels only."""
    folders = []
    for number, dataset in enumerate(("digits", "digits", "letters", "letters", "letters")):
        evaluation = full_evaluation() | {"dataset": dataset}
        folder = make_run(f"r{number}", {"data.dataset": dataset, "optim.lr": 1.0 + number}, evaluation=evaluation)
        lines = (folder / "metrics.jsonl").read_text()
        (folder / "metrics.jsonl").write_text(lines.replace("digits/", f"{dataset}/"))
        folders.append(folder)
    waiting = make_run("waiting", {"data.dataset": "letters", "optim.lr": 9.0}, status="running", done=0)
    figures = found(*folders, waiting)
    names = {"learning_curves_digits", "learning_curves_letters", "accuracy_against_lr_letters"}
    assert names <= figures.keys()
    assert "learning_curves" not in figures
    assert "accuracy_against_lr_digits" not in figures  # two values are no sweep
    assert figures["learning_curves_letters"].caption.startswith("Learning curves on letters.")
    assert {figures[name].dataset for name in figures} == {"digits", "letters"}
    with paper():
        digits = figures["learning_curves_digits"].draw()
        swept = figures["accuracy_against_lr_letters"].draw()
    assert [ax.get_ylabel() for ax in digits.axes] == [
        "training loss", "prediction (%)", "kNN (%)", "linear probe,\nbackbone (%)",
    ]  # fmt: skip
    assert len(digits.legends[0].get_texts()) == 2
    assert "CIFAR" not in "".join(ax.get_ylabel() for ax in swept.axes)
    assert "1 unfinished" in figures["accuracy_against_lr_letters"].caption


def test_one_run_on_two_data_sets_has_one_panel_of_accuracies(make_run):
    folder = make_run("one")
    lines = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(lines.replace('"digits/knn"', '"letters/knn"'))
    with paper():
        panels = found(folder)["learning_curves"].draw().axes
    assert [ax.get_ylabel() for ax in panels] == ["training loss", "top-1 accuracy (%)", "learning rate"]


def test_pictures_of_an_evaluation_are_part_of_the_report(make_run):
    pictures = {"neighbours": "eval/standard_neighbours.png", "gone": "eval/standard_gone.png"}
    folder = make_run("one", evaluation={"metrics": {"linear": 0.5}, "pictures": pictures})
    content = b"\x89PNG\r\n\x1a\n" + bytes(8) + (900).to_bytes(4, "big") + bytes(20)
    (folder / "eval" / "standard_neighbours.png").write_bytes(content)
    drawing = found(folder)["neighbours"]
    assert "nearest training images" in drawing.caption
    assert "run one. Protocol: standard" in drawing.caption
    report = write_report([folder])
    assert (folder / "report" / "neighbours.png").read_bytes() == content
    assert "<code>neighbours.png</code>" in (folder / "report" / "index.html").read_text()
    assert "{neighbours.png}" in (folder / "report" / "figures.tex").read_text()
    assert not [path for path in report.files if path.name == "neighbours.pdf"]


@pytest.mark.parametrize("file", ["../secret.png", "/etc/secret.png", "eval/x.svg", 3])
def test_picture_outside_of_the_evaluations_raises(make_run, file):
    folder = make_run("one", evaluation={"metrics": {}, "pictures": {"neighbours": file}})
    with pytest.raises(ValueError, match=r"picture 'neighbours' must be a \.png file in 'eval/?'"):
        RunRecord(folder).check()


def test_report_removes_the_figures_of_an_earlier_one(make_run):
    folder = make_run("one", done=0, status="running", evaluation={"metrics": {}, "spectrum": [2.0, 1.0]})
    write_report([folder])
    (folder / "report" / "mine.txt").write_text("kept")
    (folder / "eval" / "standard.json").unlink()
    names = {path.name for path in write_report([folder]).files}
    assert {path.name for path in (folder / "report").glob("[!.]*")} == names | {"mine.txt"}
    assert "spectrum.png" not in names


def test_swept_parameter_is_found_with_its_spacing(sweep, make_run):
    failed = make_run("wild", changes={"optim.lr": 10.0}, status="failed", done=1)
    figures = found(*sweep, failed)
    assert "1 unfinished (crosses)" in figures["accuracy_against_lr"].caption
    with paper():
        axes = figures["accuracy_against_lr"].draw().axes
    assert [ax.get_ylabel() for ax in axes] == ["prediction (%)", "kNN (%)", "linear probe,\nbackbone (%)"]
    assert axes[0].get_xscale() == "log"
    line, crosses = axes[0].get_lines()[0], axes[0].get_lines()[-1]
    assert line.get_xdata().tolist() == [0.1, 0.3, 1.0, 3.0]
    assert line.get_ydata().tolist() == pytest.approx([50.5, 70.5, 80.5, 60.5])
    assert list(crosses.get_xdata()) == [10.0]


def test_two_values_or_words_are_no_sweep(make_run):
    folders = [make_run(name, changes={"model.name": name, "optim.lr": len(name)}) for name in ("a", "bb", "c")]
    assert not [name for name in found(*folders) if name.startswith("accuracy_against_l")]


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([1, 2, 5, 10], True),
        ([10, 20, 30, 40, 50], False),
        ([0, 1, 10], False),
        ([1, 10], False),
    ],
)
def test_spacing(values, geometric):
    assert is_geometric(values) is geometric


def test_sweep_from_zero_has_a_readable_axis(make_run):
    folders = [make_run(f"w{i}", changes={"optim.lr": value}) for i, value in enumerate((0.0, 1e-5, 1e-4, 1e-3))]
    with paper():
        figure = found(*folders)["accuracy_against_lr"].draw()
    assert figure.axes[0].get_xscale() == "symlog"


def test_correlation_needs_five_settings(make_run):
    folders = []
    for number in range(5):
        for seed in (0, 1):
            values = {"metrics": {"linear": 0.5 + 0.1 * number, "rankme": 10.0 + number**2}}
            changes = {"optim.lr": 1.0 + number}
            folders.append(make_run(f"r{number}_{seed}", seed=seed, changes=changes, evaluation=values))
    assert "label_free_correlation" not in found(*folders[:8])
    drawing = found(*folders)["label_free_correlation"]
    assert "over n settings. Protocol: standard" in drawing.caption
    with paper():
        (ax,) = drawing.draw().axes
    assert ax.get_title() == "ρ = 1.00, τ = 1.00, n = 5"
    assert ax.get_xlabel() == "RankMe"


def test_time_is_a_steps_share_of_the_wall_time(make_run):
    with paper():
        figure = found(make_run("one", wall_seconds=600.0))["accuracy_against_time"].draw()
    assert figure.axes[0].get_xlabel() == "minutes"
    assert figure.axes[0].get_lines()[0].get_xdata().tolist() == pytest.approx([10 / 3, 20 / 3, 10])


def test_accuracies_over_checkpoints_are_curves_with_spread(make_run):
    """A point where all runs of a group were evaluated; a line for each accuracy of one group, a panel for each of several."""
    folders = []
    for lr in (1.0, 2.0):
        for seed in (0, 1):
            numbers = {8: 0.5 + 0.1 * seed, 16: 0.7} if seed or lr == 1.0 else {8: 0.5}
            earlier = {
                step: {"linear": value, "linear_top5": 0.9, "knn_20": 0.3, "knn_200": 0.2}
                for step, value in numbers.items()
            }
            values = {"metrics": {"linear": 0.8 + 0.1 * seed, "knn_20": 0.4, "knn_200": 0.2}}
            folders.append(make_run(f"l{lr}_{seed}", {"optim.lr": lr}, seed=seed, evaluation=values, earlier=earlier))
    assert "accuracy_over_checkpoints" not in found(make_run("one", evaluation={"metrics": {"linear": 0.5}}))
    alone = found(*folders[:2])["accuracy_over_checkpoints"]
    assert "standard deviation of the runs" in alone.caption
    assert alone.caption.endswith("Protocol: standard, offline on every checkpoint that was evaluated.")
    with paper():
        (ax,) = alone.draw().axes
        several = found(*folders)["accuracy_over_checkpoints"].draw().axes
    assert [line.get_label() for line in ax.get_lines()] == ["kNN (k=20)", "linear probe"]
    assert ax.get_lines()[1].get_xdata().tolist() == [2, 4, 6]
    assert ax.get_lines()[1].get_ydata().tolist() == pytest.approx([55, 70, 85])
    assert ax.get_xlabel() == "epoch"
    assert [each.get_ylabel() for each in several] == ["kNN (k=20) (%)", "linear probe (%)"]
    assert several[1].get_lines()[1].get_xdata().tolist() == [2, 6]  # at step 16 one of the two was not


def test_reliability_pools_the_samples_of_the_seeds(make_run):
    folders = []
    for seed, (count, accuracy) in enumerate(((10, 0.5), (30, 0.9))):
        values = {
            "metrics": {},
            "reliability": {"confidence": [None, 0.8], "accuracy": [None, accuracy], "count": [0, count]},
        }
        folders.append(make_run(f"s{seed}", seed=seed, evaluation=values))
    with paper():
        upper, _ = found(*folders)["reliability"].draw().axes
    line = upper.get_lines()[1]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == (pytest.approx([80]), pytest.approx([80]))


def test_captions_say_how_many_settings_are_left_out(make_run, full_evaluation):
    folders = [
        make_run(f"r{i}", {"model.name": f"m{i}"}, evaluation=full_evaluation(accuracy=0.5 + 0.04 * i))
        for i in range(9)
    ]
    figures = found(*folders)
    for name in ("confusion_matrix", "embedding"):
        shown = [drawing for each, drawing in figures.items() if each.startswith(name)]
        assert len(shown) == 7
        assert all(", one of the 7 best of 9 settings" in drawing.caption for drawing in shown)
    for name, number in (("reliability", 7), ("spectrum", 7), ("per_class", 4)):
        assert f"; the {number} best of 9 settings. Protocol" in figures[name].caption
    assert not any("best of" in drawing.caption for drawing in found(*folders[:4]).values())


def test_of_many_groups_the_best_seven_are_named(make_run):
    folders = [make_run(f"r{i}", changes={"model.name": f"m{i}"}, final=0.5 + 0.04 * i) for i in range(9)]
    drawing = found(*folders)["learning_curves"]
    assert "The 7 best of 9 are labelled." in drawing.caption
    with paper():
        (legend,) = drawing.draw().legends
    assert [text.get_text() for text in legend.get_texts()] == [*(f"m{i}" for i in range(2, 9)), "2 others"]


def test_dollar_in_a_name_is_a_dollar(make_run, tmp_path):
    """matplotlib would read it as mathematics, and stop."""
    folders = [make_run(name, changes={"model.name": name}) for name in ("$\\frac$", "_a")]
    with paper():
        save(found(*folders)["learning_curves"].draw(), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_classes_without_samples_leave_a_gap(make_run, full_evaluation):
    evaluation = full_evaluation()
    evaluation["confusion"][3] = [0] * 10
    figures = found(make_run("one", evaluation=evaluation))
    with paper():
        bars = figures["per_class"].draw().axes[0].containers[-1]
        figures["confusion_matrix"].draw()
    assert torch.tensor([bar.get_height() for bar in bars]).isnan().tolist() == [True, *[False] * 9]


def test_run_far_off_does_not_push_the_others_together(sweep, make_run, tmp_path):
    failed = make_run("wild", changes={"optim.lr": 1e9}, status="failed", done=1)
    with paper():
        figure = found(*sweep, failed)["accuracy_against_lr"].draw()
        save(figure, tmp_path / "x.png")
    assert figure.axes[0].get_position().width > 0.3  # of the figure, in two columns: the layout has room
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["not finished (1 outside the axis)"]
    assert figure.axes[0].get_xlim()[1] < 10


def test_equal_means_are_equal_ranks(make_run):
    """0.1 + 0.5 and 0.2 + 0.4 differ as floats, and not as accuracies."""
    folders = []
    for number, accuracies in enumerate(((0.1, 0.5), (0.2, 0.4), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8))):
        for seed, accuracy in enumerate(accuracies):
            values = {"metrics": {"linear": accuracy, "rankme": float(number)}}
            folders.append(
                make_run(f"r{number}_{seed}", seed=seed, changes={"optim.lr": 1 + number}, evaluation=values)
            )
    with paper():
        (ax,) = found(*folders)["label_free_correlation"].draw().axes
    assert "τ = 0.95" in ax.get_title()  # 9 of 10 pairs are in order, and one is a tie


def test_seeds_and_classes_of_others_are_kept_apart(make_run, full_evaluation):
    folders = [make_run(f"a{seed}", seed=seed, evaluation=full_evaluation(seed=seed)) for seed in (0, 1)]
    folders.append(make_run("other", changes={"optim.lr": 9}, evaluation=full_evaluation(classes=4)))
    with paper():
        (legend,) = (
            found(*folders[:2], make_run("b", changes={"optim.lr": 9}, evaluation=full_evaluation()))["per_class"]
            .draw()
            .legends
        )
        found(*folders)["per_class"].draw()
    assert [text.get_text() for text in legend.get_texts()] == ["lr 0.5 (n=2)", "lr 9"]

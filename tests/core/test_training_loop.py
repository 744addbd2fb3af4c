"""The loop: the order of its hooks, what it keeps, how it goes on and how it ends."""

import itertools
import json
import os
import signal

import pytest
import torch

from ssl_core import ConfigError, Preempted, RunFolderError, Teacher
from ssl_core.evaluation.online_probes import OnlineProbes
from ssl_core.run import environment
from ssl_core.run.folder import RunFolder
from ssl_core.training.fit_and_report import fit_and_report
from ssl_eval import alignment, lidar, rankme, uniformity


def lines(config, timings=False):
    found = RunFolder.of(config).read_metrics()
    drop = () if timings else ("train/images_per_second",)
    return [{key: value for key, value in line.items() if key not in drop} for line in found]


def summary(config):
    return RunFolder.of(config).read_summary()


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_hooks_run_in_the_documented_order(make_config, tiny_model):
    calls = []

    class Traced(tiny_model):
        pass

    def traced(name):
        original = getattr(tiny_model, name)

        def call(self, *arguments):
            calls.append(name)
            return original(self, *arguments)

        return call

    names = [
        "seed_everything", "initialize_modules", "initialize_optimizer", "initialize_scheduler", "load_checkpoint",
        "before_train_epoch", "before_train_step", "train_step", "after_train_step", "after_train_epoch",
        "before_eval_epoch", "before_eval_step", "eval_step", "after_eval_step", "after_eval_epoch",
        "save_checkpoint",
    ]  # fmt: skip
    for name in names:
        setattr(Traced, name, traced(name))
    Traced(make_config(optim__epochs=1)).fit()
    step = ["before_train_step", "train_step", "after_train_step"]
    eval_step = ["before_eval_step", "eval_step", "after_eval_step"]
    assert calls == [
        "seed_everything", "initialize_modules", "initialize_optimizer", "initialize_scheduler", "load_checkpoint",
        "before_train_epoch", *step * 4, "after_train_epoch", "save_checkpoint",
        "before_eval_epoch", *eval_step * 2, "after_eval_epoch",
        "save_checkpoint",
    ]  # fmt: skip


def test_run_learns_and_ends_as_finished(make_config, tiny_model):
    config = make_config(optim__epochs=8)
    metrics = tiny_model(config).fit()
    assert metrics["toy/accuracy"] > 0.9  # chance is 0.25
    assert metrics["toy/knn"] > 0.9
    assert metrics["toy/probe_backbone"] > 0.5
    ended = summary(config)
    assert ended["status"] == "finished"
    assert ended["metrics"] == metrics
    assert ended["epoch"] == 8
    assert ended["step"] == 32
    assert {"versions", "git", "command", "seed", "device", "wall_seconds", "images_per_second"} <= set(ended)


def test_metrics_have_a_line_per_step_and_terms_sum_to_loss(make_config, tiny_model):
    config = make_config(optim__epochs=1)
    tiny_model(config).fit()
    train = [line for line in lines(config) if "train/loss" in line]
    assert [line["step"] for line in train] == [1, 2, 3, 4]
    for line in train:
        assert line["train/loss"] == pytest.approx(line["train/classes"] + line["train/distance"], rel=1e-6)


def test_same_seed_same_run_and_another_seed_another(make_config, tiny_model):
    runs = {}
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = make_config(log__run=run, hardware__seed=seed)
        model = tiny_model(config)
        model.fit()
        runs[run] = weights(model), lines(config)
    assert runs["a"][1] == runs["b"][1]
    assert all(torch.equal(runs["a"][0][name], runs["b"][0][name]) for name in runs["a"][0])
    assert runs["a"][1] != runs["c"][1]


@pytest.mark.parametrize("stopped_after", [1, 3, 4, 6, 11])
def test_resumed_run_equals_uninterrupted_run(make_config, tiny_model, stopped_after):
    """In the middle of an epoch and at its end; weights, optimizer, probes and metrics are bit-identical."""

    class Dropout(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.teacher = Teacher(self.backbone, momentum=0.9, final_momentum=1.0)

        def compute_loss(self):
            self.data = self.data._replace(views=[torch.nn.functional.dropout(view, 0.1) for view in self.data.views])
            return super().compute_loss()

    changes = {"optim__momentum": 0.9, "log__checkpoint_every_steps": 1}
    whole = Dropout(make_config(log__run="whole", **changes))
    whole.fit()

    class Killed(Dropout):
        def before_train_step(self):
            if self.progress.step == stopped_after:
                raise KeyboardInterrupt
            super().before_train_step()

    config = make_config(log__run="killed", **changes)
    with pytest.raises(KeyboardInterrupt):
        Killed(config).fit()
    resumed = Dropout(config)
    resumed.fit()
    assert lines(config) == lines(whole.config)
    for ours, theirs in ((resumed.state_dict(), whole.state_dict()), (
        resumed.probes.classifiers.state_dict(), whole.probes.classifiers.state_dict(),
    )):  # fmt: skip
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = resumed.optimizer.state_dict(), whole.optimizer.state_dict()
    for index, values in theirs["state"].items():
        assert torch.equal(ours["state"][index]["momentum_buffer"], values["momentum_buffer"])


def test_a_run_killed_before_its_first_checkpoint_begins_again(make_config, tiny_model):
    class Killed(tiny_model):
        def after_train_epoch(self):
            raise KeyboardInterrupt

    config = make_config()
    with pytest.raises(KeyboardInterrupt):
        Killed(config).fit()
    tiny_model(config).fit()
    steps = [line["step"] for line in lines(config) if "train/loss" in line]
    assert steps == list(range(1, 13))


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]


def goes_on_as_if_nothing_had_been(config, tiny_model, make_config):
    """Compare with a run that was never stopped."""
    tiny_model(config).fit()
    uninterrupted = make_config(log__run="uninterrupted")
    tiny_model(uninterrupted).fit()
    assert lines(config) == lines(uninterrupted)
    assert summary(config)["status"] == "finished"


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_saves_at_step_boundary_and_run_resumes(make_config, tiny_model, number):
    class Signalled(tiny_model):
        def compute_loss(self):
            if self.progress.step == 5:
                os.kill(os.getpid(), number)
            return super().compute_loss()

    config = make_config(log__run="signalled")
    before = signal.getsignal(number)
    with pytest.raises(Preempted, match=f"{number.name} at step 6"):
        Signalled(config).fit()
    assert signal.getsignal(number) is before
    assert summary(config)["status"] == "preempted"
    goes_on_as_if_nothing_had_been(config, tiny_model, make_config)


@pytest.mark.parametrize(
    ("where", "background"),
    [
        ("before_eval_epoch", False), ("forward", False), ("encode", True), ("after_eval_epoch", False),
        ("evaluation loader", False),
    ],
)  # fmt: skip
def test_failed_evaluation_is_repeated_without_training(make_config, tiny_model, where, background):
    """Checkpoints by epoch are not even asked for; weights and metrics are those of a run that never failed."""
    trained = []

    class Counted(tiny_model):
        def train_step(self, batch):
            trained.append(self.progress.step)
            return super().train_step(batch)

    def fail(self, *arguments):
        if self.progress.between_epochs and self.progress.epoch == 2:
            raise RuntimeError("a mistake")
        return getattr(tiny_model, where)(self, *arguments)

    class Broken:
        def __iter__(self):
            raise RuntimeError("a mistake")

    def break_the_data(self):
        self.run.loaders.evaluation = {"toy": Broken()}

    changes = {"before_run": break_the_data} if where == "evaluation loader" else {where: fail}
    config = make_config(log__run="failed", log__checkpoint_every=0, log__checkpoint_in_background=background)
    for _ in range(2):  # failing again trains nothing either
        with pytest.raises(RuntimeError, match="a mistake"):
            type("Failing", (Counted,), changes)(config).fit()
        assert summary(config)["status"] == "failed"
        assert trained == list(range(4 if where == "evaluation loader" else 8))
    resumed = Counted(config)
    resumed.fit()
    assert trained == list(range(12))
    whole = tiny_model(make_config(log__run="whole"))
    whole.fit()
    assert lines(config) == lines(whole.config)
    assert all(torch.equal(weights(whole)[name], tensor) for name, tensor in weights(resumed).items())


@pytest.mark.parametrize("part", ["write_report", "export_backbone", "log", "close"])
def test_failure_after_training_is_a_warning(make_config, tiny_model, part, caplog, monkeypatch):
    """The final report, the export and sinks: the run is finished, and the warning says what is missing."""

    class Sink:
        def log(self, step, values):
            values.clear()
            if part == "log":
                raise OSError("the service is gone")

        def close(self):
            closed.append(1)
            if part == "close":
                raise OSError("the service is gone")

    def fail(*arguments):
        raise OSError("the service is gone")

    closed = []
    failing = type("Failing", (tiny_model,), {"make_sinks": lambda self: [Sink()]})
    if part in ("write_report", "export_backbone"):
        monkeypatch.setattr(f"ssl_core.training.fit_and_report.{part}", fail)
    config = make_config(log__report=part == "write_report", log__export=part == "export_backbone")
    metrics = fit_and_report(failing(config))
    assert summary(config)["status"] == "finished"
    assert summary(config)["metrics"] == metrics
    assert closed == [1]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "OSError: the service is gone; " in warnings[0]


@pytest.mark.parametrize("where", ["before_eval_epoch", "eval_step", "after_eval_epoch", "after_train_epoch"])
def test_a_signal_outside_of_a_step_is_as_good(make_config, tiny_model, where):
    """The evaluation that was stopped is done anew, whole; what follows the last batch of an epoch is done once."""
    done = []

    class Signalled(tiny_model):
        def after_train_epoch(self):
            super().after_train_epoch()
            done.append(self.progress.epoch)

    def stop(self, *arguments):
        if self.progress.epoch + (where == "after_train_epoch") == 2 and self.run.stop.name is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return getattr(Signalled, where)(self, *arguments)

    config = make_config(log__run="signalled")
    with pytest.raises(Preempted, match="SIGTERM at step"):
        type("Stopped", (Signalled,), {where: stop})(config).fit()
    goes_on_as_if_nothing_had_been(config, Signalled, make_config)
    assert done[:3] == [0, 1, 2]


def test_second_ctrl_c_ends_at_once(make_config, tiny_model):
    class Impatient(tiny_model):
        def compute_loss(self):
            if self.progress.step == 2:
                os.kill(os.getpid(), self.number)
                os.kill(os.getpid(), self.number)
            return super().compute_loss()

    for number, outcome in ((signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)):
        Impatient.number = number
        with pytest.raises(outcome):
            Impatient(make_config(log__run=number.name)).fit()


def test_second_run_in_a_folder_raises_and_names_the_first(make_config, tiny_model):
    class Nested(tiny_model):
        def after_train_epoch(self):
            with pytest.raises(RunFolderError, match=rf"another run works in .*process {os.getpid()} on .* since 20"):
                tiny_model(make_config()).fit()

    config = make_config()
    Nested(config).fit()
    assert len([line for line in lines(config) if "train/loss" in line]) == 12
    tiny_model(config).fit()  # the lock went with the run


def test_changed_configuration_raises_before_data_is_opened(make_config, tiny_model):
    tiny_model(make_config()).fit()
    other = make_config(optim__lr=0.5)
    with pytest.raises(RunFolderError, match=r"optim\.lr was 0.1, is 0.5"):
        tiny_model(other).fit()
    assert other.data.opened == 0


def test_a_finished_run_started_again_changes_nothing(make_config, tiny_model):
    config = make_config()
    first = tiny_model(config).fit()
    before = lines(config, timings=True)
    assert tiny_model(config).fit() == first
    assert lines(config, timings=True) == before


def test_accumulated_batches_equal_one_large_batch(make_config, tiny_model):
    """Oracle: the same batches averaged by hand in one optimizer step (a model without batch statistics)."""

    class Plain(tiny_model):
        def initialize_modules(self):
            self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))
            self.head = torch.nn.Linear(16, self.num_classes)

    final = {}
    for run, batch, accumulation in (("large", 64, 1), ("small", 16, 4)):
        model = Plain(
            make_config(
                log__run=run, optim__batch_size=batch, optim__accumulation_steps=accumulation, optim__weight_decay=0.0
            )
        )
        model.fit()
        assert model.progress.step == 3
        final[run] = weights(model)
    for name in final["large"]:
        torch.testing.assert_close(final["small"][name], final["large"][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_teacher_is_updated_once_per_optimizer_step(make_config, tiny_model, accumulation):
    """Oracle: the moving average written out over the student's weights after each step."""

    class Taught(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.teacher = Teacher(self.backbone, momentum=0.9)
            self.expected, self.follows = self.backbone[1].weight.detach().clone(), 0

        def after_train_step(self):
            super().after_train_step()
            if (self.progress.batch + 1) % accumulation == 0:
                self.expected = 0.9 * self.expected + 0.1 * self.backbone[1].weight.detach()
                self.follows += 1

    model = Taught(make_config(optim__accumulation_steps=accumulation))
    model.fit()
    assert model.follows == 12 // accumulation
    torch.testing.assert_close(model.teacher.model[1].weight, model.expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("max_steps", "batches"), [(-1, 4), (3, 3), (0.5, 2)])
def test_max_steps_is_exact(make_config, tiny_model, max_steps, batches):
    model = tiny_model(make_config(optim__epochs=2, optim__max_steps=max_steps))
    model.fit()
    assert model.progress.step == 2 * batches


def test_gradient_clipping_bounds_the_step(make_config, tiny_model):
    model = tiny_model(
        make_config(optim__epochs=1, optim__grad_max_norm=1e-3, optim__weight_decay=0.0, optim__max_steps=1)
    )
    before = {}
    model.before_train_epoch = lambda: before.update(weights(model))
    model.fit()
    moved = torch.sqrt(sum((p - before[name]).square().sum() for name, p in model.named_parameters()))
    assert moved.item() == pytest.approx(1e-4, rel=1e-3)  # lr 0.1


def test_bf16_is_the_default_if_the_processor_has_it(make_config, tiny_model):
    from ssl_core.hardware import has_bf16

    config = make_config(hardware__precision="bf16")
    tiny_model(config).fit()
    assert summary(config)["precision"] == "bf16"
    config = make_config(log__run="auto", hardware__precision="auto")
    tiny_model(config).fit()
    assert summary(config)["precision"] == ("bf16" if has_bf16(torch.device("cpu")) else "fp32")


def test_model_config_of_another_class_raises(make_config):
    from ssl_core.methods import SimCLR

    with pytest.raises(ConfigError, match="SimCLR expects a SimCLRConfig"):
        SimCLR(make_config())


def test_missing_function_is_named_with_its_purpose(make_config):
    from ssl_core import BaseModel

    with pytest.raises(NotImplementedError, match=r"must define initialize_modules\(self\)"):
        BaseModel(make_config()).fit()


def test_label_free_measures_of_all_test_images_by_one_key(make_config, tiny_model):
    """Oracle: the measures themselves, on the features of the trained model."""
    model = tiny_model(make_config(log__label_free=["rankme", "uniformity"]))
    metrics = model.fit()
    features = model.features(model.run.loaders.evaluation["toy"].images)
    assert metrics["toy/rankme"] == pytest.approx(rankme(features), rel=1e-5)
    assert metrics["toy/uniformity"] == pytest.approx(uniformity(features), rel=1e-4)
    assert not {"toy/nesum", "toy/stable_rank"} & metrics.keys()


def test_label_free_metrics_use_the_first_training_images(make_config, tiny_model, toy_data, monkeypatch):
    """Oracle: the measures themselves, on the features of what the loader gives as its first three batches."""
    monkeypatch.setattr("ssl_core.evaluation.online_metrics.VIEW_SAMPLES", 40)
    model = tiny_model(make_config(log__label_free=["alignment", "lidar"]))
    metrics = model.fit()
    batches = list(itertools.islice(toy_data().open(16, 0).train.start(0, 0), 3))
    order = torch.cat([ids for *_, ids in batches]).argsort()[:40]
    first, second = (model.features(torch.cat([views[k] for views, *_ in batches])[order]) for k in (0, 1))
    assert metrics["toy/alignment"] == pytest.approx(alignment(first, second), rel=1e-5)
    assert metrics["toy/lidar"] == pytest.approx(lidar(torch.stack([first, second], 1)), rel=1e-5)
    assert "toy/rankme" not in metrics
    unmeasured = tiny_model(make_config(log__run="unmeasured"))
    unmeasured.fit()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), unmeasured.state_dict().values()))


def test_metrics_of_views_raise_for_single_views(make_config, tiny_model, toy_data):
    config = make_config(log__label_free=["rankme", "lidar"])
    config.data = toy_data(views=1)
    with pytest.raises(
        ConfigError, match=r"log\.label_free: 'lidar' compares the views of an image, and data\.views gives"
    ):
        tiny_model(config).fit()
    assert not RunFolder.of(config).path.exists()


def test_the_probes_send_no_gradient_into_the_backbone(make_config, tiny_model):
    """With and without probes the weights are bit-identical."""

    class Unwatched(tiny_model):
        def initialize_probes(self):
            self.probes = OnlineProbes({}, self.num_classes, lr=1e-3, device=self.run.distributed.device)

    watched, unwatched = tiny_model(make_config(log__run="a")), Unwatched(make_config(log__run="b"))
    watched.fit()
    unwatched.fit()
    assert all(torch.equal(a, b) for a, b in zip(watched.state_dict().values(), unwatched.state_dict().values()))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"optim__warmup_epochs": 10.0}, "optim.warmup_epochs"),
        ({"optim__max_steps": 1.5}, "optim.max_steps"),
        ({"model__backbone": "resnet19"}, "model.backbone"),
        ({"log__label_free": ["rankmee"]}, "log.label_free"),
        ({"model__backbone_options": {"widht": 3}}, "model.backbone_options.widht"),
    ],
)
def test_invalid_configuration_raises_before_data_is_opened(make_config, tiny_model, changes, key):
    config = make_config(**changes)
    with pytest.raises(ConfigError) as caught:
        tiny_model(config).fit()
    assert caught.value.key == key
    assert config.data.opened == 0
    assert not RunFolder.of(config).path.exists()


def test_too_many_threads_are_an_error_before_data_is_opened(make_config, tiny_model, monkeypatch):
    monkeypatch.setattr(environment, "num_processors", lambda: 2)
    config = make_config(hardware__num_threads=9)
    with pytest.raises(ConfigError, match=r"^hardware\.num_threads=9: expected at most 8, 4 for each processor"):
        tiny_model(config).fit()
    assert not RunFolder.of(config).path.exists()
    environment.check_parallelism("hardware.num_threads", 8)


def test_run_without_epochs_evaluates_once(make_config, tiny_model):
    config = make_config(optim__epochs=0)
    first = tiny_model(config).fit()
    assert 0 <= first["toy/accuracy"] <= 1
    assert tiny_model(config).fit() == first
    assert [line["step"] for line in lines(config)] == [0]


def test_run_without_labels_has_figure_and_no_table(make_config, tiny_model, toy_data, capsys):
    class Unlabelled(toy_data):
        def open(self, *arguments):
            loaders = super().open(*arguments)
            for loader in (loaders.train, loaders.reference, loaders.evaluation["toy"]):
                loader.labels = torch.full_like(loader.labels, -1)
            loaders.num_classes = 0
            return loaders

    class Contrastive(tiny_model):
        def initialize_modules(self):
            self.backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16))

        def forward(self, x):
            return self.backbone(x)

        def compute_loss(self):
            return (self(self.data[0][0]) - self(self.data[0][1])).square().mean()

    config = make_config(log__report=True)
    config.data = Unlabelled()
    fit_and_report(Contrastive(config))
    folder = RunFolder.of(config)
    assert capsys.readouterr().out.splitlines() == [
        "no table: there are no labelled images to evaluate",
        str(folder.curves),
    ]
    assert summary(config)["status"] == "finished"
    assert all("train/loss" in line for line in lines(config))  # an evaluation that has nothing to say writes no line


def with_few_labels(data):
    """Three training images of each class are compared with."""
    loader = data.reference
    loader.images, loader.labels = loader.images[:12], loader.labels[:12]


def without_test_class(data):
    loader = data.evaluation["toy"]
    loader.labels = loader.labels.where(loader.labels != 3, 2)


def without_training_class(data):
    loader = data.reference
    loader.labels = loader.labels.where(loader.labels != 0, 1)


def without_training_labels(data):
    for loader in (data.train, data.reference):
        loader.labels = torch.where(loader.labels == 1, -1, -1)


@pytest.mark.parametrize(
    ("change", "filled", "reason"),
    [
        (with_few_labels, [True, True, False], "has only 3 training samples"),
        (without_test_class, [True, True, True], ""),
        (without_training_class, [True, False, False], "got none of class 0"),
        (without_training_labels, None, "no training image has a label"),
    ],
)
def test_table_holds_what_the_data_allow(make_config, tiny_model, toy_data, capsys, change, filled, reason):
    class Changed(toy_data):
        def open(self, *arguments):
            loaders = super().open(*arguments)
            change(loaders)
            return loaders

    class Contrastive(tiny_model):
        def compute_loss(self):
            first, second = (self.forward(view) for view in self.data[0])
            return (first - second).square().mean()

    config = make_config(log__report=True, optim__epochs=1)
    config.data = Changed()
    fit_and_report(Contrastive(config))
    folder, printed = RunFolder.of(config), capsys.readouterr().out
    assert summary(config)["status"] == "finished"
    assert reason in printed
    assert folder.table.exists() == (filled is not None)
    if filled is None:
        assert f"no table: {reason}" in printed
        return
    table = json.loads(folder.table_json.read_text())
    assert [[cell is not None for cell in row[1:]] for row in table["rows"]] == [filled] * 3
    assert len(table["notes"]) == 1 + filled.count(False)


def test_run_too_short_to_log_has_no_figure_and_a_message(make_config, tiny_model, capsys):
    config = make_config(log__report=True, log__every_steps=1000, log__knn_samples=0)
    config.data.open = lambda *arguments: _no_evaluation(type(config.data)().open(*arguments))
    fit_and_report(tiny_model(config))
    assert "no figure: no curve to draw" in capsys.readouterr().out.splitlines()[-1]
    assert summary(config)["status"] == "finished"


def _no_evaluation(loaders):
    loaders.evaluation = {}
    return loaders

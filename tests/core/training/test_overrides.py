"""A run with an overridden method is resumed bit by bit, and a wrong override is one sentence that names the method."""

import pytest
import torch

from ssl_core import CheckpointError, MethodError, Teacher
from ssl_core.run.folder import RunFolder

STOPPED_AT = 6  # of 12 steps, in the middle of the second epoch


class OwnOptimizer:
    def initialize_optimizer(self):
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=0.1)


class CountsInItsGroups(torch.optim.SGD):
    """As timm's LAMB and Adan: the step is counted in the parameter groups, from the first step on."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            group["lr"] = group["lr"] / group["step"]
        return super().step(closure)


class LateKeys:
    def initialize_optimizer(self):
        self.optimizer = CountsInItsGroups(self.parameters(), lr=0.1, momentum=0.9)


class OwnSchedule:
    def initialize_scheduler(self):
        self.schedule = lambda step: 0.9**step

    def decay_schedule(self, step):
        return 1 + step


class TorchScheduler:
    """A scheduler of torch, stepped in a hook; its state is added to the checkpoint."""

    def initialize_scheduler(self):
        super().initialize_scheduler()
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)

    def after_train_step(self):
        self.scheduler.step()

    def parts(self):
        return {**super().parts(), "scheduler": self.scheduler}


class OwnForward:
    def forward(self, x):
        return self.head(torch.nn.functional.dropout(self.backbone(x), 0.2, self.training))


class OwnLoss:
    def compute_loss(self):
        noisy = self.data[0][0] + 0.1 * torch.randn_like(self.data[0][0])
        return torch.nn.functional.cross_entropy(self.forward(noisy), self.data[1])


class OwnStep:
    def train_step(self, batch):
        self.compute_loss()["classes"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        return True


class OwnEvaluation:
    """Without torch.no_grad(), so that the probes see the features of the evaluation."""

    def eval_epoch(self):
        self.eval()
        for batch in self.run.loaders.evaluation["toy"]:
            self.eval_step(batch)

    def eval_step(self, batch):
        self.forward(batch[0][0])
        torch.rand(3)


class Hooks:
    """Every hook, none of which calls super()."""

    def before_train_step(self):
        views = [torch.nn.functional.dropout(view, 0.1) for view in self.data.views]
        self.data = self.data._replace(views=views)

    def after_train_step(self):
        torch.rand(3)

    before_train_epoch = after_train_epoch = before_eval_epoch = after_eval_epoch = after_train_step
    before_eval_step = after_eval_step = after_train_step


OVERRIDES = [
    OwnOptimizer, LateKeys, OwnSchedule, TorchScheduler, OwnForward, OwnLoss, OwnStep, OwnEvaluation, Hooks,
]  # fmt: skip


def method(override, base):
    """Return a method with dropout and a teacher, and the overridden methods on top."""

    class Taught(base):
        def initialize_modules(self):
            super().initialize_modules()
            self.teacher = Teacher(self.backbone, momentum=0.9)

    return type("Overriding", (override, Taught), {})


def stopped(method_class):
    class Stopped(method_class):
        def before_train_step(self):
            if self.progress.step == STOPPED_AT:
                raise KeyboardInterrupt
            super().before_train_step()

    return Stopped


def metrics(config):
    lines = RunFolder.of(config).read_metrics()
    return [{key: value for key, value in line.items() if key != "train/images_per_second"} for line in lines]


def state(model):
    """Return the tensors and counters of the last checkpoint."""
    saved = model.run.checkpoints.load(torch.device("cpu"))[0]
    return {name: saved.get(name) for name in ("progress", "model", "optimizer", "probes")} | saved.get("scheduler", {})


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("override", OVERRIDES)
def test_overridden_run_resumes_bit_by_bit(make_config, tiny_model, override):
    kind = method(override, tiny_model)
    whole = kind(make_config(log__run="whole", log__checkpoint_every_steps=5))
    whole.fit()
    config = make_config(log__run="stopped", log__checkpoint_every_steps=5)
    with pytest.raises(KeyboardInterrupt):
        stopped(kind)(config).fit()
    resumed = kind(config)
    resumed.fit()
    assert metrics(config) == metrics(whole.config)
    torch.testing.assert_close(state(resumed), state(whole), rtol=0.0, atol=0.0)


def test_hooks_without_super_change_nothing(make_config, tiny_model):
    """Seeding and teachers belong to the loop: oracle, the same run without hooks."""

    class Plain(OwnForward):
        pass

    class Hooked(OwnForward):
        def before_train_step(self):
            pass

        after_train_step = before_train_step

    plain, hooked = (
        method(override, tiny_model)(make_config(log__run=override.__name__)) for override in (Plain, Hooked)
    )
    plain.fit()
    hooked.fit()
    torch.testing.assert_close(state(hooked), state(plain), rtol=0.0, atol=0.0)
    assert not torch.equal(plain.teacher.model[1].weight, plain.backbone[1].weight)


def test_evaluation_with_gradients_does_not_train_the_probes(make_config, tiny_model):
    class Ordinary(OwnEvaluation):
        @torch.no_grad()
        def eval_epoch(self):
            super().eval_epoch()

    ours, theirs = (
        method(override, tiny_model)(make_config(log__run=override.__name__)) for override in (OwnEvaluation, Ordinary)
    )
    ours.fit()
    theirs.fit()
    torch.testing.assert_close(state(ours)["probes"], state(theirs)["probes"], rtol=0.0, atol=0.0)


def test_checkpoint_of_changed_code_is_not_called_damaged(make_config, tiny_model, caplog):
    config = make_config(log__checkpoint_every_steps=2)
    with pytest.raises(KeyboardInterrupt):
        stopped(tiny_model)(config).fit()

    class Changed(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.more = torch.nn.Linear(2, 2)

    with pytest.raises(CheckpointError, match=r"^step_00000006\.pt: model has no 'more\.bias'.*the file is undamaged"):
        Changed(config).fit()
    assert "damaged" not in caplog.text


MISTAKES = {
    "no optimizer": (
        "initialize_optimizer",
        lambda self: None,
        r"set self\.optimizer to None: expected a torch\.optim",
    ),
    "no schedule": ("initialize_scheduler", lambda self: None, r"set self\.schedule to None: expected a function"),
    "a schedule of nothing": (
        "initialize_scheduler",
        lambda self: setattr(self, "schedule", lambda step: None),
        r"set self\.schedule to a function that returns None",
    ),
    "no answer": ("train_step", lambda self, batch: None, r"returned None: expected True if the optimizer has stepped"),
    "no count": ("train_step", lambda self, batch: True, r"returned True and changed self\.progress\.step from 0 to 0"),
}


@pytest.mark.parametrize(("name", "override", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_wrong_override_is_named(make_config, tiny_model, name, override, sentence):
    kind = type("Mistaken", (tiny_model,), {name: override})
    with pytest.raises(MethodError, match=rf"^Mistaken\.{name}\(\) {sentence}"):
        kind(make_config()).fit()

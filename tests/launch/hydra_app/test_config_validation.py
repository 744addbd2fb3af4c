"""Validation of the configuration: every key gets a typo, a value of a wrong type and an impossible value."""

import dataclasses
import importlib.util
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from ssl_core import BaseModel, ConfigError
from ssl_core.config import GROUPS
from ssl_core.config.validation import build_groups, check_groups, validate
from ssl_core.methods import METHODS, method_class
from ssl_data.config import DataConfig
from ssl_launch.hydra_app.build_config import build_config

ALL = {"data": DataConfig, **GROUPS}


@dataclass
class Toy:
    number: float = field(default=0.1, metadata={"low": 0.0})
    count: int = field(default=1, metadata={"low": 1, "high": 10})
    share: float = field(default=0.5, metadata={"above": 0.0, "below": 1.0})
    flag: bool = False
    word: str = field(default="a", metadata={"choices": ("alpha", "beta")})
    either: int | float = -1
    maybe: float | None = None
    sizes: list[int] = field(default_factory=list, metadata={"low": 0})
    views: str | list = "simclr"
    options: dict = field(default_factory=dict)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", 2), ("number", 2.5), ("count", 3), ("flag", True), ("word", "beta"), ("either", -1), ("either", 0.5),
        ("maybe", None), ("maybe", 1), ("sizes", [1, 2]), ("views", "x"), ("views", [{"flip": 1}]), ("options", {"width": 3}),
    ],
)  # fmt: skip
def test_valid_value_passes(key, value):
    assert validate("toy", Toy(**{key: value})) == []


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", "fast", "a number, at least 0"), ("number", "1e-3", "a number, at least 0"),
        ("number", True, "a number, at least 0"), ("number", None, "a number, at least 0"),
        ("number", -1, "a number, at least 0"), ("number", float("inf"), "a number, at least 0"),
        ("count", 2.5, "an integer, at least 1 and at most 10"),
        ("count", 11, "an integer, at least 1 and at most 10"), ("share", 1.0, "a number, above 0 and below 1"),
        ("flag", 1, "true or false"), ("word", "betta", ["alpha", "beta"]), ("word", 3, "a string, one of 'alpha', 'beta'"),
        ("sizes", [1, "b"], "a list of integers, at least 0"), ("sizes", [1, -1], "a list of integers, at least 0"),
        ("sizes", 3, "a list of integers, at least 0"), ("maybe", "x", "a number or null"),
        ("options", [1], "a mapping {key: value}"),
    ],
)  # fmt: skip
def test_invalid_value_names_key_value_and_expected(key, value, expected):
    [error] = validate("toy", Toy(**{key: value}))
    assert (error.key, error.value, error.expected) == (f"toy.{key}", value, expected)


def test_integers_become_floats_where_a_float_is_expected():
    toy = Toy(number=2, either=3)
    check_groups({"toy": toy})
    assert isinstance(toy.number, float)
    assert isinstance(toy.either, int)


def error_of(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return caught.value


def test_groups_without_keys_and_keys_without_group():
    assert build_groups({"toy": Toy}, {"toy": None}) == {"toy": Toy()}
    error = error_of(build_groups, {"toy": Toy}, {"toy": 3})
    assert (error.key, error.value) == ("toy", 3)
    assert error_of(build_groups, {"toy": Toy}, {"count": 3}).suggestion == "toy.count"


class Mine(BaseModel):
    pass


@pytest.mark.parametrize(
    ("overrides", "method", "unknown"),
    [
        ([], None, "model.temperature"),  # a file of vicreg with a key of simclr
        (["model.name=vicreg"], None, None),
        (["model.name=vicreg", "model.temperature=1"], None, "model.temperature"),
        ([], Mine, None),
        (["++model.temperature=1"], Mine, "model.temperature"),
    ],
)
def test_keys_of_another_method_are_dropped_only_with_its_file(overrides, method, unknown):
    composed = {"model": {"name": "vicreg", "backbone": "resnet9", "temperature": 0.3, "projector": [8]}}
    if unknown:
        assert error_of(build_config, composed, overrides, method).key == unknown
    else:
        config = build_config(composed, overrides, method)
        assert config.model.name == ("Mine" if method else "vicreg")
        assert not hasattr(config.model, "temperature")


def test_several_errors_are_counted():
    error = error_of(build_config, {"optim": {"lr": -1}, "log": {"level": 1}}, [])
    assert error.key == "optim.lr"
    assert str(error).endswith("(and 1 more: log.level)")


def test_config_cannot_name_a_function():
    for group in (
        {"model": {"_target_": "os.system"}},
        {"optim": {"_target_": "os.system"}},
        {"_target_": "os.system"},
    ):
        assert error_of(build_config, group, []).key.endswith("_target_")


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("optim.optimizer", "adamw", "AdamW"),
        ("optim.optimizer", "sgd", "SGD"),
        ("hardware.device", "gpu", "cuda"),
        ("hardware.device", "CPU", "cpu"),
        ("hardware.precision", "bfloat16", "bf16"),
        ("model.name", "SimCLR", "simclr"),
        ("model.name", "VICReg", "vicreg"),
        ("model.backbone", "ResNet18", "resnet18"),
        ("data.dataset", "cifar10", "CIFAR10"),
        ("data.views", "SimCLR", "simclr"),
        ("data.dtype", "bf16", "bfloat16"),
        ("log.label_free", ["RankMe"], "rankme"),
    ],
)
def test_suggestion_ignores_case_and_knows_aliases(key, value, meant):
    group, name = key.split(".")
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):  # those of data are plain ValueErrors
        build_config({group: {name: value}}, [])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.LR", "optim.lr"),
        ("optim.learning_rate", "optim.lr"),
        ("optim.seed", "hardware.seed"),
        ("modle.temperature", "model.temperature"),
        ("model.ema", None),  # not model.name, which has only the group in common
    ],
)
def test_unknown_key_suggests_the_nearest(key, meant):
    group, name = key.split(".")
    error = error_of(build_config, {group: {name: 1}}, [])
    assert (error.key, error.reason, error.suggestion) == (key, "unknown key", meant)


@pytest.mark.parametrize(
    ("word", "known"),
    [("cifar10", ["digits", "CIFAR10"]), ("--OUT", ["--out", "--help"]), ("zzz", ["abc"]), ("flp", ["flip", "crop"])],
)
def test_packages_suggest_the_same_name(word, known):
    from ssl_core.config import suggestion
    from ssl_data import suggestion as of_data
    from ssl_eval import suggestion as of_eval

    assert (
        suggestion.did_you_mean(word, known) == of_data.did_you_mean(word, known) == of_eval.did_you_mean(word, known)
    )


@pytest.fixture(scope="module")
def counts():
    """The script that counts for ``RESULTS.rst``; data that is opened ends it."""
    path = Path(__file__).parents[3] / "runs" / "bench" / "config_validation.py"
    spec = importlib.util.spec_from_file_location("config_validation", path)
    module = sys.modules["config_validation"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataConfig, "open", module.opened)
        yield module


def test_typo_of_every_key_raises_and_the_suggestion_is_right(counts):
    tried, found, right = counts.count_typos(sample=1)
    assert tried.total() > 600
    assert found == tried
    assert right.total() >= 0.95 * tried.total(), right


@pytest.mark.parametrize("values", ["wrong_types", "impossible"])
def test_every_key_raises_for_wrong_types_and_values(counts, values):
    tried, named, others = counts.count_values(getattr(counts, values))
    assert named == tried > 150, others


def test_python_configuration_raises_like_a_command_line(counts):
    compared = 0
    for key in counts.every_key():
        if key.group in counts.EVALUATION_GROUPS or str(key) == "model.name":  # from Python a method is a class
            continue
        config = build_config({"model": counts.model_group(key.method)}, [])
        for value in (*islice(counts.wrong_types(key), 1), *islice(counts.impossible(key), 2)):
            setattr(getattr(config, key.group), key.name, value)
            with pytest.raises(ValueError, match=key.name) as caught:
                config.check()
            assert str(caught.value) == counts.error_line(key.method, key.group, {key.name: value})
            compared += 1
    assert compared > 200


def test_only_names_and_paths_accept_any_value(counts):
    assert counts.without_any_impossible_value() == counts.ANY_WORD


def test_valid_values_are_accepted(counts):
    tried, named, others = counts.count_values(counts.valid)
    assert named == 0, [each for each in others if not each.endswith(": accepted")]
    assert len(others) == tried > 150
    assert all(each.endswith(": accepted") for each in others), others


def test_defaults_are_valid():
    model_groups = {name: method_class(name).config_class for name in METHODS}
    for group, kind in {**ALL, **model_groups}.items():
        assert validate(group, kind(**dataclasses.asdict(kind()))) == []


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "convnext_atto", "resnet18.tv_in1k", "vit_small"])
def test_any_name_of_timm_is_a_backbone(name):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    assert build_config({"model": {"backbone": name}}, []).model.backbone == name

"""Values onto dataclasses: every key of the real configuration gets its typo, its wrong type, its impossible value."""

import dataclasses
import importlib.util
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest

from ssl_core.config import GROUPS
from ssl_core.config.validation import build_dataclass, validation_errors
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
    sizes: list[int] = field(default_factory=list)
    views: str | list = "simclr"
    options: dict = field(default_factory=dict)


def complaint(key, value):
    found = validation_errors({"toy": {key: value}}, {"toy": Toy})
    assert len(found) <= 1
    return found[0][1] if found else None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", 2), ("number", 2.5), ("count", 3), ("flag", True), ("word", "beta"), ("either", -1), ("either", 0.5),
        ("maybe", None), ("maybe", 1), ("sizes", [1, 2]), ("views", "x"), ("views", [{"flip": 1}]), ("options", {"width": 3}),
    ],
)  # fmt: skip
def test_what_is_allowed_passes(key, value):
    assert complaint(key, value) is None


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("number", "fast", "toy.number='fast': expected a number, at least 0"),
        ("number", "1e-3", "toy.number='1e-3': expected a number, at least 0 (YAML reads 1e-3 as a word: write 0.001)"),
        ("number", True, "toy.number=true: expected a number, at least 0"),
        ("number", None, "toy.number=None: expected a number, at least 0"),
        ("number", -1, "toy.number=-1: expected a number, at least 0"),
        ("number", float("nan"), "toy.number=nan: expected a number, at least 0"),
        ("number", float("inf"), "toy.number=inf: expected a number, at least 0"),
        ("count", 2.5, "toy.count=2.5: expected a whole number, at least 1 and at most 10"),
        ("count", 11, "toy.count=11: expected a whole number, at least 1 and at most 10"),
        ("share", 1.0, "toy.share=1.0: expected a number, above 0 and below 1"),
        ("flag", 1, "toy.flag=1: expected true or false"),
        ("word", "betta", "toy.word='betta': expected one of 'alpha', 'beta'; did you mean 'beta'?"),
        ("word", 3, "toy.word=3: expected a word, one of 'alpha', 'beta'"),
        ("sizes", [1, "b"], "toy.sizes=[1, 'b']: expected a list of whole numbers"),
        ("sizes", 3, "toy.sizes=3: expected a list of whole numbers"),
        ("maybe", "x", "toy.maybe='x': expected a number or null"),
        ("options", [1], "toy.options=[1]: expected a mapping {key: value}"),
    ],
)
def test_what_is_not_names_key_value_and_what_is_allowed(key, value, sentence):
    assert complaint(key, value) == sentence


def test_whole_numbers_become_floats_where_a_float_is_meant():
    toy = build_dataclass(Toy, {"number": 2, "either": 3})
    assert isinstance(toy.number, float)
    assert isinstance(toy.either, int)


def test_groups_that_are_none_and_keys_outside_of_groups():
    assert validation_errors({"toy": None}, {"toy": Toy}) == []
    assert validation_errors({"toy": 3}, {"toy": Toy})[0][1].startswith("toy=3: toy is a group of keys")
    assert validation_errors({"count": 3}, {"toy": Toy})[0][1] == "count: unknown key; did you mean 'toy.count'?"


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
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        build_config({group: {name: value}}, [])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.LR", "did you mean 'optim.lr'"),
        ("optim.learning_rate", "did you mean 'optim.lr'"),
        ("optim.seed", "did you mean 'hardware.seed'"),
        ("model.ema", "expected one of 'model.backbone', "),  # not model.name, which has only the group in common
    ],
)
def test_unknown_key_suggests_a_key_of_its_group(key, meant):
    group, name = key.split(".")
    with pytest.raises(ValueError, match=f"{key}: unknown key; {meant}"):
        build_config({group: {name: 1}}, [])


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
    path = Path(__file__).parents[3] / "runs" / "bench" / "strict.py"
    spec = importlib.util.spec_from_file_location("strict", path)
    module = sys.modules["strict"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataConfig, "open", module.opened)
        yield module


def test_a_typo_of_each_kind_in_every_key_is_refused_and_nearly_always_understood(counts):
    tried, refused, right = counts.count_typos(sample=1)
    assert tried.total() > 600
    assert refused == tried
    assert right.total() >= 0.95 * tried.total(), right


@pytest.mark.parametrize("values", ["wrong_types", "impossible"])
def test_every_key_refuses_values_of_other_types_and_values_that_cannot_be(counts, values):
    tried, named, others = counts.count_values(getattr(counts, values))
    assert named == tried > 150, others


def test_python_configuration_is_refused_like_a_command_line(counts):
    compared = 0
    for key in counts.every_key():
        if key.group in counts.OF_AN_EVALUATION or str(key) == "model.name":  # from Python a method is a class
            continue
        config = build_config({"model": {"name": key.method, "backbone": "resnet9"}}, [])
        for value in (*islice(counts.wrong_types(key), 1), *islice(counts.impossible(key), 2)):
            setattr(getattr(config, key.group), key.name, value)
            with pytest.raises(ValueError, match=key.name) as caught:
                config.check()
            assert str(caught.value) == counts.refusal(key.method, key.group, {key.name: value})
            compared += 1
    assert compared > 200


def test_only_names_and_places_have_no_impossible_value(counts):
    assert counts.without_any_impossible_value() == counts.ANY_WORD


def test_nothing_is_refused_that_is_valid(counts):
    tried, named, others = counts.count_values(counts.valid)
    assert named == 0, others
    assert len(others) == tried > 150
    assert all(each.endswith(": accepted") for each in others), others


def test_the_defaults_are_allowed():
    for group, kind in ALL.items():
        assert validation_errors({group: dataclasses.asdict(kind())}, ALL) == []


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "convnext_atto", "resnet18.tv_in1k", "vit_small"])
def test_any_name_of_timm_is_a_backbone_on_the_command_line_too(name):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    assert build_config({"model": {"backbone": name}}, []).model.backbone == name

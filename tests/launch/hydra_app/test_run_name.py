"""Names of run folders: short, readable, the same for the same run and different for different runs."""

import itertools
import re

from ssl_launch.hydra_app.build_config import every_key
from ssl_launch.hydra_app.run_name import MAX_LENGTH, name_of


def test_run_name_shows_recipe_and_overrides():
    assert name_of(["simclr_cifar10_sgd"], ["++optim.lr=2"]) == "simclr_cifar10_sgd-lr=2"
    assert name_of(["MyIdea", "simclr_digits"], []) == "MyIdea-simclr_digits"
    overrides = ["hardware.seed=1", "data.size=32", "optim.epochs=4", "model.temperature=0.5"]
    assert name_of(["c"], overrides) == "c-temperature=0.5,epochs=4,size=32,seed=1"


def test_run_name_ignores_order_prefix_and_logging():
    """Oracle: the name of the plain command line, in every order and with every prefix."""
    plain = ["optim.lr=2", "data.size=3", "data.views=[a,b]"]
    name = name_of(["c"], plain)
    for order in itertools.permutations(plain):
        for prefix in ("", "+", "++"):
            assert name_of(["c"], [*(prefix + each for each in order), "log.wandb=offline", "++log.folder=/x"]) == name
    assert name_of(["c"], ["optim.lr=1", "optim.lr=2"]) == name_of(["c"], ["optim.lr=2"])  # the last value counts
    assert name_of(["c"], ["data.root=/node1/cifar10"]) == name_of(["c"], ["data.root=/node2/cifar10/"])


def test_different_runs_never_share_a_name():
    long = [f"++model.backbone_options.option{number}=1" for number in range(20)]
    overrides = [
        [], ["hardware.seed=1"], ["a=[1,2]"], ["a=[1,3]"], ["a=x y"], ["a=x_y"], ["a='x_y'"], ["a=/p/x"], ["a=/q/x"], ["a=x"],
        ["optim.lr=1"], ["data.lr=1"], ["model.lr=1"], ["~optim.lr"], ["optim.lr="], ["model.foo=1"], ["data.foo=1"],
        long, [*long, "hardware.seed=1"], [*long, "hardware.seed=2"], ["a=" + 90 * "x"], ["a=" + 91 * "x"],
    ]  # fmt: skip
    names = [name_of([part], each) for part in ("c", 70 * "c", 70 * "c" + "d", "é", "è") for each in overrides]
    assert len(set(names)) == len(names)
    assert all(len(name) <= MAX_LENGTH and re.fullmatch(r"[\w=.,~-]+", name, re.ASCII) for name in names)


def test_keys_of_ours_are_unique_without_their_group():
    keys = [key for key in every_key() if not key.startswith("log.")]
    names = [name_of([], [f"{key}=1"]) for key in keys]
    assert sorted(names) == sorted(name_of([], [f"{key.partition('.')[2]}=1"]) for key in keys)
    assert len(set(names)) == len(keys)


def test_long_names_keep_the_short_settings():
    overrides = ["optim.lr=0.1", "model.backbone_options.width=64", "optim.weight_decay=0.0001", "hardware.seed=3"]
    name = name_of(["simclr_cifar10_sgd"], overrides)
    assert re.fullmatch(r"simclr_cifar10_sgd-lr=0\.1,seed=3-[0-9a-f]{8}", name)

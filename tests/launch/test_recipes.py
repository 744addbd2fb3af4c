"""The recipes of ``runs/configs``: each is valid, has the views that its method takes, and says where its numbers are from."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import ssl_launch
from ssl_core.methods import METHODS, method_class
from ssl_core.methods.joint_embedding import JointEmbedding
from ssl_core.methods.masked_image import MaskedImageModel
from ssl_data import views
from ssl_launch.hydra_app.build_config import build_config

FOLDER = Path(ssl_launch.__file__).parent / "configs"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "evaluation")
NOT_TRAINED = {"baseline"}


@pytest.fixture(scope="module")
def configs():
    """Every recipe as the command line builds it: ``build_config`` raises for an invalid one."""
    with initialize_config_dir(str(FOLDER), version_base=None):
        composed = {name: OmegaConf.to_container(compose(name), resolve=True) for name in RECIPES}
    return {name: build_config(groups, []) for name, groups in composed.items()}


def number_of_views(data) -> int:
    if isinstance(data.views, str):
        return len(views(data.views))
    return sum(
        len(views(each["preset"], num_local=each.get("num_local"))) if "preset" in each else 1 for each in data.views
    )


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_the_views_of_its_method(configs, name):
    config = configs[name]
    kind, count = method_class(config.model.name), number_of_views(config.data)
    if issubclass(kind, MaskedImageModel):
        assert count == 1 or getattr(kind, "num_views", 1) != 1
    elif issubclass(kind, JointEmbedding):
        assert count == kind.num_views if kind.num_views else count >= 2


@pytest.mark.parametrize("name", RECIPES)
def test_header_names_paper_and_command(name):
    header = [line for line in (FOLDER / f"{name}.yaml").read_text().splitlines() if line.startswith("#")]
    assert header[-1].startswith("#   python3 main.py")
    assert name in header[-1] or name == "simclr_digits"  # the default: main.py without a name
    assert len(header[0]) <= 120
    if name.endswith(("_cifar10", "_imagenet", "_imagenet100")) and not name.startswith("slurm"):
        text = " ".join(header)
        assert re.search(r"\d{4}, https://(arxiv|doi)\.org/\S+\)", text), "paper, year, URL"
        assert "Settings: " in text
        assert "Expected, in percent: " in text or "accuracy" in text
        assert "Cost: " in text


def test_every_method_has_a_cifar10_recipe(configs):
    trained = {config.model.name for name, config in configs.items() if "_cifar10" in name}
    assert METHODS.keys() - trained == NOT_TRAINED

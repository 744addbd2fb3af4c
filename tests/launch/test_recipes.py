"""The recipes of ``runs/configs``: each is valid, has the views that its method takes, and says where its numbers are from."""

import inspect
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import ssl_core
import ssl_launch
from ssl_core.methods import METHODS, method_class
from ssl_launch.cli.catalog import catalog
from ssl_launch.hydra_app.build_config import build_config

METHOD_PAGES = Path(ssl_core.__file__).parents[2] / "docs" / "methods.rst"
FOLDER = Path(ssl_launch.__file__).parent / "configs"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "evaluation")
NOT_TRAINED = {"baseline"}


@pytest.fixture(scope="module")
def configs():
    """Every recipe as the command line builds it: ``build_config`` raises for an invalid one."""
    with initialize_config_dir(str(FOLDER), version_base=None):
        composed = {name: OmegaConf.to_container(compose(name), resolve=True) for name in RECIPES}
    return {name: build_config(groups, []) for name, groups in composed.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_method_fits_its_recipe(configs, name):
    """Views, backbone, sizes and queue."""
    config = configs[name]
    method_class(config.model.name).check_config(config)


@pytest.mark.parametrize("name", RECIPES)
def test_header_names_paper_and_command(name):
    header = [line for line in (FOLDER / f"{name}.yaml").read_text().splitlines() if line.startswith("#")]
    assert header[-1].startswith("#   python3 main.py")
    assert name in header[-1] or name == "simclr_affine_digits"  # the default: main.py without a name
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


SECTIONS = dict(
    re.findall(
        r"^[^\n]+ \(``(\w+)``\)\n-+\n(.*?)(?=^[^\n]+\n-+\n|\Z)", METHOD_PAGES.read_text(), re.MULTILINE | re.DOTALL
    )
)


@pytest.mark.parametrize("name", METHODS)
def test_documentation_has_a_section_of_the_method(configs, name):
    """With the paper, a formula, and commands that train this method."""
    section = SECTIONS[name]
    papers = re.findall(r"https://\S+?(?=[,;)])", inspect.getdoc(inspect.getmodule(method_class(name))))
    assert all(paper in section for paper in papers)
    explanation = re.sub(r"\(.*?\)", "", section.partition(".. code-block")[0], flags=re.DOTALL)
    assert len(explanation.split()) >= 8, "a citation and a formula explain nothing"
    assert ".. code-block:: text\n\n   " in section
    recipes = re.findall(r"^   stable-ssl train (\w+)$", section, re.MULTILINE)
    assert all(configs[recipe].model.name == name for recipe in recipes)
    assert recipes or not any(config.model.name == name for config in configs.values())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("simsiam", "SimSiam (Chen & He 2021): "),
        ("byol", "BYOL (Grill et al. 2020): "),
        ("supervised", "A backbone and a linear classifier."),
    ],
)
def test_list_shows_paper_and_year(name, line):
    assert catalog("methods")[name].startswith(line)

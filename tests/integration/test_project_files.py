"""Files for contributors, citation and CI. Oracles: the JSON schemas in check-jsonschema, and the trove classifiers of PyPI."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trove_classifiers
import yaml

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]
FORMS = ".github/ISSUE_TEMPLATE"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [".github/workflows/ci.yml"]),
        ("github-issue-forms", [f"{FORMS}/bug.yml", f"{FORMS}/feature.yml"]),
        ("github-issue-config", [f"{FORMS}/config.yml"]),
        ("citation-file-format", ["CITATION.cff"]),
    ],
)
def test_file_follows_its_schema(schema, files):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_workflow_runs_the_check_of_the_repository():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert job["steps"][-1]["run"] == ".ci/run"
    assert job["container"] == "debian:12"
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_hooks_call_the_scripts_of_the_environment():
    scripts = tomllib.loads(PROJECTS[0].read_text())["tool"]["hatch"]["envs"]["default"]["scripts"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == ["hatch run lint", "hatch run types"]
    assert {"lint", "types"} <= set(scripts)


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_metadata_of_the_package(path):
    project = tomllib.loads(path.read_text())["project"]
    assert project["authors"] == [{"name": "stable-ssl contributors"}]
    assert "self-supervised learning" in project["keywords"]
    assert set(project["classifiers"]) <= trove_classifiers.classifiers
    assert (
        "Programming Language :: Python :: " + project["requires-python"].removeprefix(">=") in project["classifiers"]
    )


def test_citation_has_the_version_of_the_bundle():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tomllib.loads(PROJECTS[0].read_text())["project"]["version"]


@pytest.mark.parametrize("name", ["CONTRIBUTING.rst", "SECURITY.rst", "CODE_OF_CONDUCT.rst"])
def test_files_that_a_document_names_exist(name):
    text = (ROOT / name).read_text()
    paths = re.findall(r"``((?:packages|tests|runs|\.ci)/[^` ]+)``", text) + re.findall(r"<(\w+\.rst)>`_", text)
    missing = [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    missing += [path for path in paths if "NAME" in path and not (ROOT / path).parent.is_dir()]
    assert not missing


def test_container_installs_the_checkout():
    text = (ROOT / "Containerfile").read_text()
    ignored = (ROOT / ".containerignore").read_text().split()
    assert "COPY . /opt/stable-ssl" in text
    assert "pip install --no-cache-dir /opt/stable-ssl" in text
    assert not {"packages", "README.rst", "LICENSE", "hatch_build.py"} & set(ignored)
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"][-1] == {"pip": ["-e ."]}


def test_container_and_environment_have_a_supported_python():
    supported = tomllib.loads(PROJECTS[0].read_text())["project"]["classifiers"]
    image = re.search(r"^FROM \S+/python:([\d.]+)-", (ROOT / "Containerfile").read_text(), re.MULTILINE)[1]
    packages = dict(
        each.split("=") for each in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][:1]
    )
    for version in (image, packages["python"]):
        assert f"Programming Language :: Python :: {version}" in supported

"""What is published: built as ``hatch build -a`` builds it, and installed where nothing of ours is."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.rst").read_text()
MEMBERS = sorted(path.name for path in (ROOT / "packages").iterdir() if path.is_dir())
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a copy of the sources: a build leaves files behind."""
    folder = tmp_path_factory.mktemp("build") / "checkout"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "outputs", "__pycache__", ".*_cache", "dist", "*.egg-info", "tests"
    )
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheels(checkout):
    """Return name -> wheel."""
    out = checkout.parent / "wheels"
    environment = {**os.environ, "SSL_RELEASE": "1"}
    for folder in (checkout, *(checkout / "packages" / name for name in MEMBERS)):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return {path.name.split("-")[0].replace("_", "-"): path for path in out.glob("*.whl")}


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        return archive.read(name).decode()


def test_each_member_and_the_bundle_have_one_wheel(wheels):
    assert sorted(wheels) == sorted([*MEMBERS, "stable-ssl"])


def test_no_wheel_names_a_path_of_the_machine_that_built_it(wheels):
    for wheel in wheels.values():
        required = [line for line in metadata(wheel).splitlines() if line.startswith("Requires-Dist")]
        assert required
        assert not any("file:" in line or "@" in line for line in required)


def test_the_bundle_is_ranges_and_nothing_else(wheels):
    required = [line for line in metadata(wheels["stable-ssl"]).splitlines() if line.startswith("Requires-Dist")]
    for name in MEMBERS:
        assert any(
            line.startswith(f"Requires-Dist: {name}") and "<2" in line and ">=1.0" in line for line in required
        ), name
    assert all(".dist-info/" in name for name in contents(wheels["stable-ssl"]))


def test_licences_types_and_data_are_inside(wheels):
    for name in MEMBERS:
        inside = contents(wheels[name])
        assert any(path.endswith("LICENSE") for path in inside), name
        assert f"{name.replace('-', '_')}/py.typed" in inside
    assert {"ssl_data/digits.npz", "ssl_data/affine_digits.npz"} <= set(contents(wheels["ssl-data"]))
    recipes = {f"ssl_launch/configs/{path.name}" for path in (ROOT / "runs" / "configs").glob("*.yaml")}
    assert "ssl_launch/configs/simclr_cifar10_sgd.yaml" in recipes
    assert recipes <= set(contents(wheels["ssl-launch"]))
    assert "hydra_plugins/ssl_launch_plugin/__init__.py" in contents(wheels["ssl-launch"])
    assert "hydra_plugins/__init__.py" not in contents(wheels["ssl-launch"])  # a namespace that plugins share


def test_wheel_of_ssl_losses_needs_only_torch(wheels, tmp_path):
    """Torch is lent by this environment, by links to its folders alone: nothing else can be imported."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheels["ssl-losses"]) as archive:
        archive.extractall(site)
    import torch

    lent = Path(torch.__file__).parents[1]
    needed = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(*m.requires('torch'), sep='\\n')"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "numpy" not in {line.split(";")[0].strip() for line in needed.splitlines() if "extra" not in line}
    lendable = (
        "torch torchgen functorch typing_extensions.py sympy mpmath networkx jinja2 markupsafe fsspec filelock triton"
    )
    for name in [*lendable.split(), "nvidia", "cuda"]:
        if (lent / name).exists():
            (site / name).symlink_to(lent / name)
    code = (
        "import warnings; warnings.simplefilter('ignore'); import torch\n"
        "warnings.simplefilter('error'); import sys, ssl_losses\n"
        "z = torch.randn(8, 4); print(ssl_losses.nt_xent(z, z).item() >= 0)\n"
        "assert not {'numpy', 'ssl_core', 'ssl_eval', 'ssl_data', 'torchvision'} & set(sys.modules)"
    )
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "True"


def resolved(*targets):
    """Return what uv would install from folders or files without any index. What others publish is installed here."""
    environment = {key: value for key, value in os.environ.items() if key != "SSL_RELEASE"}
    resolve = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    command = [*resolve, "--python", sys.executable, *map(str, targets)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_install_from_the_checkout_needs_no_index(checkout):
    """Oracle: uv's resolver. Ours must come from the checkout."""
    found = resolved(checkout)
    for name in MEMBERS:
        assert f"+ {name} @ {(checkout / 'packages' / name).as_uri()}" in found, found


def test_each_member_is_required_without_its_extra_too(checkout):
    """pip 23.2 looks up ``ssl-eval`` on the index if only ``ssl-eval[report]`` has a path. Oracle: hatchling's metadata."""
    environment = {key: value for key, value in os.environ.items() if key != "SSL_RELEASE"}
    command = [sys.executable, "-m", "hatchling", "metadata", "dependencies"]
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    for name in MEMBERS:
        assert f"{name} @ {(checkout / 'packages' / name).as_uri()}" in json.loads(result.stdout)


def test_ssl_core_is_installed_with_its_siblings_in_one_command(checkout):
    """Oracle: uv's resolver. The command is that of the README."""
    names = re.search(r"(?<=``pip install )(\./packages/\S+\s+){2}\./packages/ssl-core(?=``)", README)[0].split()
    found = resolved(*(checkout / name for name in names))
    for name in names:
        assert f"+ {Path(name).name} @ {(checkout / name).as_uri()}" in found, found


def test_wheels_are_installed_as_files(wheels):
    """Oracle: uv's resolver."""
    assert "pip install dist/*.whl" in README
    found = resolved(*wheels.values())
    for name, wheel in wheels.items():
        assert f"+ {name} @ {wheel.as_uri()}" in found or f"+ {name}==1.0.0 (from {wheel.as_uri()})" in found, found

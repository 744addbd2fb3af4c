"""The house, read from its source: imports go left only, what is imported is declared, each room has its papers."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2] / "packages"
NAMES = ("ssl-losses", "ssl-data", "ssl-eval", "ssl-core", "ssl-launch")
OURS = {name.replace("-", "_") for name in NAMES}
MAY_IMPORT = {
    "ssl-losses": set(),
    "ssl-data": set(),
    "ssl-eval": set(),
    "ssl-core": {"ssl_losses", "ssl_eval"},
    "ssl-launch": {"ssl_losses", "ssl_core", "ssl_data", "ssl_eval"},
}
# Imported only where they are used, inside a function
HEAVY = {"wandb", "ffcv", "timm", "matplotlib", "sklearn", "scipy", "pandas", "umap"}
DISTRIBUTION = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "hydra": "hydra-core",
}
DISTRIBUTION["hydra_plugins"] = "hydra-submitit-launcher"
# ssl-core's backbones load torchvision when one of its resnets is asked for; ssl-data brings it, and the error says so
BORROWED = {"ssl-core": {"torchvision"}}


def sources(name):
    return sorted((PACKAGES / name / "src").rglob("*.py"))


def imports(path):
    """Return ``(module, whether it is at the top)`` for every absolute import of a file."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            yield (node.module or "").partition(".")[0], id(node) in top


def project(name):
    return tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())["project"]


def requirement_names(requirements):
    return {re.split(r"[^A-Za-z0-9-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_every_member_is_known():
    assert {path.name for path in PACKAGES.iterdir() if path.is_dir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_left_only(name):
    own = name.replace("-", "_")
    for path in sources(name):
        for module, _ in imports(path):
            assert module not in OURS - MAY_IMPORT[name] - {own}, f"{path} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_imported_is_declared(name):
    declared = requirement_names(project(name)["dependencies"])
    extras = {
        each for group in project(name).get("optional-dependencies", {}).values() for each in requirement_names(group)
    }
    own = {name.replace("-", "_"), "hydra_plugins"} if name == "ssl-launch" else {name.replace("-", "_")}
    for path in sources(name):
        for module, top in imports(path):
            if module in sys.stdlib_module_names or module in own or module in BORROWED.get(name, ()):
                continue
            distribution = DISTRIBUTION.get(module, module.replace("_", "-")).lower()
            assert distribution in (declared if top else declared | extras), f"{path} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared_is_imported(name):
    found = {
        DISTRIBUTION.get(module, module.replace("_", "-")).lower()
        for path in sources(name)
        for module, _ in imports(path)
    }
    unused = requirement_names(project(name)["dependencies"]) - found
    # submitit is what hydra-submitit-launcher runs on: we set its floor; ssl-eval brings its command line along
    assert unused <= {"submitit", "ssl-eval"}, unused


@pytest.mark.parametrize("name", NAMES)
def test_heavy_packages_are_loaded_only_when_they_are_used(name):
    for path in sources(name):
        for module, top in imports(path):
            assert not (top and module in HEAVY), f"{path} imports {module} at its top"


@pytest.mark.parametrize("name", NAMES)
def test_each_room_has_its_papers(name):
    folder = PACKAGES / name
    for each in ("README.rst", "CHANGELOG.rst", "LICENSE", f"src/{name.replace('-', '_')}/py.typed"):
        assert (folder / each).exists(), each
    assert project(name)["version"] == importlib.metadata.version(name)
    for requirement in requirement_names(project(name)["dependencies"]):
        assert requirement.replace("-core", "").split("-")[0] in (folder / "README.rst").read_text().lower(), (
            requirement
        )


@pytest.mark.parametrize("name", NAMES)
def test_no_room_is_called_utils_or_ssl(name):
    for path in (PACKAGES / name / "src").rglob("*"):
        assert path.stem not in ("utils", "helpers", "misc", "ssl"), path


@pytest.mark.parametrize("name", NAMES)
def test_no_own_name_is_asked_of_an_index_below_version_1(name):
    """A stranger's ssl-eval 0.1 is on the public index: a floor of 1.0 fails closed."""
    for requirement in project(name)["dependencies"]:
        if requirement.split(">")[0] in NAMES:
            assert ">=1.0,<2" in requirement


@pytest.mark.parametrize("name", NAMES)
def test_nothing_reads_code_from_data(name):
    """Pickles, unsafe YAML and evaluated text could run anything: no package calls what reads them."""
    forbidden = {
        "eval",
        "exec",
        "pickle.load",
        "pickle.loads",
        "yaml.load",
        "yaml.unsafe_load",
        "os.system",
        "os.popen",
    }
    safe = {
        "torch.load": ("weights_only", True),
        "np.load": ("allow_pickle", False),
        "numpy.load": ("allow_pickle", False),
    }
    for path in sources(name):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                called = ast.unparse(call.func)
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert called not in forbidden, f"{path}:{call.lineno}: {called}"
                assert given.get("shell", "False") == "False", f"{path}:{call.lineno}: a shell"
                if called in safe:
                    option, value = safe[called]
                    assert given.get(option) == str(value), f"{path}:{call.lineno}: {called} without {option}={value}"


# The levels of ssl-core, from the lowest: a file imports only its own level and lower ones
LEVELS = [
    ["errors", "batch", "hardware", "schedules"],
    ["config"],
    ["run"],
    ["backbones", "modules", "distributed", "optimizers"],
    ["checkpoint", "loggers"],
    ["diagnostics", "evaluation"],
    ["training"],
    ["base_model"],
    ["methods"],
    [
        "evaluation.evaluate_checkpoint", "evaluation.feature_cache", "evaluation.fine_tuning", "evaluation.opened_model",
        "evaluation.other_data", "evaluation.pictures", "evaluation.layers",
        "diagnostics.replay", "diagnostics.step_inspection", "cli",
    ],
]  # fmt: skip
# Config.check() looks up model.backbone
EXCEPTIONS = {("config.schema", "backbones")}


def edges(package):
    """Return ``{module: {imported module}}`` within a package, by name below it. Imports in functions and for types count."""
    source = PACKAGES / package / "src" / package.replace("-", "_")
    prefix = source.name + "."
    paths = {".".join(path.relative_to(source).with_suffix("").parts): path for path in source.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items() if name != "__init__"}
    found = {name: set() for name in modules}
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(prefix.rstrip(".")):
                target = (node.module + ".").removeprefix(prefix).rstrip(".")
                for alias in node.names:
                    below = f"{target}.{alias.name}".lstrip(".")
                    found[name].add(below if below in modules else target)
            elif isinstance(node, ast.Import):
                found[name] |= {
                    alias.name.removeprefix(prefix) for alias in node.names if alias.name.startswith(prefix)
                }
    return {name: targets & modules.keys() - {name} for name, targets in found.items()}


def circle(graph):
    """Return the modules of an import circle, or an empty list."""
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for target in sorted(graph[name]):
                if found := visit(target, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def level(module):
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        for number, group in enumerate(LEVELS):
            if name in group:
                return number
    raise AssertionError(f"{module} is in no level: add it to LEVELS")


RUN_HALF = {
    "runs",
    "report",
    "figures",
    "watch",
    "cli",
    "output_stream",
}  # of ssl-eval: readers of run folders, torch-free


def test_features_are_evaluated_without_run_folders():
    graph = edges("ssl-eval")
    upward = [
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in sorted(targets)
        if name.partition(".")[0] not in RUN_HALF and target.partition(".")[0] in RUN_HALF
    ]
    assert upward == []
    assert {name.partition(".")[0] for name in graph} >= RUN_HALF


def test_core_imports_lower_levels_only():
    upward = [
        f"{name} imports {target}"
        for name, targets in edges("ssl-core").items()
        for target in sorted(targets)
        if level(target) > level(name) and (name, target) not in EXCEPTIONS
    ]
    assert upward == []


def test_core_has_no_import_circle():
    graph = edges("ssl-core")
    for name, target in EXCEPTIONS:
        graph[name] -= {target, *(each for each in graph[name] if each.startswith(f"{target}."))}
    assert circle(graph) == []


def test_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


LOCAL_IMPORTS = 6  # in functions of ssl-core, of packages that are not optional; lower it when one goes


def test_imports_are_at_the_top():
    declared = {"torch", "numpy", "PIL", "yaml", "safetensors", "tqdm", *OURS}
    local = [
        f"{path.name}: {module}"
        for path in sources("ssl-core")
        for module, top in imports(path)
        if not top and module in declared
    ]
    assert len(local) <= LOCAL_IMPORTS, local

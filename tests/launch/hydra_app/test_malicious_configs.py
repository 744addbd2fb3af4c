"""Configurations that name what to call: on a command line, in a YAML, in what a YAML leads to. None is called.

Each is refused by our list, with a line of ours, before Hydra comes to it: Hydra 1.3.8 knows some of these names itself,
earlier ones none. The mark that each would leave is looked for all the same.
"""

import functools
import logging
import logging.config
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

from ssl_core.errors import ConfigError
from ssl_launch import launch
from ssl_launch.hydra_app.defaults import register_defaults
from ssl_launch.hydra_app.error_messages import EMBEDDED as EMBEDDED_FOLDER

EMBEDDED = str(EMBEDDED_FOLDER)

OURS = (  # sentences of ours: anything else would be an error of Hydra, after it has called something
    "is not allowed", "a configuration cannot name", "set other variables in the shell", "a package would be imported",
    "expected a plain string", "not plain YAML", "expected one of ", "expected a name that ",
    "Unsupported interpolation type eval", "must be known before",
)  # fmt: skip
SUBMITIT = "hydra/launcher=submitit_slurm"
OPTUNA = "hydra/sweeper=optuna"


def shell(marker, target="os.system"):
    return f"{{_target_: {target}, command: 'touch {marker}'}}"


def on_the_command_line(marker):
    """Attacks as arguments, by what they are."""
    call, arguments = shell(marker), f"[touch, '{marker}']"
    return {
        "a callback": [f"+hydra.callbacks.x={call}"],
        "its alias": [f"+hydra.callbacks.x={shell(marker, 'posix.system')}"],
        "through a module of ours": [f"+hydra.callbacks.x={shell(marker, 'ssl_launch.hydra_app.app.os.system')}"],
        "through a module of Hydra's": [f"+hydra.callbacks.x={shell(marker, 'hydra.core.utils.os.system')}"],
        "through logging": [f"+hydra.callbacks.x={shell(marker, 'logging.os.system')}"],
        "subprocess": [f"+hydra.callbacks.x={{_target_: subprocess.run, args: {arguments}}}"],
        "getoutput": [f"+hydra.callbacks.x={{_target_: subprocess.getoutput, cmd: 'touch {marker}'}}"],
        "a partial, mapped": [
            "+hydra.callbacks.x={_target_: builtins.list, _args_: [{_target_: builtins.map, _args_: "
            f"[{{_target_: os.system, _partial_: true}}, ['touch {marker}']]}}]}}"
        ],
        "a method by its path": [
            "+hydra.callbacks.x={_target_: builtins.list, _args_: [{_target_: builtins.map, _args_: "
            f"[{{_target_: hydra.utils.get_method, path: os.system}}, ['touch {marker}']]}}]}}"
        ],
        "within a callback of Hydra's": [
            f"+hydra.callbacks.x={{_target_: hydra.experimental.callbacks.LogJobReturnCallback, x: {call}}}"
        ],
        "a search space of Optuna's": [OPTUNA, "hydra.sweeper.custom_search_space=os.system"],
        "a sampler of Optuna's": [OPTUNA, "hydra.sweeper.sampler._target_=os.system"],
        "within a sampler of Optuna's": [
            OPTUNA, "hydra/sweeper/sampler=cmaes", f"hydra.sweeper.sampler.independent_sampler={call}"
        ],
        "within the launcher": [f"+hydra.launcher.x={call}"],
        "deep within the launcher": [f"+hydra.launcher.x={{a: [[{{b: {call}}}]]}}"],
        "within the launcher of SLURM": [SUBMITIT, f"++hydra.launcher.additional_parameters.x={call}"],
        "within its setup": [SUBMITIT, f"++hydra.launcher.additional_parameters.setup=[{call}]"],
        "within the sweeper": [f"+hydra.sweeper.x={call}"],
        "from elsewhere": [f"+log.x={call}", "+hydra.launcher.x=${log.x}"],
        "a handler": [f"+hydra.hydra_logging.handlers.x={{class: subprocess.Popen, args: {arguments}}}"],
        "a handler that was one": [
            f"++hydra.job_logging.handlers.console={{class: subprocess.Popen, args: {arguments}}}"
        ],
        "a handler from elsewhere": [
            f"+hydra.job_logging.mine={{class: subprocess.Popen, args: {arguments}}}",
            "++hydra.job_logging.handlers.console=cfg://mine",
        ],
        "a stream that is imported": ["++hydra.job_logging.handlers.console.stream=ext://evil_on_import.stream"],
        "a package on the search path": ["hydra.searchpath=[pkg://evil_on_import]"],
    }  # fmt: skip


# errors before anything happens; what Hydra alone would do depends on the machine
NEVER_CALLED = {
    "the launcher itself": ["++hydra.launcher._target_=os.system"],
    "the launcher, by the name of ours": ["++hydra.launcher._target_=ssl_launch.commands.train.launch"],
    "the launcher, relative": ["++hydra.launcher._target_=..system"],
    "the sweeper itself": ["++hydra.sweeper._target_=os.system"],
    "the sweeper in place of the launcher": [
        "++hydra.launcher._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    ],
    "a target known later": ["++hydra.launcher._target_=${hydra:job.name}"],
    "a number": ["++hydra.launcher._target_=3"],
    "a file to write": [
        "++hydra.job_logging.handlers.console={class: logging.FileHandler, filename: .profile, mode: w}"
    ],
    "a command of git's": ["+hydra.job.env_set.GIT_CONFIG_COUNT=1"],
    "a library to load": ["+hydra.job.env_set.LD_PRELOAD=/tmp/evil.so"],
    "a program to find first": ["+hydra.job.env_set.PATH=/tmp/evil"],
    "the model": ["+model._target_=os.system"],
    "an option of the backbone": ["++model.backbone_options={_target_: os.system, command: ls}"],
    "a view": ["data.views=[{_target_: os.system, command: ls}]"],
    "a group of its own": ["+evil={_target_: os.system, command: ls}"],
    "the name of the method": ["model.name=os.system"],
    "the name of the backbone": ["model.backbone=os.system"],
    "the name of the optimizer": ["++optim.optimizer=os.system"],
    "the name of the data": ["data.dataset=os.system"],
    "a resolver that is none": ["++optim.lr=${eval:'1+1'}"],
    "every member of a sweep": ["-m", "+evil._target_=os.system,posix.system"],
}

SLURM = "defaults: [simclr_digits, {override hydra/launcher: submitit_slurm}, _self_]\n"
EXTRA = SLURM + "hydra: {launcher: {additional_parameters: {x: %s}}}\n"  # which submitit passes on
CALL = "{_target_: os.system, command: touch MARKER}"
FILES = {
    "a tag of Python's": "x: !!python/object/apply:os.system ['touch MARKER']\n",
    "a new object": "x: !!python/object/new:subprocess.Popen [['touch', 'MARKER']]\n",
    "a name of Python's": "x: !!python/name:os.system\n",
    "a module of Python's": "x: !!python/module:evil_on_import\n",
    "a callback": f"hydra: {{callbacks: {{x: {CALL}}}}}\n",
    "a callback that evaluates": 'hydra: {callbacks: {x: {_target_: builtins.eval, _args_: [\'open("MARKER", "a")\']}}}\n',
    "a word that leads to it": EXTRA % "{_target_: '${w}', command: touch MARKER}" + "w: os.system\n",
    "a word of the environment": EXTRA % "{_target_: '${oc.env:EVIL}', command: touch MARKER}",
    "a group that leads to it": EXTRA % "'${e}'" + f"e: {CALL}\n",
    "a resolver that makes it": EXTRA % "'${oc.create:{_target_:os.system,command:\"touch MARKER\"}}'",
    "a resolver that decodes it": EXTRA % "'${oc.decode:\"{_target_: os.system, command: touch}\"}'",
    "a list in a list": EXTRA % f"[[[{CALL}]]]",
    "a formatter": "hydra: {job_logging: {formatters: {x: {(): os.system, command: touch MARKER}}}}\n",
    "a filter": "hydra: {hydra_logging: {filters: {x: {(): posix.system, command: touch MARKER}}}}\n",
    "a class known later": "hydra: {job_logging: {handlers: {console: {class: '${oc.env:EVIL}'}}}}\n",
    "a search path": "hydra: {searchpath: ['pkg://evil_on_import']}\n",
    "a launcher of its own": "defaults: [simclr_digits, {override hydra/launcher: evil}, _self_]\n",
    "a logging of its own": "defaults: [simclr_digits, {override hydra/job_logging: evil}, _self_]\n",
}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Return a marker that no attack may make; a module that makes it when it is imported is within reach of all."""
    marker = tmp_path / "executed"
    package = tmp_path / "evil_on_import"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"import pathlib, sys\npathlib.Path({str(marker)!r}).touch()\nstream = sys.stdout\n"
    )
    configs = tmp_path / "configs"
    (configs / "hydra" / "launcher").mkdir(parents=True)
    (configs / "hydra" / "launcher" / "evil.yaml").write_text(
        f"# @package hydra.launcher\n_target_: os.system\ncommand: touch {marker}\n"
    )
    (configs / "hydra" / "job_logging").mkdir()
    (configs / "hydra" / "job_logging" / "evil.yaml").write_text(
        f"version: 1\nhandlers: {{x: {{class: subprocess.Popen, args: [touch, '{marker}']}}}}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("EVIL", "os.system")
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger().handlers)
    yield marker
    logging.getLogger().handlers[:] = before


def error_line(arguments, monkeypatch, capsys):
    """Run a whole command line in this process; return the line of its error."""
    monkeypatch.setattr(sys, "argv", [str(Path.cwd() / "main.py"), *arguments])
    with pytest.raises(SystemExit) as ended:
        launch()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert len(said.splitlines()) == 1, said
    assert any(words in said for words in OURS), said
    return said


def test_no_target_of_a_command_line_is_called(evil, monkeypatch, capsys):
    tried = on_the_command_line(evil)
    register_defaults("main", "")
    with initialize_config_dir(EMBEDDED, version_base="1.3"):
        for name, arguments in tried.items():
            with pytest.raises(ConfigError) as error:
                compose("simclr_digits", arguments, return_hydra_config=True)
            assert any(words in str(error.value) for words in OURS), name
            assert not evil.exists(), name
    whole = {"a callback": [], "within the launcher": [], "a handler": ["-m"], "within the sweeper": ["-m"]}
    for name, options in whole.items():
        error_line([*options, *tried[name]], monkeypatch, capsys)
        assert not evil.exists(), name
    for arguments in NEVER_CALLED.values():
        error_line(arguments, monkeypatch, capsys)
    count = len(tried) + len(whole) + len(NEVER_CALLED)
    print(f"{count} of {count} malicious command lines raise")


def test_no_target_of_a_file_is_called(evil, monkeypatch, capsys):
    for name, text in FILES.items():
        text = text.replace("MARKER", str(evil))
        text = text if "defaults" in text else f"defaults: [simclr_digits, _self_]\n{text}"
        (evil.parent / "configs" / "mine.yaml").write_text(text)
        error_line(["--config-name=mine"], monkeypatch, capsys)
        assert not evil.exists(), name
    print(f"{len(FILES)} of {len(FILES)} malicious files raise")


def test_hydra_alone_imports_a_package_of_the_search_path(evil, monkeypatch):
    """Or the check of it would prove nothing."""
    monkeypatch.setattr("hydra._internal.hydra.ConfigLoaderImpl", ConfigLoaderImpl)
    with initialize_config_dir(EMBEDDED, version_base="1.3"):
        compose("simclr_digits", ["hydra.searchpath=[pkg://evil_on_import]"])
    assert evil.exists()


def test_harmless_values_are_accepted(evil, monkeypatch):
    """Values from the environment and from other keys, a launcher's own words, a level of logging, threads."""
    ran = []
    resolved = functools.partial(OmegaConf.to_container, resolve=True)
    monkeypatch.setitem(launch.__globals__, "_run", lambda composed, *_: ran.append(resolved(composed)))
    monkeypatch.setenv("LR", "0.25")
    arguments = [
        "++optim.lr='${oc.decode:${oc.env:LR}}'", "++optim.weight_decay=${optim.lr}", "hydra.job_logging.root.level=ERROR",
        "+hydra.job.env_set.OMP_NUM_THREADS='1'",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(evil.parent / "main.py"), *arguments])
    launch()
    assert ran[0]["optim"]["lr"] == ran[0]["optim"]["weight_decay"] == 0.25

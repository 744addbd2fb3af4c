"""The page of published numbers: its commands are composed, and its recipes have the values of the published settings.

Oracle: the settings in the repositories of solo-learn (commit 9187ea39) and of MAE's authors, copied here by hand and not
from our recipes. solo-learn multiplies the learning rate by the total batch over 256, which is 1 in all of its files here.
"""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import ssl_launch
from code_blocks import code_blocks
from ssl_core.methods import method_class
from ssl_data import ViewSpec
from ssl_launch.commands.evaluate import asked_of
from ssl_launch.hydra_app.build_config import build_config

PAGE = Path(__file__).parents[2] / "docs" / "published_numbers.rst"
FOLDER = Path(ssl_launch.__file__).parent / "configs"
TEXT = PAGE.read_text()
COMMANDS = [
    line
    for block in code_blocks(TEXT, "text")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("stable-ssl")
]

LARS = {
    "optimizer": "LARS", "momentum": 0.9, "trust_coefficient": 0.02, "clip": True, "batch_size": 256, "warmup_epochs": 10,
}  # fmt: skip
CROP = ViewSpec(crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), interpolation="bicubic", flip=0.5)
STRONG = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grayscale": 0.2}
LIGHT = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "grayscale": 0.2}
VICREG = {"crop_scale": [0.2, 1.0], **LIGHT, "solarize": 0.1}
SYMMETRIC, ASYMMETRIC = [STRONG | {"blur": 0.5}] * 2, [LIGHT, LIGHT | {"solarize": 0.2}]
PHOTOGRAPHS = [LIGHT | {"blur": 1.0}, LIGHT | {"blur": 0.1, "solarize": 0.2}]  # asymmetric at 224 pixels
BYOL, DINO = {"projector": [4096, 256], "momentum": 0.99}, {"projector": [2048, 2048, 256], "num_prototypes": 4096}
TEMPERATURES = {
    "student_temperature": 0.1, "teacher_temperature": 0.07, "warmup_teacher_temperature": 0.04, "freeze_last_layer": 1,
}  # fmt: skip
# its 25 multiplies the sum of the variance terms of both views (solo/losses/vicreg.py), ours their mean
WEIGHTS = {"projector": [2048] * 3, "invariance": 25.0, "variance": 50.0, "covariance": 1.0}
ADAMW = {"optimizer": "AdamW", "betas": [0.9, 0.95], "weight_decay": 0.05}
MASKED = {"mask_ratio": 0.75, "decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16, "normalize_target": True}

# recipe -> pixels, model, optimization, views; the files are scripts/pretrain/{cifar,imagenet-100}/<method>.yaml
PUBLISHED = {
    "simclr_cifar10_lars": (
        32, {"projector": [2048, 256], "temperature": 0.2},
        LARS | {"lr": 0.4, "weight_decay": 1e-4, "epochs": 1000}, SYMMETRIC,
    ),
    "byol_cifar10": (
        32, BYOL | {"predictor": [4096], "final_momentum": 1.0},
        LARS | {"lr": 1.0, "weight_decay": 1e-5, "epochs": 1000}, ASYMMETRIC,
    ),
    "vicreg_cifar10": (32, WEIGHTS, LARS | {"lr": 0.3, "weight_decay": 1e-4, "epochs": 1000}, [VICREG] * 2),
    "dino_cifar10": (
        32, DINO | TEMPERATURES | {"momentum": 0.9995, "final_momentum": 1.0, "teacher_temperature_warmup_epochs": 0},
        LARS | {"lr": 0.3, "weight_decay": 1e-6, "epochs": 1000}, ASYMMETRIC,
    ),
    "mae_cifar10": (
        32, MASKED | {"backbone_options": {"patch_size": 4}},
        ADAMW | {"lr": 2e-4, "batch_size": 256, "epochs": 1000, "warmup_epochs": 10}, [{}],
    ),
    "simclr_imagenet100": (
        224, {"projector": [4096, 512], "temperature": 0.2},
        LARS | {"lr": 0.3, "weight_decay": 1e-4, "epochs": 400}, SYMMETRIC,
    ),
    "byol_imagenet100": (
        224, BYOL | {"predictor": [8192], "final_momentum": 1.0},
        LARS | {"lr": 0.5, "weight_decay": 1e-6, "epochs": 400}, PHOTOGRAPHS,
    ),
    "vicreg_imagenet100": (
        224, WEIGHTS, LARS | {"lr": 0.3, "weight_decay": 1e-4, "epochs": 400}, [VICREG | {"blur": 0.5}] * 2,
    ),
    "dino_imagenet100": (
        224, DINO | TEMPERATURES | {"momentum": 0.9995, "final_momentum": 1.0, "teacher_temperature_warmup_epochs": 50},
        LARS | {"lr": 0.3, "weight_decay": 1e-6, "epochs": 400}, PHOTOGRAPHS,
    ),
    # PRETRAIN.md: blr 1.5e-4 for every 256 images, 4096 of them; main_pretrain.py: crops of 20 to 100 %, bicubic
    "mae_imagenet": (
        224, MASKED | {"backbone": "vit_base"},
        ADAMW | {"lr": 1.5e-4 * 4096 / 256, "batch_size": 4096, "epochs": 800, "warmup_epochs": 40},
        [{"crop_scale": [0.2, 1.0]}],
    ),
}  # fmt: skip


def composed(name, overrides=()):
    """Compose as the commands do: a key may be in the file or not, a word without a key is the run."""
    words = [word if "=" in word else f"run={word}" for word in overrides]
    with initialize_config_dir(str(FOLDER), version_base=None):
        return compose(name, [f"++{word}" if "." in word.partition("=")[0] else word for word in words])


def config_of(name, overrides=()):
    config = build_config(OmegaConf.to_container(composed(name, overrides), resolve=True), list(overrides))
    method_class(config.model.name).check_config(config)
    return config


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_has_the_published_settings(name):
    pixels, model, optim, views = PUBLISHED[name]
    config = config_of(name)
    assert {key: getattr(config.model, key) for key in model} == model
    assert {key: getattr(config.optim, key) for key in optim} == optim
    expected = [CROP.changed({"size": pixels} | view) for view in views]
    assert config.data.specs(pixels, (0.0,), (1.0,)) == expected
    assert config.optim.schedule == "cosine"


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_composes(command):
    """Nothing is trained: the configuration is composed and validated, as by the command itself."""
    _, kind, name, *overrides = shlex.split(command)
    if kind == "train":
        assert config_of(name, overrides).optim.epochs >= 400
    else:
        assert kind == "eval"
        assert asked_of(composed("evaluation", [name, *overrides]))[0].run == name


def test_page_names_every_recipe_and_its_expected_number():
    trained = {shlex.split(command)[2] for command in COMMANDS if " train " in command}
    assert trained == set(PUBLISHED)
    for name in trained - {"mae_cifar10"}:
        header = " ".join((FOLDER / f"{name}.yaml").read_text().replace("\n# ", " ").split())
        [numbers] = re.findall(r"Expected, in percent: ([\d.]+(?: / [\d.]+)?)", header)
        row = TEXT[TEXT.index(f"``{name}``") :].split("``", 3)[2]
        assert all(number in row for number in numbers.split(" / ")), f"{name}: {numbers}"
    assert TEXT.count("not run") >= len(trained)

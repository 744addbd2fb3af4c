"""Draw the views of a configuration as one picture: ``runs/show_views.py`` and ``stable-ssl views``.

Rows are the first samples of a run's first epoch, columns the stored image and its views before normalisation, with the
parameters of each view below it.
"""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ssl_core.config import Config
from ssl_core.errors import ConfigError
from ssl_core.run.folder import plain_config
from ssl_launch.commands.help_texts import VIEWS
from ssl_launch.commands.train import name_recipe
from ssl_launch.hydra_app.app import run_command
from ssl_launch.hydra_app.build_config import build_config
from ssl_launch.hydra_app.run_name import name_of

ROWS = 6
INCHES = 1.9  # edge of a picture
NEUTRAL = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}  # the colour jitter, in the order of its numbers


def show_views() -> None:
    """Draw, and print the name of the file."""
    run_command(
        "simclr_affine_digits",
        VIEWS,
        lambda composed: print(draw(_config(composed)).resolve()),
        lambda composed: plain_config(_config(composed)),
        name_recipe,
    )


def _config(composed: DictConfig) -> Config:
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    hydra = HydraConfig.get()
    config = build_config(plain, list(hydra.overrides.task))
    config.log.run = config.log.run or name_of(["Views", str(hydra.job.config_name)], list(hydra.overrides.task))
    return config


def draw(config: Config) -> Path:
    """Draw the views of a configuration; return the file.

    Raises
    ------
    ConfigError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a picture needs matplotlib: pip install matplotlib, or the extra 'report' of ssl-eval"
        ) from error
    from ssl_data import Loader  # imports torch and numba
    from ssl_data.augment.sampling import ORDERS

    train = config.data.open(ROWS, config.hardware.seed).train
    loader = Loader(train.source, train.views, ROWS, seed=train.seed, return_parameters=True)
    views, _, indices, parameters = next(iter(loader))
    pictures = [_restored(view, spec) for view, spec in zip(views, loader.views)]
    position = {index: place for place, index in enumerate(train.source.ids.tolist())}
    width, height = INCHES * (len(views) + 1), 1.5 * INCHES * ROWS
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots(ROWS, len(views) + 1)
    for row, index in enumerate(indices.tolist()):
        stored = train.source.image(position[index])
        _show(axes[row, 0], stored / 255, f"sample {index}\n{stored.shape[1]} x {stored.shape[0]}")
        for column, (picture, drawn) in enumerate(zip(pictures, parameters), start=1):
            _show(
                axes[row, column], picture[row], _described({name: drawn[name][row].item() for name in drawn}, ORDERS)
            )
    file = Path(config.log.folder) / f"{config.log.run}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    return file


def _restored(view: Any, spec: Any) -> Any:
    """Return a batch of views without its normalisation, ``(n, size, size, C)`` in [0, 1]."""
    mean, std = (view.new_tensor(each) for each in (spec.mean, spec.std))
    return (view.permute(0, 2, 3, 1) * std + mean).clip(0, 1).numpy()


def _show(axis: Any, image: Any, text: str) -> None:
    """Draw ``image (H, W, C)``, with ``text`` below."""
    axis.imshow(
        image.squeeze(2) if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(text, fontsize=6, family="monospace", loc="left")


def _described(p: dict[str, Any], orders: Any) -> str:
    """Return what was drawn for a view, in lines: the box (width x height at left, top), and the jitter in its order."""
    lines = [f"{p['width']:.4g} x {p['height']:.4g} at {p['left']:.4g}, {p['top']:.4g}" + ", flipped" * p["flip"]]
    moved = [f"{name} {p[name]:+.2f}" for name in ("angle", "shear", "shift_x", "shift_y") if p[name]]
    if p["zoom"] != 1:
        moved.append(f"zoom {p['zoom']:.2f}")
    lines += [", ".join(moved[k : k + 2]) for k in range(0, len(moved), 2)]
    order = [list(NEUTRAL)[step] for step in orders[p["order"]]]
    lines += [f"{name} {p[name]:.2f}" for name in order if p[name] != NEUTRAL[name]]
    others = ["grayscale"] * p["grayscale"] + [f"blur {p['sigma']:.2f}"] * (p["sigma"] > 0)
    others += ["solarized"] * p["solarize"] + [f"noise {p['noise']:.2f}"] * (p["noise"] > 0)
    return "\n".join([*lines, *[", ".join(others)] * bool(others)])

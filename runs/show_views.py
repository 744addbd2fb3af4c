"""Look at the views of a configuration before training on them: a contact sheet, in PNG.

python3 show_views.py --config-name=simclr_cifar10_sgd
python3 show_views.py --config-name=simclr_cifar10_sgd ++data.views=byol ++data.size=64

Rows are the first samples of the run's first epoch, columns the stored image and its views as the model gets them (but for the
normalisation), with what was drawn for each below. The command line is that of main.py; the file is
``<log.folder>/Views-<config>.png``.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssl_core import BaseModel
from ssl_data import Loader
from ssl_data.parameters import ORDERS
from ssl_launch import launch

ROWS = 6
INCHES = 1.9  # edge of a picture
NEUTRAL = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0}  # the colour jitter, in the order of its numbers


class Views(BaseModel):
    """Not a method: where one trains, this draws."""

    def fit(self):
        train = self.config.data.open(ROWS, self.config.hardware.seed).train
        loader = Loader(train.source, train.views, ROWS, seed=train.seed, return_parameters=True)
        views, _, indices, parameters = next(iter(loader))
        pictures = [restored(view, spec) for view, spec in zip(views, loader.views)]
        position = {index: place for place, index in enumerate(train.source.ids.tolist())}
        width, height = INCHES * (len(views) + 1), 1.5 * INCHES * ROWS
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(ROWS, len(views) + 1)
        for row, index in enumerate(indices.tolist()):
            stored = train.source.image(position[index])
            show(axes[row, 0], stored / 255, f"sample {index}\n{stored.shape[1]} x {stored.shape[0]}")
            for column, (picture, drawn) in enumerate(zip(pictures, parameters), start=1):
                show(axes[row, column], picture[row], described({name: drawn[name][row].item() for name in drawn}))
        file = Path(self.config.log.folder) / f"{self.config.log.run}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
        print(file.resolve())
        return {}


def restored(view, spec):
    """Return a batch of views without its normalisation, ``(n, size, size, C)`` in [0, 1]."""
    return (view.permute(0, 2, 3, 1).numpy() * np.array(spec.std) + np.array(spec.mean)).clip(0, 1)


def show(axis, image, text):
    """Draw ``image (H, W, C)``, with ``text`` below."""
    axis.imshow(
        image.squeeze(2) if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(text, fontsize=6, family="monospace", loc="left")


def described(p):
    """Return what was drawn for a view, in lines: the box (width x height at left, top), and the jitter in its order."""
    lines = [f"{p['width']:.4g} x {p['height']:.4g} at {p['left']:.4g}, {p['top']:.4g}" + ", flipped" * p["flip"]]
    moved = [f"{name} {p[name]:+.2f}" for name in ("angle", "shear", "shift_x", "shift_y") if p[name]]
    if p["zoom"] != 1:
        moved.append(f"zoom {p['zoom']:.2f}")
    lines += [", ".join(moved[k : k + 2]) for k in range(0, len(moved), 2)]
    order = [list(NEUTRAL)[step] for step in ORDERS[p["order"]]]
    lines += [f"{name} {p[name]:.2f}" for name in order if p[name] != NEUTRAL[name]]
    others = ["grey"] * p["grayscale"] + [f"blur {p['sigma']:.2f}"] * (p["sigma"] > 0)
    others += ["solarized"] * p["solarize"] + [f"noise {p['noise']:.2f}"] * (p["noise"] > 0)
    return "\n".join([*lines, *[", ".join(others)] * bool(others)])


if __name__ == "__main__":
    launch(Views)

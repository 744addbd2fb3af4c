"""Speed run: from random weights to 65 % kNN accuracy on CIFAR-10 within ten minutes on two CPU cores.

    python3 speedrun.py data                 # torchvision's files in data, or data/cifar10/{train,test}/<class>/*.jpg
    python3 speedrun.py data --minutes 30    # as high as it goes
    python3 speedrun.py data --validation    # train on 45,000 images and test on the other 5,000: to choose settings

One file, to be read from top to bottom and changed. It uses the views of ssl_data, a loss of ssl_losses and kNN of
ssl_eval, and has no trainer and no checkpoint. The length is a number of steps, so that the same seed gives the same
weights. Minutes are those of the processor named in runs/bench/RESULTS.rst, which lists the results and what helped.
"""

import argparse
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ssl_data import Loader, views
from ssl_data.datasets import open_dataset
from ssl_data.sources.source import Source
from ssl_eval import knn
from ssl_losses import emp_ssl

# ---------------------------------------------------------------------------------------------------------- settings

STEPS_PER_MINUTE = 125  # of the machine of the results
WIDTH = 16  # channels of the stem; the features have 8 times as many
PHASES = [(0.6, 16), (0.4, 20)]  # share of the steps, pixels of a view: first small and fast, then larger
BATCH, NUM_VIEWS = 128, 4
CROP = (0.25, 1.0)  # share of the area of the image
PROJECTOR = [512, 128]
LEARNING_RATE, WARMUP = 2e-3, 0.05  # of AdamW; warm-up as a share of the steps, then a line to 0
TEST_SIZE = 32  # pixels
LEVELS = 3  # the last maps whose maxima are the features
WHITENING = 0.75  # exponent of the deviation that divides each principal component; 0: none, 1: full whitening
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

# ------------------------------------------------------------------------------------------------------------- model


def conv(channels: int, out: int, pool: bool = False) -> nn.Sequential:
    """A convolution of 3 by 3, batch normalisation and a ReLU; pooled before the normalisation, which then costs a quarter."""
    layers = [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(layers[0], nn.MaxPool2d(2), *layers[1:]) if pool else nn.Sequential(*layers)


class Residual(nn.Module):
    """``x + f(x)`` with two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


class Backbone(nn.Sequential):
    """ResNet-9; the output is the maximum over the last map, so that views of any size fit."""

    def __init__(self, w: int) -> None:
        blocks = conv(3, w), conv(w, 2 * w, pool=True), Residual(2 * w), conv(2 * w, 4 * w, pool=True)
        super().__init__(*blocks, conv(4 * w, 8 * w, pool=True), Residual(8 * w))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).amax((2, 3))


def projector(widths: list[int]) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-2])


# -------------------------------------------------------------------------------------------------------------- data


def open_data(root: str, validation: bool) -> tuple[Source, np.ndarray, Source, np.ndarray]:
    """Return the source of the training images in memory and the rows to use, and the same of the test images."""
    parts = open_dataset("CIFAR10", root, "", download=True)
    train, test = parts.train, parts.test
    rows = np.random.default_rng(0).permutation(len(train))
    if validation:  # the test images are not opened
        train.load_into_memory(num_workers=2)
        return train, rows[:45_000], train, rows[45_000:]
    for source in (train, test):
        source.load_into_memory(num_workers=2)
    return train, rows, test, np.arange(len(test))


def training_views(size: int) -> list:
    """Return ``NUM_VIEWS`` copies of the view of SimCLR for CIFAR-10."""
    view = views("simclr", size=32, mean=MEAN, std=STD)[0]
    return [replace(view, size=size, crop_scale=CROP)] * NUM_VIEWS


def train(source: Source, rows: np.ndarray, steps: int, seed: int) -> Backbone:
    """Train for a number of steps and return the backbone."""
    torch.manual_seed(seed)
    backbone = Backbone(WIDTH)
    network = nn.Sequential(backbone, projector([8 * WIDTH, *PROJECTOR])).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    step, began = 0, time.perf_counter()
    for share, size in PHASES:
        loader = Loader(source, training_views(size), BATCH, seed=seed).subset(rows)
        loader.set_epoch(step)  # other crops than in the phase before
        end = min(steps, step + round(share * steps))
        while step < end:
            for batch, _, _ in loader:
                warm, cool = step / (WARMUP * steps), (steps - step) / ((1 - WARMUP) * steps)
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * min(1.0, warm, cool)
                images = torch.cat(batch).contiguous(memory_format=torch.channels_last)
                loss = emp_ssl(*network(images).chunk(NUM_VIEWS))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                if step % 100 == 0:
                    print(
                        f"step {step} of {steps}, {time.perf_counter() - began:.0f} s, loss {loss.item():.2f}",
                        flush=True,
                    )
                if step == end:
                    break
    return backbone.eval()


# -------------------------------------------------------------------------------------------------------- evaluation


@torch.no_grad()
def features(backbone: Backbone, source: Source, rows: np.ndarray) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the maxima ``(N, D)`` of each of the last maps, and the labels ``(N,)``."""
    view = views("evaluation", size=TEST_SIZE, mean=MEAN, std=STD)
    found, labels = [], []
    for (images,), targets, _ in Loader(source, view, 500, shuffle=False, drop_last=False).subset(rows):
        x, maxima = images.contiguous(memory_format=torch.channels_last), []
        for block in backbone:
            x = block(x)
            maxima.append(x.amax((2, 3)))
        found.append(maxima[-LEVELS:])
        labels.append(targets)
    return [torch.cat(level) for level in zip(*found)], torch.cat(labels)


def whiten(train: list[torch.Tensor], test: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre each level, give it unit length, and scale the principal components of all together; labels play no part."""
    means = [level.mean(0) for level in train]
    rows, queries = (
        torch.cat([nn.functional.normalize(level - mean) for level, mean in zip(part, means)], 1)
        for part in (train, test)
    )
    center = rows.mean(0)
    variances, components = torch.linalg.eigh((rows - center).T.cov().double())
    scaled = (components * variances.clamp(min=1e-3 * variances.max()) ** (-WHITENING / 2)).float()
    return (rows - center) @ scaled, (queries - center) @ scaled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the data")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the whole run, on the machine of the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation", action="store_true", help="test on 5,000 training images")
    arguments = parser.parse_args()
    began = time.perf_counter()
    train_source, train_rows, test_source, test_rows = open_data(arguments.root, arguments.validation)
    opened = time.perf_counter()
    steps = round(arguments.minutes * STEPS_PER_MINUTE)
    backbone = train(train_source, train_rows, steps, arguments.seed)
    trained = time.perf_counter()
    references, labels = features(backbone, train_source, train_rows)
    queries, answers = features(backbone, test_source, test_rows)
    references, queries = whiten(references, queries)
    hits = knn(references, labels, queries, k=20).argmax(1) == answers
    seconds = time.perf_counter()
    print(
        f"kNN (k = 20) {100 * hits.float().mean():.2f} % of {len(hits):,} images after {seconds - began:.0f} s: ",
        end="",
    )
    print(f"data {opened - began:.0f}, training {trained - opened:.0f}, features and kNN {seconds - trained:.0f}")


if __name__ == "__main__":
    main()

"""Speed run: from random weights to 65 % kNN accuracy on CIFAR-10 within ten minutes on two CPU cores.

    python3 speedrun.py data                 # torchvision's files of CIFAR-10 below data/, or data/{train,test}/<class>/*.jpg
    python3 speedrun.py data --minutes 30    # as high as it goes
    python3 speedrun.py data --validation    # train on 45,000 images and test on the other 5,000: to choose settings

One file, to be read from top to bottom and changed. It uses the views of ssl_data, a loss of ssl_losses, Muon of ssl_core and kNN
of ssl_eval; no trainer and no checkpoint. The length is a number of steps, so that the same seed gives the same weights. The
minutes are those of the processor that is named in runs/bench/RESULTS.rst, where the results and what helped are listed.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssl_core.optimizers.muon import Muon
from ssl_data import ArraySource, Loader, views
from ssl_data.datasets import open_dataset
from ssl_eval import knn, linear_probe
from ssl_losses import emp_ssl

# ---------------------------------------------------------------------------------------------------------- settings

STEPS_PER_MINUTE = 100  # of the machine of the results
WIDTH = 16  # channels of the stem; the features have 8 times as many
PHASES = [(0.6, 16), (0.4, 20)]  # share of the steps, pixels of a view: first small and fast, then larger
BATCH, NUM_VIEWS = 128, 4
CROP = (0.25, 1.0)  # share of the area of the image
PROJECTOR = [512, 128]
LEARNING_RATE, WARMUP = 2e-3, 0.05  # of Muon and of its AdamW; warm-up as a share of the steps, then a line to 0
TEST_SIZE = 32  # pixels
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

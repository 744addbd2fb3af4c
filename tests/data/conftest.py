"""Real photographs for the tests, where they are: CIFAR-10 as JPEG files, beside the checkout; and FFCV."""

import importlib
import importlib.util
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ffcv():
    """Return FFCV. Tests skip where it is not installed, and fail where SSL_FFCV=1 requires it."""
    if importlib.util.find_spec("ffcv") is None and os.environ.get("SSL_FFCV") != "1":
        pytest.skip("ffcv is not installed (SSL_FFCV=1 requires it)")
    return importlib.import_module("ffcv")


@pytest.fixture(scope="session")
def cifar10_folder(tmp_path_factory):
    """Return a folder with ``cifar10/{train,test}/<class>/*.jpg``, 20 images of a class."""
    archive = SHARED / "cifar10.tar.gz"
    if not archive.exists():
        pytest.skip("the CIFAR-10 photographs are not beside the checkout")
    folder = tmp_path_factory.mktemp("photographs")
    taken: dict[str, int] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            parent = os.path.dirname(member.name)
            if member.isfile() and taken.get(parent, 0) < 20:
                taken[parent] = taken.get(parent, 0) + 1
                tar.extract(member, folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def photographs(cifar10_folder):
    """Return real photographs, ``(M, 32, 32, 3) uint8``."""
    from ssl_data import FolderSource

    return FolderSource(cifar10_folder / "cifar10" / "train").images


@pytest.fixture(scope="session")
def large_photographs():
    """Return photographs of ImageNet, a list of three ``(H, W, 3) uint8``, of the sizes that they have."""
    archive = SHARED / "imagenet-sample.tar"
    if not archive.exists():
        pytest.skip("the ImageNet photographs are not beside the checkout")
    with tarfile.open(archive) as tar:
        files = [member for member in tar if member.isfile()][:60:20]
        images = [Image.open(tar.extractfile(member)).convert("RGB") for member in files]
    return [np.array(image) for image in images]


@pytest.fixture(scope="session")
def noise():
    """Return images that no photograph is as hard as, ``(20, 40, 32, 3) uint8``."""
    return np.random.default_rng(0).integers(0, 256, (20, 40, 32, 3), dtype=np.uint8)

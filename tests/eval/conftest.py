"""One thread, and features that look like those of an encoder: correlated, rectified, classes that overlap."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_features():
    """``(num_samples, width, num_classes, separation, seed) -> features, labels``; same classes for every seed."""

    def make(num_samples=300, width=16, num_classes=4, separation=1.0, seed=0, dtype=torch.float64):
        fixed = torch.Generator().manual_seed(99)
        centres = separation * torch.randn(num_classes, width, generator=fixed, dtype=torch.float64)
        mixing = torch.randn(width, width, generator=fixed, dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(num_samples) % num_classes
        labels = labels[torch.randperm(num_samples, generator=generator)]
        noise = torch.randn(num_samples, width, generator=generator, dtype=torch.float64)
        return torch.relu((centres[labels] + noise) @ mixing).to(dtype), labels

    return make

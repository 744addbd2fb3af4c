import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # contract.py, ranks.py, cases/


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)

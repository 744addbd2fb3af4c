import gc

import numpy as np
import pytest
import torch

from ssl_data import ArraySource, Loader, views
from ssl_data.loading.buffer_pool import MAX_FREE, Memory


def test_unreferenced_memory_is_reused():
    memory = Memory()
    tensor = memory.empty((5, 4), torch.float32)
    first = tensor.data_ptr()
    del tensor
    assert memory.empty((5, 4), torch.float32).data_ptr() == first
    assert memory.empty((5, 4), torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "part",
    [
        lambda tensor: tensor,
        lambda tensor: tensor[1:, 2],
        lambda tensor: tensor.view(torch.int32).T,
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: tensor[0].numpy()[1:],
        lambda tensor: memoryview(tensor.numpy())[1:],
        lambda tensor: np.from_dlpack(tensor)[1:],
        lambda tensor: torch.nn.Parameter(tensor),
    ],
)
def test_memory_that_any_part_holds_is_not(part):
    memory = Memory()
    tensor = memory.empty((5, 4), torch.float32)
    first, held = tensor.data_ptr(), part(tensor)
    del tensor
    gc.collect()
    assert memory.empty((5, 4), torch.float32).data_ptr() != first
    del held
    gc.collect()
    assert first in {memory.empty((5, 4), torch.float32).data_ptr() for _ in range(2)}


def test_no_more_than_a_few_blocks_wait():
    memory = Memory()
    held = [memory.empty((3,), torch.float32) for _ in range(3 * MAX_FREE)]
    held.clear()
    gc.collect()
    assert [len(free) for free in memory._free.values()] == [MAX_FREE]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_batches_do_not_change(dtype):
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8))
    loader = Loader(source, views("simclr", size=16), batch_size=8, num_workers=2, dtype=dtype)
    kept, copies, places = [], [], set()
    for epoch in range(3):
        for step, ((first, second), _, _) in enumerate(loader.start(epoch)):
            places.add(first.data_ptr())
            if step % 3 == 0:
                kept.append(second[2:4, 1])  # a part of one view; the rest is let go
                copies.append(kept[-1].clone())
    assert all(torch.equal(a, b) for a, b in zip(kept, copies))
    assert len(places) < 24  # of 24 batches

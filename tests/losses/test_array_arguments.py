"""Arrays and lists in place of tensors raise an error that names the conversion, for every public function."""

import numpy as np
import pytest
import torch
from contract import leaf_arguments, module
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ssl_losses import LOSSES, koleo, negative_cosine_similarity, nt_xent, patchify, sinkhorn


@pytest.mark.parametrize("convert", [lambda z: z.numpy(), lambda z: z.tolist()], ids=["array", "list"])
@pytest.mark.parametrize("name", LOSSES)
def test_argument_that_is_no_tensor_raises_with_the_conversion(name, convert):
    leaves, spec = tree_flatten(leaf_arguments(name)[0])
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            changed = [*leaves[:position], convert(leaf.detach()), *leaves[position + 1 :]]
            with pytest.raises(ValueError, match=r"expected tensors, got .*; torch\.as_tensor converts"):
                module(name)(*tree_unflatten(changed, spec))


def test_all_arguments_as_arrays_raise_with_the_name():
    array = np.ones((4, 2))
    with pytest.raises(ValueError, match=r"z1: expected tensors, got numpy\.ndarray; torch\.as_tensor converts"):
        nt_xent(array, array)
    with pytest.raises(ValueError, match="views: expected tensors, got a list of numbers"):
        koleo(torch.ones(2, 2), [[1.0, 2.0]])
    with pytest.raises(ValueError, match="scores: expected tensors"):
        sinkhorn(array)
    with pytest.raises(ValueError, match="target: expected tensors"):
        negative_cosine_similarity([torch.ones(4, 2)], [array])
    with pytest.raises(ValueError, match="images: expected tensors"):
        patchify(array, 2)


def test_list_of_tensors_raises_and_names_the_conversion():
    rows = [torch.ones(2), torch.ones(2)]
    with pytest.raises(ValueError, match=r"embeddings: expected tensors, got list; torch\.stack joins"):
        nt_xent(rows, rows)
    with pytest.raises(ValueError, match=r"prediction: expected a tensor, got list; torch\.stack joins"):
        LOSSES["masked_reconstruction"]()([torch.ones(2, 2)], torch.ones(1, 2, 2), torch.ones(1, 2, dtype=torch.bool))

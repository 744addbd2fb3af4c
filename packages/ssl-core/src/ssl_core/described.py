"""A value in the words of an error: what somebody gave where something else was expected."""

from typing import Any

from torch import Tensor


def describe(value: Any) -> str:
    """Return type and shape of a tensor, a number as it is, the type of anything else.

    Examples
    --------
    >>> import torch
    >>> describe(torch.zeros(2, 3)), describe(torch.tensor(1)), describe(0.5), describe([]), describe(None)
    ('a float32 tensor (2, 3)', 'a scalar of int64', '0.5', 'a list', 'None')
    """
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a scalar of {kind}" if value.ndim == 0 else f"a {kind} tensor {tuple(value.shape)}"
    return repr(value) if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"

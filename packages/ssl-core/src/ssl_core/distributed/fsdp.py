"""Sharded weights (FSDP2, ``torch.distributed.fsdp.fully_shard``), for models that do not fit one GPU.

Each rank holds a part of every parameter, its gradient and its optimizer state; the parameters of a module are whole only while
it computes. A checkpoint holds whole tensors in the format of an unsharded one, so that a run resumes at any number of ranks.
``torch.distributed.checkpoint.state_dict`` does not fit: it names optimizer state by parameter where other checkpoints number
it, and it calls ``optimizer.step()`` before it loads, which a user-defined optimizer may count.

``torch.distributed.tensor`` is imported in functions: it takes more than a second, and few runs are sharded.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ssl_core.errors import ConfigError
from ssl_core.modules.ema import Teacher

BLOCK_PARAMETERS = 1_000_000  # smaller blocks are gathered together with the module that contains them
_FORWARD_METHODS = (
    "tokens",
    "intermediate_tokens",
    "patch_embeddings",
    "forward_dense",
)  # of backbones, besides forward
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, Teacher)  # the modules in them are called, not the container


def shard(model: nn.Module, device: torch.device) -> None:
    """Shard the parameters of ``model`` over the ranks, in place.

    Units are the modules that are assigned to the model (a loss calls them one by one, never the model itself), and in them
    the larger blocks of a ``Sequential`` or a ``ModuleList``.

    Raises
    ------
    ConfigError
        For a parameter of the model itself, which no forward pass would gather.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    own = [name for name, _ in model.named_parameters(recurse=False)]
    if own:
        raise ConfigError(
            f"{', '.join(own)} belongs to no module of {type(model).__name__}, and only what a module's forward pass uses can "
            "be sharded; put it into one, or take hardware.strategy='ddp'",
            key="hardware.strategy",
            value="fsdp",
        )
    for (
        parameter
    ) in model.parameters():  # fully_shard does not take channels_last; activations keep it, from the images
        parameter.data = parameter.data.contiguous()
    mesh = dist.device_mesh.init_device_mesh(device.type, (dist.get_world_size(),))
    for unit in _units(model):
        for block in _blocks(unit):
            fully_shard(block, mesh=mesh)
        # By default a unit without a parent stays whole until the backward pass, which a teacher does not have
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
        for name in _FORWARD_METHODS:
            if hasattr(unit, name):
                register_fsdp_forward_method(unit, name)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _units(child)
        elif any(True for _ in child.parameters()):
            yield child


def _blocks(unit: nn.Module) -> Iterator[nn.Module]:
    """Yield the larger elements of sequences in a unit, the innermost first, as ``fully_shard`` needs them."""
    for module in reversed(list(unit.modules())):
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for block in module.children():
                size = sum(parameter.numel() for parameter in block.parameters())
                if size >= BLOCK_PARAMETERS and not isinstance(block, _CONTAINERS):
                    yield block


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the whole tensor of a sharded one; all ranks must call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def full_state(state: Any, keep: bool) -> Any:
    """Return nested dicts and lists with whole tensors in memory. All ranks call it; one of them keeps the tensors."""

    def full(tensor: Tensor) -> Tensor | None:
        if not hasattr(tensor, "full_tensor"):
            return tensor
        whole = tensor.full_tensor()
        return whole.cpu() if keep else None

    return tree_map_only(Tensor, full, state)


def sharded_state(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the parts ``model`` and ``optimizer`` of a checkpoint, sharded as the present weights are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    current = model.state_dict()
    moments = {
        number: {name: _shard_like(value, parameters[number]) for name, value in values.items()}
        for number, values in state["optimizer"]["state"].items()
    }
    return state | {
        "model": {name: _shard_like(value, current.get(name)) for name, value in state["model"].items()},
        "optimizer": state["optimizer"] | {"state": moments},
    }


def _shard_like(value: Any, sharded: Any) -> Any:
    """Return this rank's part of a whole tensor, where one of the same shape is sharded; any other value unchanged."""
    if not hasattr(sharded, "placements") or getattr(value, "shape", None) != sharded.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.detach().contiguous(), sharded.device_mesh, sharded.placements, src_data_rank=None)

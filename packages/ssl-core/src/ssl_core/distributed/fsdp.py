"""Weights that are spread over the ranks (FSDP2, ``torch.distributed.fsdp.fully_shard``), for what one GPU cannot hold.

Each rank keeps a part of every parameter, of its gradient and of what the optimizer knows of it; a module's parameters are
whole only while it computes. A checkpoint holds whole tensors, under the names and in the order of an ordinary one, so that
a run goes on at any number of ranks, sharded or not.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssl_core.errors import ConfigError
from ssl_core.modules.ema import Teacher

BLOCK_PARAMETERS = 1_000_000  # of a block, from which on it is gathered by itself rather than with the module around it
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, Teacher)  # what is called are the modules in them


def shard(model: nn.Module, device: torch.device) -> None:
    """Spread the parameters of ``model`` over the ranks, in place; modules stay the objects that they are.

    Units are the modules that are assigned to the model (a loss calls them one by one, the model itself never), and in them
    the larger blocks of a ``Sequential`` or a ``ModuleList``.

    Raises
    ------
    ConfigError
        For a parameter that belongs to the model itself, where nobody could gather it.
    """
    from torch.distributed.fsdp import fully_shard

    own = [name for name, _ in model.named_parameters(recurse=False)]
    if own:
        raise ConfigError(
            f"hardware.strategy='fsdp': {', '.join(own)} belongs to no module of {type(model).__name__}, and only what a "
            "module's forward pass uses can be sharded; put it into one, or take hardware.strategy='ddp'"
        )
    for (
        parameter
    ) in model.parameters():  # fully_shard refuses channels_last; activations keep it, they come with the images
        parameter.data = parameter.data.contiguous()
    mesh = dist.device_mesh.init_device_mesh(device.type, (dist.get_world_size(),))
    for unit in _units(model):
        for block in _blocks(unit):
            fully_shard(block, mesh=mesh)
        fully_shard(unit, mesh=mesh)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _units(child)
        elif any(True for _ in child.parameters()):
            yield child


def _blocks(unit: nn.Module) -> Iterator[nn.Module]:
    """Give the larger elements of sequences in a unit, the innermost first, as ``fully_shard`` wants it."""
    for module in reversed(list(unit.modules())):
        if isinstance(module, nn.Sequential | nn.ModuleList):
            for block in module.children():
                size = sum(parameter.numel() for parameter in block.parameters())
                if size >= BLOCK_PARAMETERS and not isinstance(block, _CONTAINERS):
                    yield block


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor as it is on one process; of a sharded one all ranks must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def full_state(state: Any, keep: bool) -> Any:
    """Return a nest of dicts, lists and tensors with whole tensors on the host. All ranks call it; one of them keeps it."""
    if isinstance(state, dict):
        return {key: full_state(value, keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(full_state(value, keep) for value in state)
    if isinstance(state, Tensor) and hasattr(state, "full_tensor"):
        full = full_tensor(state)
        return full.cpu() if keep else None
    return state


def sharded_state(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the parts ``model`` and ``optimizer`` of a checkpoint, spread as the weights are that they are for."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = model.state_dict()
    knowledge = {
        number: {
            name: _like(value, parameters[number])
            if getattr(value, "shape", None) == parameters[number].shape
            else value
            for name, value in values.items()
        }
        for number, values in state["optimizer"]["state"].items()
    }
    return state | {
        "model": {
            name: _like(value, known[name]) if name in known else value for name, value in state["model"].items()
        },
        "optimizer": state["optimizer"] | {"state": knowledge},
    }


def _like(tensor: Tensor, sharded: Any) -> Tensor:
    """Return this rank's part of a whole tensor that every rank holds."""
    if not hasattr(sharded, "placements"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.detach().contiguous(), sharded.device_mesh, sharded.placements, src_data_rank=None)

"""What every loss is tested for: a case says how it is called and what its paper's formula is; the tests walk all cases.

A case lives in ``cases/<name of the function>.py`` as ``CASE``. The tests are in ``test_contract.py`` (one process) and
``test_distributed.py`` (real ranks, driven by ``ranks.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ssl_losses

SAMPLES, INPUTS, WIDTH = 24, 6, 5  # 24 divides by 2, 3 and 4; WIDTH is D, the columns of the embeddings

INVARIANCES = ("order", "swap", "scale", "rotation")

Part = slice | Tensor  # which of the SAMPLES: a slice, or their numbers
Embed = Callable[[int], Tensor]


def two_views(embed: Embed, part: Part) -> tuple[Any, ...]:
    """Return the arguments of most losses."""
    return embed(0), embed(1)


@dataclass(frozen=True)
class Case:
    """How a loss is called in the tests, and what it should return."""

    # The formula as loops in float64, from the paper: plain(*arguments, **options) -> float or 0-dim tensor. A loss with
    # state gets `state=` as well, a copy of the module's state_dict before the call.
    plain: Callable[..., Any]
    # Keyword options of the module.
    options: dict[str, Any] = field(default_factory=dict)
    # (embed, part) -> the positional arguments of `forward`, which may be nested in lists and tuples. `embed(v)` gives view
    # number v (0, 1, 2, ...; as many as you like) of the samples in `part`, (n, WIDTH) float with gradient. Labels, masks and
    # the like come from torch.arange(SAMPLES)[part].
    arguments: Callable[[Embed, Part], tuple[Any, ...]] = two_views
    # Numbers of the views that the loss holds constant (a teacher's): they must get no gradient.
    targets: frozenset[int] = frozenset()
    # The loss holds a part of what it differentiates constant, as SwAV its codes: finite differences see more than the
    # gradient, so the oracle of the gradient is autograd through `plain`, which must then be made of torch operations.
    detaches: bool = False
    # Which changes of the input change nothing. order: of the samples; swap: of the two arguments; scale: each view by a
    # factor of its own; rotation: all views by one orthogonal matrix.
    invariances: frozenset[str] = frozenset({"order"})
    # What a ValueError may say for a degenerate batch (zero, constant, 3 samples in 5 dimensions, one sample).
    needs: str | None = None
    # The buffers after one call of `forward` in training: next_state(state, *arguments, **options) -> {name: tensor}.
    # Every loss with buffers needs it.
    next_state: Callable[..., dict[str, Tensor]] | None = None
    # What a user does with the module before the first step, on every rank: prepare(module).
    prepare: Callable[[nn.Module], None] | None = None

    def __post_init__(self) -> None:
        assert self.invariances <= set(INVARIANCES), self.invariances


def names_with_a_case() -> set[str]:
    return {path.stem for path in (Path(__file__).parent / "cases").glob("*.py")}


def load(name: str) -> Case:
    """Return the case of the loss ``name``."""
    return import_module(f"cases.{name}").CASE


def module(name: str, **options: Any) -> nn.Module:
    """Return the loss as a module in float64, its state drawn from a fixed seed."""
    case = load(name)
    torch.manual_seed(0)
    loss = ssl_losses.LOSSES[name](**{**case.options, **options}).double()
    if case.prepare is not None:
        case.prepare(loss)
    return loss


def state_of(loss: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in loss.state_dict().items()}


def is_stateless(loss: nn.Module) -> bool:
    return not loss.state_dict()


def plain_value(name: str, state: dict[str, Tensor], arguments: tuple[Any, ...]) -> Any:
    case = load(name)
    return case.plain(*arguments, **case.options, **({"state": state} if state else {}))


def rows(view: int, width: int, batch: int = 0) -> Tensor:
    """Return view number ``view`` of all SAMPLES: what the views share, and something of its own."""
    shared = torch.randn(SAMPLES, width, generator=torch.Generator().manual_seed(1000 * batch), dtype=torch.float64)
    own = torch.Generator().manual_seed(1000 * batch + view + 1)
    return shared + 0.5 * torch.randn(SAMPLES, width, generator=own, dtype=torch.float64)


class Leaves(dict[int, Tensor]):
    """The views as leaves of the graph, by number, each made when a case first asks for it."""

    def __init__(self, case: Case, part: Part, change: Callable[[int, Tensor], Tensor], batch: int = 0) -> None:
        super().__init__()
        self.case, self.part, self.change, self.batch = case, part, change, batch

    def __missing__(self, view: int) -> Tensor:
        z = self.change(view, rows(view, WIDTH, self.batch)[self.part]).detach().clone()
        self[view] = z.requires_grad_(z.is_floating_point() and view not in self.case.targets)
        return self[view]


def leaf_arguments(
    name: str,
    part: Part = slice(12),
    change: Callable[[int, Tensor], Tensor] = lambda view, z: z,
    batch: int = 0,
) -> tuple[tuple[Any, ...], Leaves]:
    """Return the arguments of a case made of views that are leaves, and the leaves."""
    case = load(name)
    leaves = Leaves(case, part, change, batch)
    return case.arguments(leaves.__getitem__, part), leaves


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.Tanh(), nn.Linear(8, WIDTH)).double()


def network_arguments(name: str, model: nn.Module, part: Part, batch: int = 0) -> tuple[Any, ...]:
    """Return the arguments of a case made of views that went through a small network."""
    case = load(name)

    def embed(view: int) -> Tensor:
        z = model(rows(view, INPUTS, batch)[part])
        return z.detach() if view in case.targets else z

    return case.arguments(embed, part)

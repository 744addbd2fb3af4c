"""Stop a run at the first non-finite value, before the optimizer steps, and record how to repeat the step."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.distributed.fsdp import full_tensor
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import DivergedError
from ssl_core.run.folder import RunFolder
from ssl_core.run.progress import Progress

_message = logging.getLogger(__name__)


@dataclass
class NanGuard:
    """Checks losses, gradients, weights and outputs. At the first non-finite value it writes ``diverged.json`` and raises.

    All ranks raise a :class:`~ssl_core.errors.DivergedError` at the same step, so that no rank waits for another one. On the
    CPU each step is checked. On a GPU, where a check waits for the device, these are the steps that are logged, and the
    weights before each evaluation and each checkpoint: evaluated and saved weights are finite on every device.
    """

    folder: RunFolder  # rank 0 writes diverged.json
    checkpoints: CheckpointStore  # the newest one is the last good state
    progress: Progress
    distributed: Distributed
    seed: int  # hardware.seed, for the record
    every_steps: int  # log.every_steps; 1 checks each step also on a GPU, as a replay does

    def __post_init__(self) -> None:
        self.writes = self.distributed.is_main
        self._place: dict[str, int] = {}  # epoch, batch and step of the last batch
        self._samples: Any = ()  # its ids on this rank
        self._terms: dict[str, float] = {}  # its loss, if it was checked

    def check_loss(self, terms: Mapping[str, Tensor], samples: Tensor) -> None:
        """Raise if a term of the loss, a scalar, is not finite on some rank. Called before each backward pass.

        ``samples`` are the ids of the batch on this rank, ``(N,) int64``.
        """
        progress = self.progress
        self._place = {"epoch": progress.epoch, "batch": progress.batch, "step": progress.step}
        self._samples = samples
        if self._is_checked:
            self._terms = {name: term.item() for name, term in terms.items()}
            self._check(self._terms, "training")

    def check_gradients(self, norm: Tensor, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Raise if the gradients' norm is not finite. Called before they are clipped, and before the optimizer steps.

        ``norm`` is a scalar, of the gradients averaged over the ranks: the same on all of them.
        """
        if self._is_checked and not math.isfinite(norm.item()):
            found = _non_finite((name, p.grad) for name, p in parameters if p.grad is not None)
            self._stop("gradient norm", norm.item(), parameters=found)

    def check_weights(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Raise if a weight is not finite. Called before an evaluation, and before a checkpoint is written."""
        found = _non_finite((name, p.detach()) for name, p in parameters)
        if self._place and self.distributed.any(bool(found)):  # before the first batch they are what was loaded
            self._stop("weights", math.nan, parameters=found)

    def check_outputs(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise if the outputs of an evaluation batch, of any shape, are not finite on some rank: weights may be too large."""
        self._check(_largest(outputs), "evaluation")

    @property
    def _is_checked(self) -> bool:
        return self.distributed.device.type == "cpu" or (self.progress.step + 1) % self.every_steps == 0

    def _check(self, values: dict[str, float], during: str) -> None:
        if self.distributed.any(_first_non_finite(values) is not None):
            everyone = self.distributed.collect(values)
            rank, term = next((k, name) for k, each in enumerate(everyone) if (name := _first_non_finite(each)))
            self._stop(term, everyone[rank][term], rank, during=during)

    def _stop(
        self, term: str, value: float, rank: int | None = None, parameters: Sequence[str] = (), during: str = "training"
    ) -> NoReturn:
        """Write the record and raise. Called on all ranks; ``rank=None``: the value is the same on all of them."""
        record: dict[str, Any] = {
            **(self._place or {"step": self.progress.step - 1}),  # an evaluation after a step of an earlier process
            "during": during,
            "term": term,
            "value": value if math.isfinite(value) else str(value),  # JSON has no nan
            "rank": 0 if self.distributed.world_size == 1 else rank,
            "seed": self.seed,
            "ranks": self.distributed.world_size,
            "threads": torch.get_num_threads(),
            "parameters": list(parameters),
            "checkpoint": next((path.name for path in reversed(self.checkpoints.all())), None),
        }
        terms = self.distributed.collect(self._terms)
        samples = self.distributed.collect(torch.as_tensor(self._samples).tolist())
        if self._place:
            plain = [{name: x if math.isfinite(x) else str(x) for name, x in each.items()} for each in terms]
            record |= {"terms": plain, "samples": samples}
        if self.writes:
            try:
                self.folder.write_divergence(record)
            except OSError as error:  # the divergence is what ends the run
                _message.error("%s cannot be written: %s", self.folder.diverged, error)
        self.distributed.any(False)  # wait until it is written: a launcher ends all ranks when one has ended
        raise DivergedError(self._sentence(record), record)

    def _sentence(self, record: dict[str, Any]) -> str:
        rank = "all ranks" if record["rank"] is None else f"rank {record['rank']}"
        found = "weights are not finite" if record["term"] == "weights" else f"{record['term']} is {record['value']}"
        if record["step"] < 0:
            return f"{found} before the first step, {rank}: the initial weights give it"
        if record["during"] == "evaluation":
            place = (
                f"in the evaluation after step {record['step']}, {rank}: the weights are finite, their outputs are not"
            )
        else:
            names = record["parameters"]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            where = f", not finite in {', '.join(names[:3])}{more}" if names else ""
            samples = f"; samples {record['samples'][record['rank'] or 0][:8]}..."
            place = f"at epoch {record['epoch'] + 1}, batch {record['batch']}, step {record['step']}, {rank}{where}{samples}"
        return (
            f"{found} {place}; the last good state is {record['checkpoint'] or 'the beginning'}; 'python3 -m "
            f"ssl_core.diagnostics.replay {self.folder.path}' shows the step again; a lower optim.lr, or optim.grad_max_norm, "
            "often helps"
        )


def _first_non_finite(terms: Mapping[str, float]) -> str | None:
    return next((name for name, value in terms.items() if not math.isfinite(value)), None)


def _largest(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the largest magnitude in each tensor, not finite if anything in it is not; waits for the device once."""
    largest = {name: tensor.detach().abs().max().double() for name, tensor in tensors.items() if tensor.numel()}
    return dict(zip(largest, torch.stack([*largest.values()]).tolist())) if largest else {}


def _non_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors in which something is not finite; waits for the device once."""
    named = dict(tensors)
    if not named:
        return []
    finite = torch.stack([full_tensor(torch.isfinite(tensor).all()) for tensor in named.values()]).tolist()
    return [name for name, is_finite in zip(named, finite) if not is_finite]

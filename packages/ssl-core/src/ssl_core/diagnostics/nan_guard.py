"""Stop a run at the first non-finite value, before the optimizer steps, and record how to repeat the step."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
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


class NanGuard:
    """Checks losses, gradients, weights and outputs. At the first non-finite value it writes ``diverged.json`` and raises.

    All ranks raise at the same step, so that no rank waits for another one. On the CPU each step is checked. On a GPU, where a
    check waits for the device, these are the steps that are logged, and the weights before each evaluation and each checkpoint:
    evaluated and saved weights are finite on every device.

    Parameters
    ----------
    folder : RunFolder
        The run folder. Rank 0 writes ``diverged.json``.
    checkpoints : CheckpointStore
        The checkpoints. The newest one is the last good state.
    progress : Progress
        The counters.
    distributed : Distributed
        The ranks: a loss that is not finite on one of them ends all.
    seed : int
        ``hardware.seed``, for the record.
    every_steps : int
        ``log.every_steps``.
    """

    def __init__(
        self,
        folder: RunFolder,
        checkpoints: CheckpointStore,
        progress: Progress,
        distributed: Distributed,
        seed: int,
        every_steps: int,
    ) -> None:
        self.folder = folder
        self.checkpoints = checkpoints
        self.progress = progress
        self.distributed = distributed
        self.seed = seed
        self.every_steps = every_steps  # on a GPU: 1 looks at each step, and waits for it (a replay does)
        self.writes = distributed.is_main
        self._place: dict[str, int] = {}  # of the last batch
        self._samples: Any = ()  # its ids on this rank
        self._terms: dict[str, float] = {}  # and what its loss was, where it was looked at

    def check_loss(self, terms: Mapping[str, Tensor], samples: Tensor) -> None:
        """Raise if a term of the loss is not finite on some rank. Called before the backward pass of each batch.

        Parameters
        ----------
        terms : dict
            Name of a term and its value, a scalar.
        samples : (N,) int64
            The ids of the batch on this rank.

        Raises
        ------
        DivergedError
            Naming term, value, epoch, batch, step, rank and the first samples of the batch.
        """
        progress = self.progress
        self._place = {"epoch": progress.epoch, "batch": progress.batch, "step": progress.step}
        self._samples = samples
        if not self._looks:
            return
        self._terms = {name: term.item() for name, term in terms.items()}
        if self.distributed.any(_first_non_finite(self._terms) is not None):
            everyone = self.distributed.collect(self._terms)
            rank, term = next((k, name) for k, each in enumerate(everyone) if (name := _first_non_finite(each)))
            self._stop(term, everyone[rank][term], rank, everyone)

    def check_gradients(self, norm: Tensor, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Raise if the gradients' norm is not finite. Called before they are clipped, and before the optimizer moves.

        Parameters
        ----------
        norm : scalar
            Of the gradients averaged over the ranks: the same everywhere.
        parameters : iterable of (str, Parameter)
            With their gradients; those that are not finite are named.

        Raises
        ------
        DivergedError
            As :meth:`check_loss`; the rank is not known any more.
        """
        if not self._looks or math.isfinite(norm.item()):
            return
        found = _non_finite((name, p.grad) for name, p in parameters if p.grad is not None)
        rank = 0 if self.distributed.world_size == 1 else None  # averaged: it has come to everybody
        self._stop("gradient norm", norm.item(), rank, self.distributed.collect(self._terms), found)

    def check_weights(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Raise if a weight is not finite. Called before an evaluation, and before a checkpoint is written: the last is good.

        Raises
        ------
        DivergedError
            Naming the parameters; the step is the one that has moved them there.
        """
        found = _non_finite((name, p.detach()) for name, p in parameters)
        if self._place and self.distributed.any(bool(found)):  # before the first batch they are what was loaded
            rank = 0 if self.distributed.world_size == 1 else None
            self._stop("weights", math.nan, rank, self.distributed.collect(self._terms), found)

    def check_outputs(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise if what the model gives in an evaluation is not finite on some rank: finite weights can be too large as well.

        Parameters
        ----------
        outputs : dict
            Name and value, of any shape: the prediction and the representations of one batch.

        Raises
        ------
        DivergedError
            Naming output, value, rank and the last step before the evaluation.
        """
        largest = _largest(outputs)
        if self.distributed.any(_first_non_finite(largest) is not None):
            everyone = self.distributed.collect(largest)
            rank, term = next((k, name) for k, each in enumerate(everyone) if (name := _first_non_finite(each)))
            terms = self.distributed.collect(self._terms)
            self._stop(term, everyone[rank][term], rank, terms, during="evaluation")

    @property
    def _looks(self) -> bool:
        return self.distributed.device.type == "cpu" or (self.progress.step + 1) % self.every_steps == 0

    def _stop(
        self,
        term: str,
        value: float,
        rank: int | None,
        terms: list[dict[str, float]],
        parameters: Sequence[str] = (),
        during: str = "training",
    ) -> NoReturn:
        """Write the record and raise. Called on all ranks, or hangs."""
        newest = next(iter(reversed(self.checkpoints.all())), None)
        record = {
            **(self._place or {"step": self.progress.step - 1}),  # an evaluation after a step of an earlier process
            "during": during,
            "term": term,
            "value": plain_number(value),
            "rank": rank,
            "seed": self.seed,
            "ranks": self.distributed.world_size,
            "threads": torch.get_num_threads(),
            "parameters": list(parameters),
            "checkpoint": newest and newest.name,
            "terms": [{name: plain_number(each[name]) for name in each} for each in terms],
            "samples": self.distributed.collect(torch.as_tensor(self._samples).tolist()),
        }
        if not self._place:
            del record["terms"], record["samples"]
        if self.writes:
            try:
                self.folder.write_divergence(record)
            except OSError as error:  # the divergence is what ends the run
                _message.error("%s cannot be written: %s", self.folder.diverged, error)
        self.distributed.any(False)  # written, before anybody goes: where one has gone a launcher ends the others
        raise DivergedError(self._sentence(record), record)

    def _sentence(self, record: dict[str, Any]) -> str:
        rank = "all ranks" if record["rank"] is None else f"rank {record['rank']}"
        checkpoint = record["checkpoint"] or "the beginning"
        if record["step"] < 0:
            return f"{record['term']} is {record['value']} before the first step, {rank}: the weights it begins with give it"
        advice = (
            f"'python3 -m ssl_core.diagnostics.replay {self.folder.path}' shows the step again; a lower optim.lr, or "
            "optim.grad_max_norm, often helps"
        )
        if record["during"] == "evaluation":
            return (
                f"{record['term']} is {record['value']} in the evaluation after step {record['step']}, {rank}: the weights are "
                f"finite, but what they give is not; the newest checkpoint is {checkpoint}; {advice}"
            )
        place = f"at epoch {record['epoch'] + 1}, batch {record['batch']}, step {record['step']}, {rank}"
        names = record["parameters"]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        where = f", not finite in {', '.join(names[:3])}{more}" if names else ""
        if record["term"] == "weights":
            what, moved = f"weights are not finite {place}{where}", "no checkpoint is written of them"
        else:
            what, moved = f"{record['term']} is {record['value']} {place}{where}", "the optimizer has not moved"
        samples = record["samples"][record["rank"] or 0]
        return f"{what}: {moved}; samples {samples[:8]}...; the last good state is {checkpoint}; {advice}"


def plain_number(value: float) -> float | str:
    """Return a number as JSON can hold it: bit by bit, and ``"nan"``, ``"inf"`` or ``"-inf"`` as words."""
    return value if math.isfinite(value) else str(value)


def _first_non_finite(terms: Mapping[str, float]) -> str | None:
    return next((name for name, value in terms.items() if not math.isfinite(value)), None)


def _largest(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the largest magnitude in each tensor, not finite where anything in it is not; waits for the device once."""
    largest = {name: tensor.detach().abs().max().double() for name, tensor in tensors.items() if tensor.numel()}
    return dict(zip(largest, torch.stack([*largest.values()]).tolist())) if largest else {}


def _non_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors in which something is not finite; waits for the device once."""
    named = dict(tensors)
    if not named:
        return []
    finite = torch.stack([full_tensor(torch.isfinite(tensor).all()) for tensor in named.values()]).tolist()
    return [name for name, is_finite in zip(named, finite) if not is_finite]

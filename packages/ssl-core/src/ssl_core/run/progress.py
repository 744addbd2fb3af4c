"""Counters of a run."""

from dataclasses import asdict, dataclass


@dataclass
class Progress:
    """Counters of a run: everything else about time is a pure function of them."""

    epoch: int = 0  # epochs trained
    batch: int = 0  # batches of the next epoch that are done
    step: int = 0  # optimizer steps since the beginning
    between_epochs: bool = False  # the last epoch is trained; its evaluation is not done yet

    def end_epoch(self) -> None:
        """All batches of an epoch are done."""
        self.epoch, self.batch, self.between_epochs = self.epoch + 1, 0, True

    def state_dict(self) -> dict[str, int]:
        """Return the counters."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the counters over."""
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.between_epochs = bool(state["between_epochs"])

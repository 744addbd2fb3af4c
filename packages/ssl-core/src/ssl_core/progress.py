"""Where a run stands. Together with the state dicts this is all that a checkpoint needs to go on."""

from dataclasses import asdict, dataclass


@dataclass
class Progress:
    """Counters of a run: everything else about time is a pure function of them."""

    epoch: int = 0  # epochs finished
    batch: int = 0  # batches of this epoch that are done
    step: int = 0  # optimizer steps since the beginning

    def state_dict(self) -> dict[str, int]:
        """Return the counters."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take the counters over."""
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]

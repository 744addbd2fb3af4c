"""Selection of the metrics of a report: those of an offline protocol if there is one, else those of training."""

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_eval.metrics.registry import accuracies, in_order
from ssl_eval.report.evaluation_tables import OfflineProtocol, values_of
from ssl_eval.runs.seed_groups import RunGroup

ONLINE = "Protocol: online, kNN and probes as evaluated in training, last evaluation of each run."


@dataclass
class Measures:
    """Metrics by name, of any group.

    Attributes
    ----------
    names : list of str
        In the order of a table.
    caption : str
        Sentence on their source, for captions.
    protocol : OfflineProtocol, optional
        None for the metrics of training.
    """

    names: list[str]
    caption: str = ONLINE
    protocol: OfflineProtocol | None = None

    @property
    def accuracies(self) -> list[str]:
        return accuracies(self.names)

    def values(self, group: RunGroup, name: str) -> list[float]:
        """Return a metric of each run of a group that has it."""
        return group.values(name) if self.protocol is None else values_of(self.protocol.of(group), name)

    @property
    def datasets(self) -> int:
        """The number of data sets; with several their names are printed."""
        return len({each.rpartition("/")[0] for each in self.names})


def measures_of(groups: Sequence[RunGroup], protocols: Sequence[OfflineProtocol]) -> Measures:
    """Return the numbers of the protocol that most runs were evaluated by; those of training without one."""
    if protocols:
        protocol = max(protocols, key=lambda p: sum(len(p.of(group)) for group in groups))
        names = {name for group in groups for evaluation in protocol.of(group) for name in evaluation.metrics}
        return Measures(in_order(names), offline(protocol), protocol)
    names = {name for group in groups for record in group.records for name in record.metrics if name[:6] != "train/"}
    return Measures(in_order(names))


def offline(protocol: OfflineProtocol) -> str:
    """Return the sentence of a caption for an offline protocol."""
    return f"Protocol: {protocol.name}, offline on the last checkpoint of each run that was evaluated."

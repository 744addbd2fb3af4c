"""Selection of the metrics of a report: those of an offline protocol if there is one, else those of training."""

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_eval.metrics.registry import in_order, is_accuracy, readable
from ssl_eval.report.evaluation_tables import OfflineProtocol, values_of
from ssl_eval.runs.seed_groups import RunGroup

ONLINE = "Protocol: online, kNN and probes as evaluated in training, last evaluation of each run."
MAIN = ("linear", "probe", "knn")  # the main accuracy is the first of these


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
        return [name for name in self.names if is_accuracy(name)]

    @property
    def main_accuracy(self) -> str | None:
        """The main accuracy; None if there is no accuracy."""
        for kind in MAIN:
            for name in self.accuracies:
                if name.rpartition("/")[2].startswith(kind):
                    return name
        return self.accuracies[0] if self.accuracies else None

    def values(self, group: RunGroup, name: str) -> list[float]:
        """Return a metric of each run of a group that has it."""
        return group.values(name) if self.protocol is None else values_of(self.protocol.of(group), name)

    def readable(self, name: str) -> str:
        """Return the printed form of a name."""
        return readable(name, len({each.rpartition("/")[0] for each in self.names}))


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

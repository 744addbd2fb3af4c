"""Selection of the metrics of a report: those of an offline protocol if there is one, else those of training."""

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_eval.metrics.registry import accuracies, in_order
from ssl_eval.report.evaluation_tables import OfflineProtocol, values_of
from ssl_eval.runs.seed_groups import RunGroup, flatten

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


def measures_of(groups: Sequence[RunGroup], protocols: Sequence[OfflineProtocol], dataset: str = "") -> Measures:
    """Return the numbers of the protocol that most runs were evaluated by; those of training without one.

    ``dataset``: use its numbers only; empty: those of all data sets.
    """
    protocols = [protocol for protocol in protocols if not dataset or protocol.dataset == dataset]
    if protocols:
        protocol = max(protocols, key=lambda p: sum(len(p.of(group)) for group in groups))
        names = {name for group in groups for evaluation in protocol.of(group) for name in evaluation.metrics}
        return Measures(in_order(names), offline(protocol), protocol)
    names = {name for group in groups for record in group.records for name in record.metrics if name[:6] != "train/"}
    return Measures(in_order(name for name in names if not dataset or name.rpartition("/")[0] == dataset))


def datasets_of(group: RunGroup) -> list[str]:
    """Return the data sets that the runs of a group were evaluated on, in training or offline."""
    names = [name.rpartition("/")[0] for record in group.records for name in record.metrics if name[:6] != "train/"]
    evaluated = [e.dataset for record in group.records for e in record.evaluations.values()]
    return [name for name in dict.fromkeys([*names, *evaluated]) if name]


def by_dataset(groups: Sequence[RunGroup]) -> dict[str, list[RunGroup]]:
    """Return the groups of each data set; all under an empty name where there is one data set or one group.

    A group that was not evaluated yet is with those of the same ``data.dataset``, or else with every data set.
    """
    found = [datasets_of(group) for group in groups]
    names = list(dict.fromkeys(name for each in found for name in each))
    if len(names) < 2 or len(groups) < 2:
        return {"": list(groups)}
    configured = [flatten(group.records[0].config).get("data.dataset") for group in groups]
    for number, own in enumerate(configured):
        if not found[number]:
            same = [name for other, each in zip(configured, found) if other == own for name in each]
            found[number] = same or names
    return {name: [group for group, each in zip(groups, found) if name in each] for name in names}


def offline(protocol: OfflineProtocol) -> str:
    """Return the sentence of a caption for an offline protocol."""
    return f"Protocol: {protocol.name}, offline on the last checkpoint of each run that was evaluated."

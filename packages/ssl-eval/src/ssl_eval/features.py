"""The frozen features of one encoder, as probes and evaluations take them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ssl_eval.results import Result
from ssl_eval.validation import check_labels, check_pair, check_tensor


@dataclass(frozen=True, eq=False, repr=False)
class Tokens(Result):
    """Frozen tokens of a vision transformer, for the probes on tokens.

    Attributes
    ----------
    train, test : Tensor
        ``(N, L, D)`` and ``(M, L, D)``, of the last block: the class token, if there is one, and the patches.
    train_blocks, test_blocks : Tensor
        ``(N, B, 2, D)`` and ``(M, B, 2, D)``, of the last B blocks: the class token, and the mean of the patches.
    """

    train: Tensor
    test: Tensor
    train_blocks: Tensor
    test_blocks: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Features(Result):
    """Frozen features of one encoder, with their labels.

    Every probe takes it as the only argument in place of four tensors: ``linear_probe(features)``.

    Attributes
    ----------
    train, test : Tensor
        ``(N, D)`` and ``(M, D)``, of any real dtype, on one device.
    train_labels, test_labels : Tensor
        ``(N,)`` and ``(M,)`` integer in ``0..K-1``, or -1 for a sample without a label.
    class_names : sequence of str
        Names of the K classes. Default: their numbers.
    views : Tensor, optional
        ``(n, q, D)``: q augmented views of n images, for LiDAR and the alignment.
    tokens : Tokens, optional
        Tokens of the same samples, for the probes on tokens.
    ood : mapping of str to Tensor
        Name of another data set -> features ``(L, D)`` of its images, for the detection of images out of distribution.

    Examples
    --------
    >>> import torch
    >>> Features(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), torch.zeros(2, 2), torch.tensor([0, 1]))
    ... # doctest: +NORMALIZE_WHITESPACE
    Features(train=float32 (4, 2), train_labels=int64 (4,), test=float32 (2, 2), test_labels=int64 (2,), class_names=(),
             views=None, tokens=None, ood={})
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    class_names: Sequence[str] = ()
    views: Tensor | None = None
    tokens: Tokens | None = None
    ood: Mapping[str, Tensor] = field(default_factory=dict)

    def labelled(self) -> "Features":
        """Return the samples that have a label.

        Raises
        ------
        ValueError
            If features hold NaN, or shapes, types or devices disagree.
        """
        check_pair(self.train, self.test)
        kept: dict[str, Tensor] = {}
        tokens: dict[str, Tensor] = {}
        for part, rows, labels in (("train", self.train, self.train_labels), ("test", self.test, self.test_labels)):
            check_tensor(f"{part}_labels", labels)
            check_labels(f"{part}_labels", labels.where(labels != -1, labels.new_zeros(())), len(rows))
            known = labels >= 0
            if not bool(known.all()):
                kept |= {part: rows[known.to(rows.device)], f"{part}_labels": labels[known]}
                for name in (part, f"{part}_blocks") if self.tokens is not None else ():
                    tokens[name] = getattr(self.tokens, name)[known]
        chosen = self.tokens if self.tokens is None else replace(self.tokens, **tokens)
        return replace(self, tokens=chosen, **kept)  # type: ignore[arg-type]


def split_of(train: Tensor | Features, *rest: Tensor | None) -> tuple[Tensor, ...]:
    """Return what a probe is fitted to and tested on, of :class:`Features` or of tensors, which are returned as given.

    ``rest`` is ``train_labels, test_features``, and ``test_labels`` for a probe that counts its hits. Of :class:`Features`
    samples without a label are left out, but for the test samples of a probe that only scores them.

    Raises
    ------
    TypeError
        If tensors are missing, or given together with :class:`Features`.
    """
    if isinstance(train, Features):
        if any(each is not None for each in rest):
            raise TypeError("Features hold labels and test features: pass options by keyword, e.g. knn(features, k=20)")
        known = train.labelled()
        if len(rest) == 2:
            return known.train, known.train_labels, train.test
        return known.train, known.train_labels, known.test, known.test_labels
    tensors = tuple(each for each in rest if each is not None)
    if len(tensors) < len(rest):
        names = ", ".join(("train_features", "train_labels", "test_features", "test_labels")[: len(rest) + 1])
        raise TypeError(f"expected {names}, or one ssl_eval.Features")
    return train, *tensors

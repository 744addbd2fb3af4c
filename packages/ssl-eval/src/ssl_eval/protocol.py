"""Evaluation protocols. No torch is imported here, so that an invalid protocol is reported at once.

``metadata`` has the allowed values of a field: ``low`` (inclusive) and ``above`` (exclusive).
"""

from dataclasses import dataclass, field, fields

SETTINGS = (
    "name",
    "temperature",
    "draws",
    "ood_k",
    "uniformity_samples",
    "pictures",
    "seed",
)  # fields that ask for no metric


@dataclass
class Protocol:
    """The metrics that :func:`ssl_eval.evaluate_features` computes; ``False``, 0 or an empty list omits one."""

    name: str = "standard"  # name of the result, ``eval/<name>.json``
    knn: list[int] = field(default_factory=lambda: [20, 200])  # kNN with k neighbours; all, if there are fewer images
    temperature: float = field(default=0.07, metadata={"above": 0.0})  # temperature of the votes of kNN
    linear: bool = True  # logistic regression to convergence, with accuracy per class, confusion, calibration and hits
    sgd: bool = False  # linear probe by SGD with a grid of learning rates, as in most papers
    ridge: bool = False  # least squares, the regularisation chosen by leave-one-out validation
    attentive_probe: bool = False  # cross-attention on the tokens of a ViT, with a grid of learning rates
    multilayer_linear_probe: bool = False  # linear probe on class token and mean patch of the last blocks of a ViT
    class_means: bool = False  # nearest class mean
    few: list[float] = field(default_factory=lambda: [0.01, 0.1])  # linear probe from n labels per class, or a share
    draws: int = field(default=5, metadata={"low": 1})  # draws of training samples for each entry of ``few``
    episodic: list[int] = field(default_factory=list)  # 600 five-way tasks with k labelled test images of each class
    label_free: bool = True  # RankMe, alpha-ReQ, NESum, stable rank, uniformity; with views, LiDAR and alignment
    retrieval: list[int] = field(default_factory=list)  # recall@k of test images among the others, and their mAP
    clustering: bool = False  # k-means with K clusters on the test images: NMI, ARI, accuracy
    ood_k: int = field(
        default=50, metadata={"low": 1}
    )  # k of the kNN distance to images of another data set (ood=NAME)
    map_samples: int = field(default=1000, metadata={"low": 0})  # test images in the 2-D projections (PCA, t-SNE, UMAP)
    pictures: int = field(default=8, metadata={"low": 0})  # test images in each picture; 0: no pictures
    uniformity_samples: int = field(default=5000, metadata={"low": 2})  # features whose pairs the uniformity compares
    seed: int = field(default=0, metadata={"low": 0})  # random seed of held-out samples, draws and k-means starts

    @property
    def is_empty(self) -> bool:
        """Whether no metric is computed from features."""
        return not any(getattr(self, each.name) for each in fields(self) if each.name not in SETTINGS)

    @property
    def needs_tokens(self) -> bool:
        """Whether one of the metrics is computed from tokens."""
        return self.attentive_probe or self.multilayer_linear_probe

    def check(self) -> None:
        """Raise a ValueError that begins with the field, for conditions beyond the metadata of one field.

        Examples
        --------
        >>> Protocol(knn=[0]).check()
        Traceback (most recent call last):
        ...
        ValueError: knn=[0]: expected numbers of at least 1
        """
        if not self.name.strip() or "/" in self.name:
            raise ValueError(f"name={self.name!r}: expected the name of a file, without its folder")
        for key in ("knn", "retrieval", "episodic"):
            if any(k < 1 for k in getattr(self, key)):
                raise ValueError(f"{key}={getattr(self, key)}: expected numbers of at least 1")
        if any(not 0 < labels < float("inf") or (labels > 1 and labels % 1) for labels in self.few):
            raise ValueError(f"few={self.few}: expected whole numbers of labels a class, or shares between 0 and 1")

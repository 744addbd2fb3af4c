"""Data sets of transfer tables and their customary metrics (Kornblith et al. 2019). Imports nothing."""

#: Name -> customary metric: that of table 1 of https://arxiv.org/abs/1805.08974, else top-1 accuracy.
CUSTOMARY = {
    "Food101": "accuracy", "CIFAR10": "accuracy", "CIFAR100": "accuracy", "SUN397": "accuracy", "StanfordCars": "accuracy",
    "FGVCAircraft": "mean_per_class", "VOC2007": "voc_map", "DTD": "accuracy", "OxfordIIITPet": "mean_per_class",
    "Caltech101": "mean_per_class", "Flowers102": "mean_per_class", "Birdsnap": "accuracy",
    "STL10": "accuracy", "SVHN": "accuracy", "MNIST": "accuracy", "FashionMNIST": "accuracy", "KMNIST": "accuracy",
    "GTSRB": "accuracy", "Country211": "accuracy", "RenderedSST2": "accuracy",
    "digits": "accuracy", "affine_digits": "accuracy",
}  # fmt: skip
ONLY_FOLDERS = ("SUN397", "Birdsnap")  # torchvision has not these, or not their splits: root/sun397/train/CLASS/*.jpg
EMBEDDED = ("digits", "affine_digits")


def is_folder_name(name: str) -> bool:
    """Return whether an entry of a list of data sets is a path, and not a name.

    Examples
    --------
    >>> is_folder_name("data/birds"), is_folder_name("./birds"), is_folder_name("CIFAR10")
    (True, True, False)
    """
    return "/" in name or name in (".", "..")

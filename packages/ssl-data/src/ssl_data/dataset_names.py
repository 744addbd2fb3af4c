"""Names and native sizes of the data sets. Imports nothing."""

DATASETS = {  # name -> what it is; from CIFAR10 to FakeData, torchvision's
    "digits": "1,797 handwritten digits of scikit-learn, 8 x 8 gray, 10 classes; embedded, no download",
    "affine_digits": "the digits, each shifted, turned, sheared and scaled at random, 16 x 16 gray, 10 classes; embedded",
    "ImageFolder": "your images: ROOT/train/CLASS/*.jpg and ROOT/test/CLASS/*.jpg",
    "Beton": "FFCV files: ROOT/train.beton and ROOT/test.beton",
    "CIFAR10": "60,000 photographs, 32 x 32, 10 classes",
    "CIFAR100": "60,000 photographs, 32 x 32, 100 classes",
    "STL10": "13,000 labelled and 100,000 unlabelled photographs, 96 x 96, 10 classes",
    "SVHN": "99,289 house numbers, 32 x 32, 10 classes",
    "FashionMNIST": "70,000 pieces of clothing, 28 x 28 gray, 10 classes",
    "MNIST": "70,000 handwritten digits, 28 x 28 gray, 10 classes",
    "KMNIST": "70,000 handwritten Japanese characters, 28 x 28 gray, 10 classes",
    "EMNIST": "handwritten letters and digits, 28 x 28 gray, up to 62 classes",
    "FakeData": "random pixels, for tests",
    "huggingface": "a data set of Hugging Face: data.root=org/name, or a folder of save_to_disk",
    "objects": "data sets in Python: DataConfig.of(train=..., test=...)",
}

EMBEDDED = ("digits", "affine_digits")  # <name>.npz of this package

NATIVE_SIZES = {  # pixels; 16 of the digits, since 8 leave no room for convolutions
    "digits": 16, "affine_digits": 16, "CIFAR10": 32, "CIFAR100": 32, "STL10": 96, "SVHN": 32, "FashionMNIST": 28,
    "MNIST": 28, "KMNIST": 28, "EMNIST": 28,
}  # fmt: skip

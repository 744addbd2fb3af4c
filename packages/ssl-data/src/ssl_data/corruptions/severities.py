"""Published constants of each corruption and severity, for three sizes of images. Imports nothing.

Those of ImageNet-C (224 pixels), Tiny ImageNet-C (64) and CIFAR-10-C (32), from the authors' code
(https://github.com/hendrycks/robustness, ``create_c``).
"""

from typing import Any

#: The corruptions of the benchmark whose error the mCE averages. The fifteenth, frost, is made of photographs of ice.
BENCHMARK = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "fog",
    "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
#: Those that the authors keep for validation, and not for the mCE. The fourth, spatter, needs OpenCV.
VALIDATION = ("speckle_noise", "gaussian_blur", "saturate")
CORRUPTIONS = (*BENCHMARK, *VALIDATION)
SEVERITIES = (1, 2, 3, 4, 5)

TABLES = {32: "CIFAR-10-C", 64: "Tiny ImageNet-C", 224: "ImageNet-C"}  # pixels that the constants are made for
_UPPER = {32: 48, 64: 128}  # the largest edge, in pixels, for which they are taken here


# Corruption -> pixels -> the constants of severity 1 to 5
_CONSTANTS: dict[str, dict[int, tuple[Any, ...]]] = {
    "gaussian_noise": {  # standard deviation
        32: (0.04, 0.06, 0.08, 0.09, 0.10), 64: (0.04, 0.08, 0.12, 0.15, 0.18), 224: (0.08, 0.12, 0.18, 0.26, 0.38),
    },
    "shot_noise": {  # photons of a white pixel
        32: (500, 250, 100, 75, 50), 64: (250, 100, 50, 30, 15), 224: (60, 25, 12, 5, 3),
    },
    "impulse_noise": {  # share of the values
        32: (0.01, 0.02, 0.03, 0.05, 0.07), 64: (0.01, 0.02, 0.05, 0.08, 0.14), 224: (0.03, 0.06, 0.09, 0.17, 0.27),
    },
    "speckle_noise": {  # standard deviation over the value
        32: (0.06, 0.1, 0.12, 0.16, 0.2), 64: (0.15, 0.2, 0.25, 0.3, 0.35), 224: (0.15, 0.2, 0.35, 0.45, 0.6),
    },
    "gaussian_blur": {  # sigma
        32: (0.4, 0.6, 0.7, 0.8, 1), 64: (0.5, 0.75, 1, 1.25, 1.5), 224: (1, 2, 3, 4, 6),
    },
    "glass_blur": {  # sigma, largest shift, iterations
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    },
    "defocus_blur": {  # radius of the disk, sigma that smooths its edge
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    "motion_blur": {  # radius, sigma
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    },
    "zoom_blur": {  # end of the factors from 1 (excluded), step
        32: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        64: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    },
    "snow": {  # mean, deviation, zoom, threshold, radius and sigma of the motion, share of the image
        32: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        64: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8), (0.1, 0.2, 1, 0.5, 10, 4, 0.8), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        224: (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    },
    "fog": {  # strength, decay of the fractal
        32: ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        64: ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        224: ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    },
    "brightness": {  # added to the value of HSV
        32: (0.05, 0.1, 0.15, 0.2, 0.3), 64: (0.1, 0.2, 0.3, 0.4, 0.5), 224: (0.1, 0.2, 0.3, 0.4, 0.5),
    },
    "contrast": {  # factor
        32: (0.75, 0.5, 0.4, 0.3, 0.15), 64: (0.4, 0.3, 0.2, 0.1, 0.05), 224: (0.4, 0.3, 0.2, 0.1, 0.05),
    },
    "saturate": {  # factor of the saturation of HSV, added to it
        32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
    "elastic_transform": {  # pixels: strength, sigma, shift of the corners; each over ``pixels``. 244 is the authors' number
        32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        224: tuple(
            tuple(244 / 224 * value for value in values)
            for values in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    },
    "pixelate": {  # share of the edge
        32: (0.95, 0.9, 0.85, 0.75, 0.65), 64: (0.9, 0.8, 0.7, 0.6, 0.5), 224: (0.6, 0.5, 0.4, 0.3, 0.25),
    },
    "jpeg_compression": {  # quality
        32: (80, 65, 58, 50, 40), 64: (65, 58, 50, 40, 25), 224: (25, 18, 15, 10, 7),
    },
}  # fmt: skip


def table_for(edge: int) -> int:
    """Return whose constants are taken for images of an edge: 32 up to 48 pixels, 64 up to 128, else 224.

    Examples
    --------
    >>> [table_for(edge) for edge in (28, 32, 96, 224)]
    [32, 32, 64, 224]
    """
    return next((table for table, upper in _UPPER.items() if edge <= upper), 224)


def constants(corruption: str, severity: int, edge: int) -> tuple[float, ...]:
    """Return the constants of a corruption at a severity from 1 to 5, for images of an edge in pixels.

    Examples
    --------
    >>> constants("gaussian_noise", 5, 224), constants("defocus_blur", 5, 224)
    ((0.38,), (10, 0.5))
    """
    found = _CONSTANTS[corruption][table_for(edge)][severity - 1]
    return found if isinstance(found, tuple) else (found,)

import math

import torch
from contract import SAMPLES, Case


def plain(prediction, target, mask, beta):
    """Smooth L1, one number after another, against features with mean 0 and (biased) variance 1."""
    errors = []
    for of_image, features, masked in zip(prediction, target, mask):
        for patch, true, is_masked in zip(of_image, features, masked):
            if is_masked:
                true = (true - true.mean()) / math.sqrt(float(true.var(correction=0)) + 1e-5)
                distances = [abs(float(a) - float(b)) for a, b in zip(patch, true)]
                errors.append(sum(d**2 / 2 / beta if d < beta else d - beta / 2 for d in distances) / len(true))
    return sum(errors) / len(errors)


def arguments(embed, part):
    """Two patches an image; the first half of the samples has more masked than the second."""
    number = torch.arange(SAMPLES)[part]
    mask = torch.stack([number % 4 != 1, (number % 3 == 0) & (number < SAMPLES // 2)], 1)
    return torch.stack([embed(0), embed(1)], 1), torch.stack([embed(2), embed(3)], 1), mask


CASE = Case(plain, options={"beta": 0.7}, arguments=arguments, targets=frozenset({2, 3}))

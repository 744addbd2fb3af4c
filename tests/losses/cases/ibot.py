import math

import torch
from contract import SAMPLES, WIDTH, Case


def softmax(row, temperature):
    exponentials = [math.exp(float(x) / temperature) for x in row]
    return [e / sum(exponentials) for e in exponentials]


def plain(student, teacher, mask, state, student_temperature, teacher_temperature, **_):
    """The mean over each image's masked patches, 0 without one, then over the images."""
    total = 0.0
    for of_student, of_teacher, masked in zip(student, teacher, mask):
        entropies = []
        for a, b, is_masked in zip(of_teacher, of_student, masked):
            if is_masked:
                target = softmax(a - state["center"], teacher_temperature)
                prediction = softmax(b, student_temperature)
                entropies.append(-sum(q * math.log(p) for q, p in zip(target, prediction)))
        total += sum(entropies) / max(1, len(entropies))
    return total / len(mask)


def next_state(state, student, teacher, mask, center_momentum, **_):
    patches = [patch for image in teacher for patch in image]
    return {"center": center_momentum * state["center"] + (1 - center_momentum) * sum(patches) / len(patches)}


def arguments(embed, part):
    """Three patches an image, of which sample i has i modulo 4 masked: another number on each rank."""
    number = torch.arange(SAMPLES)[part]
    mask = torch.arange(3) < (number % 4)[:, None]
    return torch.stack([embed(0), embed(1), embed(2)], 1), torch.stack([embed(3), embed(4), embed(5)], 1), mask


CASE = Case(
    plain,
    options={
        "num_prototypes": WIDTH,
        "student_temperature": 0.5,
        "teacher_temperature": 0.3,
        "center_momentum": 0.8,
    },
    arguments=arguments,
    targets=frozenset({3, 4, 5}),
    next_state=next_state,
)

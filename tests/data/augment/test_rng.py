"""Oracle: the known answers that the authors of Philox publish with Random123 (kat_vectors, philox4x32 with 10 rounds)."""

import numpy as np
import pytest

from ssl_data.augment.rng import normals, philox, uniforms

KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [np.uint64(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    assert [int(word) for word in philox(*words(counter), *words(key))] == [int(word) for word in words(answer)]


def test_generator_equals_numpys_with_64_bits_shortened():
    """Every argument of the place changes the numbers."""
    places = [
        (0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0),
        (0, 1, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 0, 0, 1, 0),
        (0, 0, 0, 0, 1),
        (2**40, 0, 0, 0, 0),
    ]
    assert len({uniforms(*place) for place in places}) == len(places)


def test_uniforms_are_uniform_and_normals_are_normal():
    """Oracle: the moments; 40,000 numbers of one view each."""
    flat = np.array([uniforms(3, 0, index, 0, 0) for index in range(10_000)]).ravel()
    assert 0 <= flat.min() < 0.001
    assert 0.999 < flat.max() < 1
    assert abs(flat.mean() - 0.5) < 0.005
    assert abs(flat.var() - 1 / 12) < 0.002
    bell = np.array([normals(2**40 + 3, index) for index in range(10_000)]).ravel()
    assert abs(bell.mean()) < 0.02
    assert abs(bell.std() - 1) < 0.02
    assert abs((bell**4).mean() - 3) < 0.15

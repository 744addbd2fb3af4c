"""GradCache against the gradient of the whole batch at once, in float64. On several ranks: ``test_distributed.py``."""

import pytest
import torch
from ranks import encoders
from torch import nn

from ssl_losses import grad_cache, negative_cosine_similarity, nt_xent, supcon


def flat_gradient(*modules):
    return torch.cat([p.grad.flatten() for module in modules for p in module.parameters()])


def encoder_with(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *layers, nn.Linear(8, 4)).double()


def batch():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(10, 6, generator=generator, dtype=torch.float64) for _ in range(2)]


def assert_near(found, expected):
    assert expected.norm() > 0
    assert (found - expected).norm() <= 1e-10 * expected.norm()


@pytest.mark.parametrize("chunk_size", [1, 4, 10, 100])
def test_gradient_is_that_of_the_whole_batch(chunk_size):
    encoder, (a, b) = encoder_with(), batch()
    loss = grad_cache(encoder, [a, b], nt_xent, chunk_size)
    found = flat_gradient(encoder)
    encoder.zero_grad()
    expected = nt_xent(encoder(a), encoder(b))
    expected.backward()
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert_near(found, flat_gradient(encoder))


def test_dropout_is_the_same_in_both_passes():
    """Oracle: the chunks embedded one after another with the graph of all, from the same seed."""
    encoder, (a, b) = encoder_with(nn.Dropout(0.5)), batch()
    torch.manual_seed(5)
    grad_cache(encoder, [a, b], nt_xent, chunk_size=4)
    found, next_random = flat_gradient(encoder), torch.rand(3)
    encoder.zero_grad()
    torch.manual_seed(5)
    embeddings = [torch.cat([encoder(chunk) for chunk in x.split(4)]) for x in (a, b)]
    nt_xent(*embeddings).backward()
    assert_near(found, flat_gradient(encoder))
    assert torch.equal(next_random, torch.rand(3))  # what comes after the step is not moved by the replay


def test_running_statistics_see_the_batch_once():
    """Oracle: the chunks embedded one after another with the graph of all."""
    (encoder, reference), (a, b) = (encoder_with(nn.BatchNorm1d(8)) for _ in range(2)), batch()
    grad_cache(encoder, [a, b], nt_xent, chunk_size=5)
    nt_xent(*(torch.cat([reference(chunk) for chunk in x.split(5)]) for x in (a, b))).backward()
    assert_near(flat_gradient(encoder), flat_gradient(reference))
    for ours, theirs in zip(encoder.buffers(), reference.buffers()):
        torch.testing.assert_close(ours, theirs)


def test_two_encoders_and_a_criterion_that_learns():
    images, texts, criterion, x, y = encoders()
    grad_cache([images, texts], [x, y], criterion, chunk_size=5)
    found = flat_gradient(images, texts, criterion)
    for module in (images, texts, criterion):
        module.zero_grad()
    criterion(images(x), texts(y)).backward()
    assert_near(found, flat_gradient(images, texts, criterion))


def test_gradients_are_added_as_backward_adds_them():
    encoder, (a, b) = encoder_with(), batch()
    grad_cache(encoder, [a, b], nt_xent, chunk_size=4)
    once = flat_gradient(encoder)
    grad_cache(encoder, [a, b], nt_xent, chunk_size=4)
    assert_near(flat_gradient(encoder), 2 * once)


def test_labels_and_a_scaled_loss():
    encoder, (a, b) = encoder_with(), batch()
    labels = torch.arange(10) % 3

    def criterion(z1, z2):
        return supcon([z1, z2], labels)

    loss = grad_cache(encoder, [a, b], criterion, chunk_size=4, scale=lambda loss: 1024 * loss)
    found = flat_gradient(encoder)
    encoder.zero_grad()
    expected = criterion(encoder(a), encoder(b))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item())
    assert_near(found, 1024 * flat_gradient(encoder))


def test_target_is_embedded_once():
    student, teacher, (a, b) = encoder_with(), encoder_with(), batch()
    calls = []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    grad_cache([student, teacher], [a, b], negative_cosine_similarity, chunk_size=5)
    found = flat_gradient(student)
    assert len(calls) == 2
    assert all(p.grad is None for p in teacher.parameters())
    student.zero_grad()
    negative_cosine_similarity(student(a), teacher(b)).backward()
    assert_near(found, flat_gradient(student))


def test_bad_arguments_raise():
    encoder, (a, b) = encoder_with(), batch()
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        grad_cache(encoder, [a, b], nt_xent, chunk_size=0)
    with pytest.raises(ValueError, match="got 3 encoders and 2 views"):
        grad_cache([encoder] * 3, [a, b], nt_xent, chunk_size=4)

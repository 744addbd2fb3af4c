"""Probes on tokens: the attentive probe and the linear probe of several layers."""

import math

import pytest
import torch
from torch import nn

from ssl_eval import attentive_probe, multilayer_linear_probe
from ssl_eval.probes.attentive import AttentionBlock, AttentiveClassifier
from ssl_eval.probes.linear import standardization


def tokens_of(samples, seed, blocks=3, width=6, num_classes=3):
    """Class tokens with more of the class in earlier blocks, and means of patches with the rest of it."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % num_classes
    tokens = torch.randn(samples, blocks, 2, width, generator=generator, dtype=torch.float64)
    tokens[:, 0, 0, :num_classes] += 3 * torch.nn.functional.one_hot(labels, num_classes)
    return tokens, labels


def test_multilayer_probe_equals_torchs_sgd_on_dinov2s_input():
    """Oracles: torch.optim.SGD and CosineAnnealingLR, on ``create_linear_input`` of dinov2/eval/linear.py."""
    (train, labels), (test, test_labels) = tokens_of(60, 0), tokens_of(30, 1)
    options = {"blocks": [2], "patches": [True], "lrs": [0.3], "epochs": 8, "batch_size": 16, "weight_decay": 1e-3}
    ours = multilayer_linear_probe(train, labels, test, test_labels, **options, seed=5)

    def dinov2_input(tokens):
        blocks = [
            (tokens[:, i, 1], tokens[:, i, 0]) for i in range(tokens.shape[1])
        ]  # patches (their mean), class token
        last = blocks[-2:]
        output = torch.cat([class_token for _, class_token in last], dim=-1)
        return torch.cat((output, blocks[-1][0]), dim=-1)

    x = dinov2_input(train)
    mean, scale = standardization(x)
    peer = nn.Linear(x.shape[1], 3, dtype=torch.float64)
    nn.init.zeros_(peer.weight)
    nn.init.zeros_(peer.bias)
    optimizer = torch.optim.SGD(
        [{"params": [peer.weight], "weight_decay": 1e-3}, {"params": [peer.bias]}], lr=0.3, momentum=0.9
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8 * 4)
    generator = torch.Generator().manual_seed(5)
    for _ in range(8):
        for batch in torch.randperm(60, generator=generator).split(16):
            loss = nn.functional.cross_entropy(peer((x[batch] - mean) / scale), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    expected = peer((dinov2_input(test) - mean) / scale)
    torch.testing.assert_close(ours.scores, expected.detach(), rtol=1e-8, atol=1e-9)


def test_multilayer_probe_finds_the_block_with_the_class():
    (train, labels), (test, test_labels) = tokens_of(120, 0), tokens_of(60, 1)
    found = multilayer_linear_probe(train, labels, test, test_labels, blocks=(1, 3), epochs=20, lrs=(0.01, 0.1))
    assert (found.blocks, found.accuracy > 0.8) == (3, True)
    assert set(found.validation_accuracies) == {
        (blocks, patches, lr) for blocks in (1, 3) for patches in (False, True) for lr in (0.01, 0.1)
    }
    assert found.validation_accuracies[found.blocks, found.patches, found.lr] == max(
        found.validation_accuracies.values()
    )


def test_choice_does_not_depend_on_test_labels():
    (train, labels), (test, test_labels) = tokens_of(60, 0), tokens_of(30, 1)
    options = {"blocks": (1, 3), "epochs": 5, "lrs": (0.01, 0.1)}
    found = [
        multilayer_linear_probe(train, labels, test, each, **options) for each in (test_labels, test_labels.flip(0))
    ]
    assert torch.equal(found[0].scores, found[1].scores)


@pytest.mark.parametrize("num_heads", [1, 3])
def test_attention_block_equals_torchs_multihead_attention(num_heads):
    """Oracle: ``torch.nn.MultiheadAttention`` with the same weights, in V-JEPA's order of norms and sums."""
    block = AttentionBlock(12, num_heads).double()
    peer = nn.MultiheadAttention(12, num_heads, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat([block.query.weight, block.key_value.weight]))
        peer.in_proj_bias.copy_(torch.cat([block.query.bias, block.key_value.bias]))
        peer.out_proj.load_state_dict(block.out.state_dict())
        nn.init.normal_(block.key_norm.weight)
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, n, 12, generator=generator, dtype=torch.float64) for n in (1, 5))
    norms = block.query_norm(queries), block.key_norm(keys)
    x = queries + peer(norms[0], norms[1], norms[1], need_weights=False)[0]
    torch.testing.assert_close(block(queries, keys), x + block.mlp(block.mlp_norm(x)))


def marked(samples, seed, length=6, width=8):
    """Tokens of which one, at a random place, has the class, and the others have larger noise: their mean says little."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 4
    tokens = torch.randn(samples, length, width, generator=generator)
    tokens[..., -1] = 0
    place = torch.randint(length, (samples,), generator=generator)
    tokens[torch.arange(samples), place] = 2 * nn.functional.one_hot(labels, width).float()
    tokens[torch.arange(samples), place, -1] = 2
    return tokens, labels


@pytest.mark.parametrize("depth", [1, 2])
def test_attentive_probe_finds_the_token_with_the_class(depth):
    (train, labels), (test, test_labels) = marked(600, 0), marked(200, 1)
    found = attentive_probe(
        train, labels, test, test_labels, depth=depth, num_heads=2, lrs=(1e-6, 1e-2), epochs=15, batch_size=64
    )
    assert found.lr == 1e-2
    assert found.accuracy > 0.9
    assert torch.equal(found.classifier(test), found.scores)
    again = attentive_probe(
        train, labels, test, test_labels, depth=depth, num_heads=2, lrs=(1e-2,), epochs=15, batch_size=64
    )
    assert torch.equal(again.scores, found.scores)
    assert again.validation_accuracies == {}


def test_attentive_probe_does_not_depend_on_shift_and_scale():
    """Tokens of a representation that has nearly collapsed differ in the third decimal only."""
    data = marked(200, 0), marked(100, 1)
    options = {"num_heads": 2, "lrs": (1e-2,), "epochs": 2, "batch_size": 64}
    scores = []
    for scale, shift in ((1.0, 0.0), (1e-3, 5.0)):
        (train, labels), (test, test_labels) = ((scale * tokens.double() + shift, each) for tokens, each in data)
        scores.append(attentive_probe(train, labels, test, test_labels, **options).scores)
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-4)


def test_attentive_training_equals_torchs_schedulers():
    """Oracles: AdamW with LinearLR and CosineAnnealingLR, over the batches of the probe."""
    (train, labels), (test, test_labels) = marked(40, 0), marked(20, 1)
    found = attentive_probe(
        train.double(), labels, test.double(), test_labels, lrs=[1e-2], epochs=5, batch_size=8, weight_decay=0.1, seed=3
    )
    peer = AttentiveClassifier(8, 4, seed=3).double()
    peer.mean = train.double().flatten(0, 1).mean(0)
    peer.scale = train.double().flatten(0, 1).std(0, correction=0)
    groups = [
        {"params": [p for p in peer.parameters() if (p.ndim == 2) == decays], "weight_decay": 0.1 * decays}
        for decays in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    warmup = round(0.1 * 25)
    generator = torch.Generator().manual_seed(3)
    step = 0
    for _ in range(5):
        for batch in torch.randperm(40, generator=generator).split(8):
            cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / (25 - warmup)))
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * min(1, (step + 1) / warmup) * cosine
            loss = nn.functional.cross_entropy(peer(train[batch].double()), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    torch.testing.assert_close(found.scores, peer(test.double()).detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: attentive_probe(x[0], y, x[0], y), r"train_tokens must be \(N, L, D\).*got \(6, 8\)"),
        (lambda x, y: attentive_probe(x, y, x[..., 1:], y), r"test_tokens must be .* got \(40, 6, 7\)"),
        (lambda x, y: attentive_probe(x, y, x, y, num_heads=3), "num_heads=3: expected .* a divisor of D=8"),
        (lambda x, y: attentive_probe(x, y, x, y, depth=0), "depth=0"),
        (lambda x, y: attentive_probe(x, y, x, y, lrs=()), r"lrs=\(\): expected learning rates above 0"),
        (lambda x, y: attentive_probe(x * torch.nan, y, x, y), "must be finite"),
        (lambda x, y: attentive_probe(x, y, x, y, lrs=(1e30, 1e31), epochs=3), "all of them diverge"),
        (lambda x, y: multilayer_linear_probe(x, y, x, y), r"train_tokens must be \(N, B, 2, D\).*got \(40, 6, 8\)"),
        (
            lambda x, y: multilayer_linear_probe(*2 * (x.view(40, 3, 2, 8), y), blocks=(1, 4)),
            r"blocks=\(1, 4\).* expected 1 to 3",
        ),
    ],
)
def test_invalid_arguments_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call(*marked(40, 0))

"""Parts of autoregressive methods. Oracle: lightly's AIM."""

import torch

from ssl_core.modules.transformer.autoregressive import ResidualMLP, causal_attention


def test_residual_mlp_equals_lightlys():
    from lightly.models.modules.heads_timm import AIMPredictionHead

    ours = ResidualMLP(6, 10, width=8, depth=3)
    theirs = AIMPredictionHead(6, 10, hidden_dim=8, num_blocks=3)
    names = {"project.": "blocks.0.", "norm.": "blocks.4.", "head.": "blocks.5."}
    state = {}
    for name, value in ours.state_dict().items():
        for block in range(3):
            for part, timms in (("0", "norm"), ("1", "mlp.fc1"), ("3", "mlp.fc2")):
                names[f"blocks.{block}.{part}."] = f"blocks.{block + 1}.{timms}."
        prefix = next(each for each in names if name.startswith(each))
        state[name.replace(prefix, names[prefix], 1)] = torch.nn.init.normal_(value)
    theirs.load_state_dict(state)
    tokens = torch.randn(2, 5, 6)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_prefix_attention_equals_lightlys():
    """lightly's mask is True outside of the prefix."""
    from lightly.models.modules.masked_causal_vision_transformer import MaskedCausalAttention

    prefix = torch.tensor([1, 3, 5])
    outside = torch.arange(5) >= prefix[:, None]
    expected = MaskedCausalAttention(4, num_heads=1)._get_attention_mask(torch.zeros(3, 5, 4), mask=outside)
    assert torch.equal(causal_attention(5, prefix), expected)
    assert torch.equal(causal_attention(5)[0, 0], torch.ones(5, 5).tril().bool())

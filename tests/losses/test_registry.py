"""LOSSES leads from the names that researchers type to the losses, and the README's first table is the same list."""

import re
from pathlib import Path

import pytest

from ssl_losses import LOSSES
from ssl_losses.registry import METHODS

README = Path(__file__).parents[2] / "packages" / "ssl-losses" / "README.rst"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("NTXentLoss", "its loss is 'nt_xent'"),
        ("SimCLR", "its loss is 'nt_xent'"),
        ("BYOLLoss", "its loss is 'negative_cosine_similarity'"),
        ("mae", "its loss is 'masked_reconstruction'"),
        ("I-JEPA", "its loss is 'masked_feature_regression'"),
        ("MoCo v3", "its loss is 'moco_v3'"),
        ("DINOv2", "its loss is 'dino' + 'ibot' + 'koleo'"),
        ("barlow_twin", "did you mean 'barlow_twins'?"),
        ("cross_entropy", "expected one of alignment, barlow_twins"),
    ],
)
def test_unknown_name_leads_to_the_loss(typed, hint):
    with pytest.raises(KeyError, match=re.escape(hint)):
        LOSSES[typed]


def test_registry_is_a_mapping_of_known_names_only():
    assert "SimCLR" not in LOSSES
    assert LOSSES.get("SimCLR") is None


def test_methods_name_losses_and_cover_all():
    assert {loss for losses in METHODS.values() for loss in losses} == set(LOSSES)


def test_first_table_of_the_readme_is_the_list_of_methods():
    """Every method of the table is in METHODS with these losses, and every loss is in the table."""
    table = README.read_text().split(".. list-table::")[1].partition("\n\n\n")[0]
    rows = re.findall(r"^   \* - (.*)\n     - (.*)$", table.split("\n\nQuick start")[0], re.MULTILINE)[1:]
    listed = set()
    for methods, losses in rows:
        names = tuple(re.findall(r"``(\w+)``", losses))
        listed |= set(names)
        for method in methods.split(", "):
            assert METHODS[re.sub(r"[^a-z0-9]", "", method.lower())] == names, method
    assert listed == set(LOSSES)

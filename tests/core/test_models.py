"""The methods by name, and their keys, which are read without them."""

import pytest

from ssl_core import ConfigError
from ssl_core.models import METHODS, config_class, method_class


@pytest.mark.parametrize("name", METHODS)
def test_the_keys_of_a_method_stand_in_configs(name):
    """A method whose keys stand elsewhere would be refused: ``models/configs.py`` is read without torch."""
    assert config_class(name) is method_class(name).config_class


@pytest.mark.parametrize("find", [config_class, method_class])
def test_an_unknown_method_is_answered_with_the_nearest(find):
    with pytest.raises(ConfigError, match=r"model\.name='simclrr': expected one of .*did you mean 'simclr'\?"):
        find("simclrr")

"""Puts the embedded configurations behind every search path, so that ``simclr_digits`` is found from any script."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class EmbeddedConfigs(SearchPathPlugin):
    """Found by Hydra itself, by its place in ``hydra_plugins``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append our folder: a file of the same name beside the script comes first."""
        search_path.append("ssl-launch", "pkg://ssl_launch.configs")

"""Hydra plugins: launchers, sweeper, and the search path of the embedded configurations."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class EmbeddedConfigs(SearchPathPlugin):
    """Add the embedded configurations to the search path. Hydra finds this class by its package."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append our folder; a file of the same name beside the script takes precedence."""
        search_path.append("ssl-launch", "pkg://ssl_launch.configs")

"""Appends this package's configurations to every search: all that a plug-in must tell Hydra."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class GardenSearchPath(SearchPathPlugin):
    """Found by Hydra in the namespace ``hydra_plugins``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add ``garden/configs``."""
        search_path.append("garden", "pkg://garden.configs")

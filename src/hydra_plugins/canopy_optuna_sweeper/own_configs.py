"""Let Hydra find the configs that hold for one data set alone, next to those for all."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnConfigs(SearchPathPlugin):
    """Search the folder `paths.own_configs` of the `params.yaml` that `mount_params` has read."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        params = ConfigStore.instance().repo.get("params.yaml")
        if params is None or (own := params.node.paths.get("own_configs")) is None:
            return
        folder = Path(params.provider).parent / own
        if folder.is_dir():
            search_path.append("params.yaml", f"file://{folder.resolve()}")

"""Serve a bundle over HTTP.

python src/serve.py bundle=models/compressed
python src/serve.py bundle=models/canopy workers=2 port=9000 host=0.0.0.0
CANOPY_API_KEY=secret python src/serve.py
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from canopy.runs.entry import entry_point


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("serve", in_project=False)
def main(cfg: DictConfig) -> None:
    # Here, so that help does not wait for them.
    from canopy.serve.server import serve
    from canopy.serve.service import Settings

    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    serve(Settings(**options))


if __name__ == "__main__":
    main()

"""Make the tensors of another preparation: python scripts/prepare.py preparation=uncapped."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
from canopy.runs.entry import entry_point


@entry_point("stage")
def main(params: DictConfig) -> None:
    if HydraConfig.get().runtime.choices["preparation"] is None:
        raise ValueError(
            "preparation must name a choice of configs/preparation/; found none: preparation=uncapped, or "
            'run "dvc repro" for the pipeline\'s own tensors'
        )
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(params)


if __name__ == "__main__":
    main()

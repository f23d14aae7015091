"""Train models of other kinds (boosted trees, a forest, ...) on a data set's rows, and leave each as a run.

python src/baselines.py                                     those that params.yaml lists
python src/baselines.py models=all                          all that are installed
python src/baselines.py 'models=[lightgbm,random_forest]'
python src/baselines.py 'models=[lightgbm]' settings.lightgbm.num_leaves=63 seed=1
"""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from canopy.run_name import as_typed
from canopy.runs.entry import entry_point


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("baselines")
def main(cfg: DictConfig) -> float:
    # Here, so that --help and a misspelt override answer without waiting for torch.
    from canopy.baselines.baselines import run

    hydra = HydraConfig.get()
    return run(cfg, folder=Path(hydra.runtime.output_dir), overrides=as_typed(hydra.overrides.task))


if __name__ == "__main__":
    main()

"""Cross-validate: train a run for each fold of a split, and score all rows by the run that has not seen them.

python src/cross_validate.py split.n_folds=5                      what params.yaml says, in five folds
python src/cross_validate.py split.n_folds=5 preset=default seed=1
python src/cross_validate.py split.n_folds=5 resume=auto          the newest that this command did not finish
python src/cross_validate.py resume=logs/cross_validate/runs/NAME
python src/cross_validate.py -m sweep=mlp split.n_folds=3         a sweep of the mean over the folds
"""

import os

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from canopy.run_name import as_typed
from canopy.runs.entry import entry_point
from canopy.sweep import TRIAL_VARIABLE


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("cross_validate")
def main(cfg: DictConfig) -> float | tuple[float, ...]:
    if HydraConfig.get().runtime.choices.get("sweep") and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise ValueError("A sweep must be a multirun; got one plain run: add -m to the command")
    # Here, so that --help and a misspelt override answer without waiting for torch.
    from canopy.cross_validation.cross_validate import cross_validate

    trial = None
    if TRIAL_VARIABLE in os.environ:
        from canopy.sweep.worker import JobTrial

        trial = JobTrial()
    return cross_validate(cfg, overrides=as_typed(HydraConfig.get().overrides.task), trial=trial)


def choose_folder(resume: str | None, default: str) -> str:
    if resume is None:
        return default
    from canopy.cross_validation.start import choose_folder

    return choose_folder(resume, default)


if __name__ == "__main__":
    OmegaConf.register_resolver("cross_validation_folder", choose_folder)
    main()

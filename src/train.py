"""Train one run.

python src/train.py                                  what params.yaml says under `train`
python src/train.py experiment=mlp seed=1            another one, another seed
python src/train.py trainer=gpu trainer.max_epochs=5
python src/train.py resume=logs/train/runs/NAME      resume a run that was killed or stopped
python src/train.py reproduce=logs/train/runs/NAME   train its config again, in a new folder
"""

import os

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from canopy.run_name import as_typed
from canopy.runs.entry import entry_point
from canopy.sweep import TRIAL_VARIABLE


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("train")
def main(cfg: DictConfig) -> float | tuple[float, ...]:
    if HydraConfig.get().runtime.choices.get("sweep") and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise ValueError("A sweep must be a multirun; got one plain run: add -m to the command")
    # Here, so that --help and a misspelt override answer without waiting for torch.
    from canopy.runs.fit import fit

    trial = None
    if TRIAL_VARIABLE in os.environ:
        from canopy.sweep.worker import JobTrial

        trial = JobTrial()
    return fit(cfg, overrides=as_typed(HydraConfig.get().overrides.task), trial=trial)


if __name__ == "__main__":
    main()

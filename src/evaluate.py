"""Score a run's best checkpoint on validation and test rows, or that of each run below a folder.

python src/evaluate.py run=logs/train/runs/NAME
python src/evaluate.py run=logs/train/multiruns/NAME
"""

from pathlib import Path

from omegaconf import DictConfig

from canopy.runs.entry import entry_point
from canopy.runs.find import run_folders
from canopy.runs.run import Run


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("evaluate", in_project=False)
def main(cfg: DictConfig) -> None:
    if next(run_folders(Path(cfg.run)), None) is None:
        Run(cfg.run)
    # Here, so that a mistake is reported without waiting for torch.
    from canopy.evaluation.evaluate import evaluate_all

    evaluate_all(cfg)


if __name__ == "__main__":
    main()

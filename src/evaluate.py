"""Score a run's best checkpoint on validation and test rows.

python src/evaluate.py run=logs/train/runs/2026-01-31_12-00-00-000000
"""

from omegaconf import DictConfig

from canopy.entry import entry_point
from canopy.training.run_folder import RunFolder


@entry_point("evaluate")
def main(cfg: DictConfig) -> None:
    run = RunFolder(cfg.run)
    # Here, so that a mistake is told without waiting for torch.
    from canopy.evaluation.evaluate import evaluate

    evaluate(run, cfg)


if __name__ == "__main__":
    main()

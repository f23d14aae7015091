"""Score a run's best checkpoint on validation and test rows.

python src/evaluate.py run=logs/train/runs/2026-01-31_12-00-00-000000
"""

from omegaconf import DictConfig

from canopy.entry import entry_point


@entry_point("evaluate")
def main(cfg: DictConfig) -> None:
    from canopy.evaluation.evaluate import evaluate

    evaluate(cfg)


if __name__ == "__main__":
    main()

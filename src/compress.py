"""Make a run's model smaller: prune, quantise and distil it, measure all, bundle the best within the budget.

python src/compress.py run=models/trained bundle=models/canopy
python src/compress.py run=models/trained bundle=models/canopy compress.max_accuracy_drop=0.005
"""

from omegaconf import DictConfig

from canopy.runs.entry import entry_point
from canopy.runs.run import Run


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("compress", in_project=False)
def main(cfg: DictConfig) -> None:
    run = Run(cfg.run)
    # Here, so that a mistake is reported without waiting for torch.
    from canopy.export.compress.compress import compress

    compress(run, cfg)


if __name__ == "__main__":
    main()

"""Freeze a run's best checkpoint into a bundle that takes raw rows, as ONNX and in torch's own format.

python src/export.py run=models/trained metrics=reports/metrics.json
python src/export.py run=logs/train/runs/NAME output=models/NAME
"""

from omegaconf import DictConfig

from canopy.runs.entry import entry_point
from canopy.runs.run import Run


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("export", in_project=False)
def main(cfg: DictConfig) -> None:
    run = Run(cfg.run)
    # Here, so that a mistake is reported without waiting for torch.
    from canopy.export.export import export

    export(run, cfg)


if __name__ == "__main__":
    main()

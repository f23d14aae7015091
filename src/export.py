"""Freeze a run's best checkpoint into a bundle that takes raw rows, as ONNX and in torch's own format.

python src/export.py run=models/trained metrics=reports/metrics.json
python src/export.py run=logs/train/runs/NAME output=models/NAME
python src/export.py run=logs/train/runs/NAME register=wine@champion   in MLflow's model registry, too
python src/export.py run=logs/cross_validate/runs/NAME output=models/NAME   the folds of one as an ensemble
"""

from pathlib import Path

from omegaconf import DictConfig

from canopy.export.registry import Registry
from canopy.runs.entry import entry_point
from canopy.runs.find import CROSS_VALIDATION
from canopy.runs.run import Run


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("export", in_project=False)
def main(cfg: DictConfig) -> None:
    registry, record = None if cfg.register is None else Registry(str(cfg.register)), {}
    if (Path(cfg.run) / CROSS_VALIDATION).is_file():
        from canopy.export.ensemble import export_ensemble

        export_ensemble(Path(cfg.run), cfg)
    else:
        run = Run(cfg.run)
        # Here, so that a mistake is reported without waiting for torch.
        from canopy.export.export import export

        export(run, cfg)
        record = run.record
    if registry is not None:
        registry.register(Path(cfg.output), record)


if __name__ == "__main__":
    main()

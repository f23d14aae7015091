"""What the experiments of `configs/experiment/` reach: their evaluated runs, over seeds."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from canopy.files import read_json
from canopy.runs.keys import MACHINE, flatten, training_values
from canopy.runs.run import Run

REPORT = "experiments.json"
# What the runs of an experiment have in common; `left_out` is the group or the fold whose rows test.
SHARED = ["name", "left_out", "split", "recipe"]
_PREPARATION = ("seed", "drop_columns", "split", "normalize", "cap_classes")
_SCORES = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")
_TRAINING = ("train_seconds", "epochs", "n_parameters", "device", "n_threads")
_KEYS = {"seed": "seed", "val_accuracy": "val.accuracy"}
_KEYS |= {name: f"test.{name}" for name in _SCORES} | {name: f"training.{name}" for name in _TRAINING}
_KEYS |= {"n_cores": "machine.n_cores", "commit": "git.commit"}


def recipe_of(config: DictConfig) -> tuple[str, str | None]:
    """Hash what decides how a config trains, but for seed and machine; give also the group it leaves out."""
    content: Any = OmegaConf.to_container(config.pipeline)
    values = flatten({"pipeline": {section: content[section] for section in _PREPARATION}})
    values |= {k: v for k, v in training_values(config).items() if k.removeprefix("trainer.") not in MACHINE}
    fold, left_out = values.pop("pipeline.split.fold", None), None
    if values.get("pipeline.split.n_folds") is not None:
        left_out = f"fold {fold}"
    elif values.get("pipeline.split.method") == "leave_group_out":
        left_out = values.pop("pipeline.split.column", None)
    # Options of the split or of windows of rows that are left out do not change a recipe.
    optional = ("pipeline.split.", "data.memory_mib")
    values = {k: v for k, v in values.items() if v is not None or not k.startswith(optional)}
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16], left_out


def compose_experiments(configs: Path) -> dict[str, str]:
    """Give the recipe of each experiment as the configs are now, by name."""
    found = {}
    with initialize_config_dir(str(configs.absolute()), job_name="train"):
        for path in sorted(configs.glob("**/experiment/*.yaml"), key=lambda path: path.stem):
            found[path.stem], _ = recipe_of(compose("train", [f"experiment={path.stem}"]))
    return found


def collect(runs: Iterable[Run], *, recipes: dict[str, str], earlier: pd.DataFrame) -> pd.DataFrame:
    """Gather the finished and evaluated runs of the experiments as they are now, the newest of each seed.

    `earlier` was gathered before, perhaps on other machines. A run whose config cannot be read gets a line in
    its `problems`.
    """
    rows = []
    for run in runs:
        if run.status == "finished" and {"val", "test"} <= run.metrics.keys():
            try:
                recipe, left_out = recipe_of(run.config)
            except (ValueError, LookupError, TypeError, OmegaConfBaseException) as error:
                run.problems.append(f"{run.path} is left out; its config is damaged or too old: {error!r}")
                continue
            shared = [left_out, run.value("pipeline.split.method"), recipe]
            values = [run.value(key) for key in _KEYS.values()]
            rows += [[name, *shared, *values] for name, expected in recipes.items() if expected == recipe]
    current = earlier[earlier["recipe"] == earlier["name"].map(recipes)]
    found = pd.concat([pd.DataFrame(rows, columns=[*SHARED, *_KEYS], dtype=object), current])
    key = ["name", "left_out", "seed"]
    return found.drop_duplicates(key).sort_values(key, ignore_index=True)


def read_experiments(path: Path) -> pd.DataFrame:
    """Read what `as_json` gave, a row for each run; no rows if there is no such file."""
    experiments = read_json(path, kind=list) if path.is_file() else []
    rows = [{**experiment, **run} for experiment in experiments for run in experiment.pop("runs")]
    return pd.DataFrame(rows, columns=[*SHARED, *_KEYS], dtype=object)


def as_json(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the runs as JSON-able values, those of an experiment together."""
    return [
        {**group[SHARED].iloc[0], "runs": group.drop(columns=SHARED).to_dict("records")}
        for _, group in runs.groupby(SHARED, sort=False, dropna=False)
    ]

"""What the experiments of `configs/experiment/` reach: their evaluated runs, over seeds."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from canopy.files import read_json
from canopy.runs.keys import MACHINE, flatten, training_values
from canopy.runs.run import Run

REPORT = "experiments.json"
# What the runs of an experiment have in common: its name; the group of the table whose rows test, where the
# split leaves one out; the split's method; the hash of `recipe_of`.
SHARED = ["name", "left_out", "split", "recipe"]

# What the data stages do; their other sections describe and place.
_PREPARATION = ("seed", "drop_columns", "split", "normalize", "cap_classes")
_SCORES = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")
_TRAINING = ("train_seconds", "epochs", "n_parameters", "device", "n_threads")
_COLUMNS = [*SHARED, "seed", "val_accuracy", *_SCORES, *_TRAINING, "n_cores", "commit"]


def recipe_of(config: DictConfig) -> tuple[str, str | None]:
    """Hash what decides how a training config trains, and on what, but for seed and machine.

    Returns:
        The hash, and the group that the split leaves out, which is no part of the hash.
    """
    values = training_values(config)
    values = {key: value for key, value in values.items() if key.removeprefix("trainer.") not in MACHINE}
    content: Any = OmegaConf.to_container(config.pipeline)
    values |= flatten({"pipeline": {section: content[section] for section in _PREPARATION}})
    left_out = values.pop("pipeline.split.left_out", None)
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
    """Gather the finished and evaluated runs of the experiments as they are now.

    Args:
        runs: Training runs, newest first: of two with one seed the newer counts.
        recipes: Recipe of each experiment.
        earlier: What was gathered before, perhaps on other machines; what no longer has the recipe of its
            experiment is left out.

    Returns:
        A row for each experiment, group that was left out, and seed, in this order.
    """
    rows = []
    for run in runs:
        if run.status != "finished" or not {"val", "test"} <= run.metrics.keys():
            continue
        try:
            config = run.config
            recipe, left_out = recipe_of(config)
        except (ValueError, KeyError, AttributeError):
            # Damaged, or a config of another form.
            continue
        training, scores = run.record["training"], run.metrics["test"]
        row = {
            "left_out": left_out,
            "split": config.pipeline.split.method,
            "recipe": recipe,
            "seed": run.value("seed"),
            "val_accuracy": run.metrics["val"]["accuracy"],
            **{key: scores[key] for key in _SCORES},
            **{key: training[key] for key in _TRAINING},
            "n_cores": run.record["machine"]["n_cores"],
            "commit": run.record["git"]["commit"],
        }
        rows += [{"name": name, **row} for name, expected in recipes.items() if expected == recipe]
    current = earlier[earlier["recipe"] == earlier["name"].map(recipes)]
    found = pd.concat([pd.DataFrame(rows, columns=_COLUMNS, dtype=object), current])
    key = ["name", "left_out", "seed"]
    return found.drop_duplicates(key).sort_values(key, ignore_index=True)


def read_experiments(path: Path) -> pd.DataFrame:
    """Read what `as_json` gave, a row for each run; no rows if there is no such file."""
    experiments = read_json(path) if path.is_file() else []
    rows = [{**experiment, **run} for experiment in experiments for run in experiment.pop("runs")]
    return pd.DataFrame(rows, columns=_COLUMNS, dtype=object)


def as_json(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the runs as JSON-able values, those of an experiment together."""
    groups = (group for _, group in runs.groupby(SHARED, sort=False, dropna=False))
    return [
        {**group[SHARED].iloc[0], "runs": group.drop(columns=SHARED).to_dict("records")} for group in groups
    ]

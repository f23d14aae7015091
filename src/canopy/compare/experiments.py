"""What the experiments of `configs/experiment/` reach: their evaluated runs, over seeds."""

import hashlib
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from canopy.compare.spread import Spread
from canopy.files import read_json
from canopy.runs.keys import MACHINE, flatten, training_values
from canopy.runs.listed import ListedRun

REPORT = "experiments.json"
PUBLISHED = "docs/published.yaml"

# What the data stages do; their other sections describe and place.
_PREPARATION = ("seed", "drop_columns", "split", "normalize", "cap_classes")
_LEFT_OUT = "pipeline.split.left_out"
_OURS = "this repository"
_SCORES = ("accuracy", "macro_f1", "balanced_accuracy", "nll", "ece")
# In the order of the table's columns.
_SHOWN = ("accuracy", "macro_f1", "balanced_accuracy", "nll")
_SPLIT_TITLES = {
    "stratified": "Two stratified draws, 20 % test: the split of the published results",
    "ordered": "The data set's first protocol: 11,340 rows train, 565,892 test",
    "leave_group_out": "A part of the land that was never seen tests",
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment's runs that differ in their seed alone.

    Attributes:
        name: The experiment.
        left_out: The group whose rows tested, where the split leaves one out.
        split: Method of the split.
        recipe: Hash of all values that decide how it trains and on what, but for seed and machine.
        runs: Of each seed, in the order of the seeds: what its scores are and what they took.
    """

    name: str
    left_out: str | None
    split: str
    recipe: str
    runs: list[dict[str, Any]] = field(default_factory=list)

    def spread(self, key: str) -> Spread:
        """Measure the spread of a number of the runs over their seeds."""
        return Spread.of([run[key] for run in self.runs])


def recipe_of(config: DictConfig) -> tuple[str, str | None]:
    """Tell two configs apart by what decides how they train.

    Args:
        config: A training config, composed or kept by a run.

    Returns:
        A hash, and the group that the split leaves out, which is no part of the hash.
    """
    values = training_values(config)
    values = {key: value for key, value in values.items() if key.removeprefix("trainer.") not in MACHINE}
    content: Any = OmegaConf.to_container(config.pipeline)
    values |= flatten({"pipeline": {section: content[section] for section in _PREPARATION}})
    left_out = values.pop(_LEFT_OUT, None)
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16], left_out


def compose_experiments(configs: Path) -> dict[str, str]:
    """Give the recipe of each experiment as the configs are now, by name."""
    found = {}
    with initialize_config_dir(str(configs.absolute()), job_name="train"):
        for path in sorted(configs.glob("**/experiment/*.yaml"), key=lambda path: path.stem):
            found[path.stem], _ = recipe_of(compose("train", [f"experiment={path.stem}"]))
    return found


def collect(
    runs: Iterable[ListedRun], *, recipes: dict[str, str], earlier: Sequence[Experiment] = ()
) -> list[Experiment]:
    """Gather the finished and evaluated runs of the experiments as they are now.

    Args:
        runs: Training runs, newest first: of two with one seed the newer counts.
        recipes: Recipe of each experiment.
        earlier: What was gathered before, perhaps on other machines; what no longer has the recipe of its
            experiment is left out.

    Returns:
        The experiments in the order of their names.
    """
    found: dict[tuple[str, str | None], dict[int, dict[str, Any]]] = {}
    splits: dict[tuple[str, str | None], str] = {}
    for run in runs:
        if run.status != "finished" or not {"val", "test"} <= run.metrics.keys():
            continue
        config = OmegaConf.create(run.raw_config)
        try:
            recipe, left_out = recipe_of(config)
        except (KeyError, AttributeError):
            # Of an earlier version, whose config has another form.
            continue
        for name in (name for name, expected in recipes.items() if expected == recipe):
            found.setdefault((name, left_out), {}).setdefault(run.value("seed"), _describe(run))
            splits[name, left_out] = run.raw_config["pipeline"]["split"]["method"]
    for experiment in earlier:
        if recipes.get(experiment.name) != experiment.recipe:
            continue
        key = (experiment.name, experiment.left_out)
        splits[key] = experiment.split
        for run_facts in experiment.runs:
            found.setdefault(key, {}).setdefault(run_facts["seed"], run_facts)
    return [
        Experiment(
            name=name,
            left_out=left_out,
            split=splits[name, left_out],
            recipe=recipes[name],
            runs=[seeds[seed] for seed in sorted(seeds)],
        )
        for (name, left_out), seeds in sorted(found.items(), key=lambda item: tuple(map(str, item[0])))
    ]


def _describe(run: ListedRun) -> dict[str, Any]:
    training, machine = run.record["training"], run.record["machine"]
    return {
        "seed": run.value("seed"),
        "val_accuracy": run.metrics["val"]["accuracy"],
        **{score: run.metrics["test"][score] for score in _SCORES},
        "train_seconds": training["train_seconds"],
        "epochs": training["epochs"],
        "n_parameters": training["n_parameters"],
        "device": training["device"],
        "n_threads": training["n_threads"],
        "n_cores": machine["n_cores"],
        "commit": run.record["git"]["commit"],
    }


def read_experiments(path: Path) -> list[Experiment]:
    """Read what `as_json` wrote; nothing if there is no such file."""
    return [Experiment(**row) for row in read_json(path)] if path.is_file() else []


def as_json(experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Give the experiments as JSON-able values."""
    return [asdict(experiment) for experiment in experiments]


def as_markdown(experiments: Sequence[Experiment], published: Path = Path(PUBLISHED)) -> str:
    """Lay out experiments and the published figures, a table for each split, the best first.

    Args:
        experiments: What has been gathered.
        published: YAML file with the figures of others.
    """
    others: list[dict[str, Any]] = yaml.safe_load(published.read_text(encoding="utf-8"))
    blocks = []
    for split, title in _SPLIT_TITLES.items():
        ours = [experiment for experiment in experiments if experiment.split == split]
        if not ours:
            continue
        rows = [(row.spread("accuracy").mean, _row(row)) for row in ours]
        rows += [(row["accuracy"], _published_row(row)) for row in others if row["split"] == split]
        lines = [line for _, line in sorted(rows, key=lambda row: -row[0])]
        if split == "leave_group_out":
            lines += _means(ours)
        header = (
            "| model | seeds | test accuracy | macro-F1 | balanced accuracy | NLL | training | from |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
        )
        blocks.append("\n".join([f"{title}:", "", header, *lines]))
    return "\n\n".join(blocks)


def _row(experiment: Experiment) -> str:
    seconds = statistics.fmean(run["train_seconds"] for run in experiment.runs)
    kinds = {
        f"{run['device']}, {run['n_threads']} thread{'' if run['n_threads'] == 1 else 's'}"
        for run in experiment.runs
    }
    time = f"{seconds:.0f} s ({'; '.join(sorted(kinds))})"
    where = f", {experiment.left_out} left out" if experiment.left_out else ""
    scores = [_say(experiment.spread(score)) for score in _SHOWN]
    return _line(f"**`{experiment.name}`**{where}", len(experiment.runs), *scores, time, _OURS)


def _published_row(row: dict[str, Any]) -> str:
    scores = [f"{row[score]:.4f}" if score in row else "" for score in _SHOWN]
    return _line(row["model"], "", *scores, row.get("time", ""), row["source"])


def _means(experiments: Sequence[Experiment]) -> list[str]:
    """Give the mean over all groups left out, of the experiments with several."""
    lines = []
    for name in dict.fromkeys(experiment.name for experiment in experiments):
        own = [experiment for experiment in experiments if experiment.name == name]
        if len(own) > 1:
            means = [
                statistics.fmean(experiment.spread(score).mean for experiment in own) for score in _SHOWN
            ]
            lines.append(
                _line(f"**`{name}`**, mean of {len(own)}", "", *(f"{m:.4f}" for m in means), "", _OURS)
            )
    return lines


def _line(*cells: object) -> str:
    return "|".join(["", *(f" {cell} " if cell != "" else " " for cell in cells), ""])


def _say(spread: Spread) -> str:
    return f"{spread.mean:.4f}" + ("" if spread.sd is None else f" ± {spread.sd:.4f}")

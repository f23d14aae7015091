"""What a trial changed in the config: the overrides of its command, and which of them are the choice made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from optuna.trial import FrozenTrial

from canopy.params import parse_train_overrides
from canopy.quoting import write_choice, write_command
from canopy.runs.keys import MACHINE, is_shown, training_values
from canopy.runs.run import BOOKKEEPING, Run
from canopy.sweep.attributes import RUN, TRIAL_ATTRIBUTES
from canopy.sweep.outcome import run_of

# Where a run's files go and what it shows while it trains.
_LEFT_OUT = frozenset({*BOOKKEEPING, "hydra", "logger", "sweep"})
# Belong to the machine and to the draw: part of a command, not of an experiment.
_CIRCUMSTANCES = frozenset({"debug", "pipeline", "seed"})
_EXPERIMENTAL = ("data", "model", "preparation@pipeline")


@dataclass
class Choice:
    """What a trial chose, in the parts of an experiment config.

    Attributes:
        experiments: Experiments that it starts from.
        groups: Choice of each other config group.
        values: Values by dotted key.
        command: Overrides that stay with the command: seed, machine, debug mode.
    """

    experiments: list[str] = field(default_factory=list)
    groups: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)


def trial_overrides(trial: FrozenTrial, *, project: Path = Path()) -> list[str]:
    """Give the overrides of a trial's command: those that its run recorded, or those of the sweep.

    Args:
        trial: The trial.
        project: The folder that the run's folder is relative to.
    """
    run = run_of(trial, project=project)
    if commands := run and run.record.get("commands"):
        return [str(override) for override in commands[0]["overrides"]]
    fixed = {key: value for key, value in trial.user_attrs.items() if key not in TRIAL_ATTRIBUTES}
    written = [f"{key}={'null' if value is None else value}" for key, value in fixed.items()]
    return [*written, *(write_choice(key, value) for key, value in trial.params.items())]


def start_overrides(run: Run | None, overrides: Sequence[str]) -> list[str]:
    """Write as overrides what `params.yaml` let a run start from; nothing if it chose an experiment.

    Args:
        run: The run; if None, `params.yaml` as it is mounted now.
        overrides: Overrides of its command.
    """
    if any(text.startswith("experiment=") for text in overrides):
        return []
    train = (run.config.pipeline if run else ConfigStore.instance().load("params.yaml").node).train
    words = [str(override.input_line) for override in parse_train_overrides(train.overrides)]
    return [f"experiment={train.experiment}", *words]


def reproducing_command(trial: FrozenTrial, *, project: Path = Path(), script: str = "train") -> str:
    """Give the command of `script` that reproduces a trial: from its run's folder if that is there."""
    if run_of(trial, project=project):
        return write_command("train", reproduce=trial.user_attrs[RUN])
    return write_command(script, *trial_overrides(trial, project=project))


def split_overrides(overrides: Sequence[str], *, configs: Path, start: Sequence[str] = ()) -> Choice:
    """Separate what a trial chose from what only its command needed.

    Args:
        overrides: Overrides as on the command line.
        configs: Folder of the config groups.
        start: What `params.yaml` let it start from; the sweep's config decides over it.

    Raises:
        ValueError: If one of them cannot be part of a config.
    """
    choice = split_overrides(start, configs=configs) if start else Choice()
    sweep: Any = None
    own = Choice()
    try:
        parsed = OverridesParser.create().parse_overrides([*overrides])
    except HydraException as error:
        raise ValueError(
            f"Overrides of a trial must be Hydra's; got {' '.join(str(error).split())}"
        ) from error
    for override in parsed:
        key, text = override.key_or_group, str(override.input_line)
        value = override.value()
        root, _, rest = key.replace("/", ".").partition(".")
        is_group = (configs / key).is_dir() and not isinstance(value, dict)
        if key == "sweep":
            sweep = value
        if root in _LEFT_OUT or key == "callbacks.progress_bar" or is_shown(key):
            continue
        if root in _CIRCUMSTANCES or (root == "trainer" and (is_group or rest in MACHINE)):
            choice.command.append(text)
        elif override.is_delete() or override.package is not None or override.is_sweep_override():
            raise ValueError(f"An experiment can hold choices and values; got {text}: write it by hand")
        elif key == "experiment":
            # The default experiment changes nothing.
            names = value if isinstance(value, list) else [value]
            choice.experiments = [str(name) for name in names if name not in (None, "default")]
        else:
            (own.groups if is_group else own.values)[key] = value
    of_sweep = Choice() if sweep is None else choice_of_sweep(str(sweep), configs)
    choice.groups |= {**of_sweep.groups, **own.groups}
    choice.values |= {**of_sweep.values, **own.values}
    return choice


def choice_of_sweep(name: str, configs: Path) -> Choice:
    """Read what a sweep's config itself chooses: model and data, and values by their dotted keys."""
    with initialize_config_dir(str(configs.absolute()), job_name="train"):
        default, chosen = (
            compose("train", overrides, return_hydra_config=True).hydra.runtime.choices
            for overrides in ([], [f"sweep={name}"])
        )
        groups = {group: chosen[group] for group in _EXPERIMENTAL if chosen[group] != default[group]}
        without, with_sweep = (
            training_values(compose("train", overrides))
            for overrides in ([f"{group}={value}" for group, value in groups.items()], [f"sweep={name}"])
        )
    changed = {key: value for key, value in with_sweep.items() if without.get(key) != value}
    return Choice(groups=groups, values=changed)

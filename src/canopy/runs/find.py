"""Find training runs below folders, or by their names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from canopy.files import read_json
from canopy.places import as_typed, describe_place
from canopy.runs.run import CONFIG, Run

# In the folder of a cross-validation, which holds a run for each fold: the scores and the predictions of all.
CROSS_VALIDATION, OUT_OF_FOLD, FIRST_FOLD = "cross_validation.json", "out_of_fold.parquet", "fold_0"


def find_runs(folders: Sequence[Path], *, logs: Path) -> list[Run]:
    """Find the runs at or below folders, without any all training runs in `logs`; newest first."""
    if not folders and not (logs / "train").is_dir():
        found = f"no such folder in {Path.cwd()}: change to the project's folder, or name runs or --logs"
        raise FileNotFoundError(f"Runs must be in {logs}/train of a project; found {found}")
    paths: dict[Path, Path] = {}
    for folder in folders or [logs / "train"]:
        below = {path.resolve(): path for path in run_folders(folder)}
        if folders and not below:
            state = "none below it" if folder.is_dir() else describe_place(folder) or "no such folder"
            text = f"{as_typed(folder)} must be a run or hold runs; found {state}: see {logs}/train/runs"
            raise FileNotFoundError(text)
        paths = {**below, **paths}
    runs = [Run(path, name_of(path, logs)) for path in paths.values()]
    return sorted(runs, key=lambda run: (run.started, run.name), reverse=True)


def find_run(name: str, *, logs: Path) -> Run:
    """Find one run by its folder, or by its name in the list."""
    for path in (Path(name), logs / "train" / "runs" / name, logs / "train" / "multiruns" / name):
        if (path / CONFIG).is_file():
            return Run(path, name_of(path, logs))
    found = describe_place(name) or f"none of that name in {logs.absolute()}/train"
    hint = '"python src/runs.py" lists them'
    raise FileNotFoundError(f"{name} must be a run's folder or name; found {found}: {hint}")


def fold_runs(folder: Path) -> list[Run]:
    """Open the runs of a cross-validation, in the order of the folds."""
    results = read_json(folder / CROSS_VALIDATION, hint="finish the cross-validation")
    return [Run(folder / fold["run"]) for fold in results["folds"]]


def find_cross_validation(name: str, *, logs: Path) -> Path | None:
    """Find a cross-validation with results by its folder, or by its name in `logs`; None if there is none."""
    places = (Path(name), *(logs / "cross_validate" / kind / name for kind in ("runs", "multiruns")))
    return next((path for path in places if (path / CROSS_VALIDATION).is_file()), None)


def name_of(path: Path, logs: Path) -> str:
    """Give a run's name: its folder, without the part of the path that all runs share."""
    for shared in ((logs / "train" / kind).resolve() for kind in ("runs", "multiruns")):
        if path.resolve().is_relative_to(shared):
            return str(path.resolve().relative_to(shared))
    return str(path)


def run_folders(folder: Path) -> Iterator[Path]:
    """Find the run folders at or below a folder, in the order of their names."""
    if (folder / CONFIG).is_file():
        yield folder
    elif folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and path.name[0] != ".":
                yield from run_folders(path)

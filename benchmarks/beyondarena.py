"""`preset=default` and boosted trees on land never seen: BeyondArena's task of Covertype, its three folds.

In each fold a model trains on two areas and validates on a fifth of their rows; or it trains on the larger of
the two and validates on the other. Each has one thread and stops by the log loss of the validation rows. Runs
stay in logs/benchmarks/beyondarena: a stopped benchmark resumes.

python benchmarks/beyondarena.py             half an hour on one core; writes its table into docs/results.md
python benchmarks/beyondarena.py --seeds 3   each model with the seeds 0, 1 and 2
"""

import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from common import ROOT, parse, write

from canopy.compare.summary import insert_table
from canopy.files import write_text

LOGS = ROOT / "logs/benchmarks/beyondarena"
DOCS = ROOT / "docs/results.md"
COMMAND = "benchmarks/beyondarena.py"
MODELS = {"default": "`preset=default`", "xgboost": "XGBoost", "lightgbm": "LightGBM", "constant": "prior"}
SCORES = ("nll", "accuracy", "balanced_accuracy")
SHOWN = {"val_nll": "val log loss", "nll": "log loss", "accuracy": "accuracy", "fit_seconds": "seconds"}
# The area that tests in each fold; and the one that trains where the other, which has fewer rows, validates.
AREAS = {0: "Rawah", 1: "Neota", 2: "Comanche Peak"}
OTHERS = {0: (3, 2), 1: (1, 3), 2: (1, 2)}
VALIDATED = {"rows": "same areas", "area": "other area"}


def main() -> None:
    arguments = parse(__doc__, seeds={"type": int, "default": 1, "help": "seeds of each model"})
    logs = LOGS / "quick" if arguments.quick else LOGS
    arguments.out = logs if arguments.quick else ROOT / "reports"
    rows = []
    for fold, validated in product(AREAS, VALIDATED):
        chosen = prepare(fold, by_area=validated == "area")
        for seed, name in product(range(arguments.seeds), MODELS):
            run = logs / f"fold_{fold}/{validated}/seed_{seed}" / name
            if not (run / "evaluation/metrics.json").is_file():
                train(name, run, [*chosen, f"seed={seed}"], quick=arguments.quick)
            shared = {"fold": fold, "seed": seed, "validated": validated, "model": name}
            rows.append({**shared, **read_scores(run)})
            sys.stdout.write(f"{rows[-1]}\n")
    write("beyondarena", rows, arguments)
    if not arguments.quick:
        table = as_markdown(pd.DataFrame(rows))
        write_text(DOCS, insert_table(DOCS.read_text(), "beyondarena", table, by=COMMAND))


def prepare(fold: int, *, by_area: bool) -> list[str]:
    """Make the tensors of a fold; gives the overrides of its runs."""
    overrides = [f"split.fold={fold}"]
    if by_area:
        train, val = (f"[Wilderness_Area{area}]" for area in OTHERS[fold])
        folder = f"data/preparations/beyondarena/area_{fold}"
        values = f"train:{train},val:{val},test:[Wilderness_Area{fold + 1}],none:[Wilderness_Area4]"
        overrides = ["split.method=predefined", "split.n_folds=null", f"++split.values={{{values}}}"]
        overrides += [f"paths.{path}={folder}/{path}" for path in ("interim", "processed", "reports")]
    command("scripts/prepare.py", "preparation=beyondarena", *overrides)
    return [re.sub(r"^(\+*)", r"\1pipeline.", override) for override in overrides]


def train(name: str, run: Path, overrides: list[str], *, quick: bool) -> None:
    """Train and evaluate a model, as a run in this folder."""
    if name == "default":
        chosen = ["experiment=beyondarena", "trainer=cpu", "n_threads=1", f"run_folder={run}"]
        command("src/train.py", *chosen, *overrides, *["trainer.max_epochs=1"] * quick)
        command("src/evaluate.py", f"run={run}")
    else:
        chosen = ["+preparation@pipeline=beyondarena", f"models=[{name}]", f"hydra.run.dir={run.parent}"]
        command("src/baselines.py", *chosen, *overrides, *[f"settings.{name}.n_estimators=20"] * quick)


def command(script: str, *overrides: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, *overrides], cwd=ROOT, check=True, env=environment)


def read_scores(run: Path) -> dict[str, Any]:
    """Read the scores of a run on validation and test rows, and the seconds of its training."""
    metrics = json.loads((run / "evaluation/metrics.json").read_text())
    training = json.loads((run / "run.json").read_text())["training"]
    return {
        "n_test_rows": metrics["test"]["n_rows"],
        **{f"val_{score}": round(metrics["val"][score], 5) for score in SCORES},
        **{score: round(metrics["test"][score], 5) for score in SCORES},
        "fit_seconds": round(training["train_seconds"]),
    }


def as_markdown(runs: pd.DataFrame) -> str:
    """Write a table: a line for each fold and model, means over seeds, then the means of the folds."""
    fold = [f"{AREAS[fold]}, {n:,} rows" for fold, n in runs[["fold", "n_test_rows"]].to_numpy()]
    frame = runs.assign(fold=fold).replace({"model": MODELS, "validated": VALIDATED})
    folds = frame.groupby(["fold", "model", "validated"], sort=False)[[*SHOWN]].mean()
    means = folds.groupby(["model", "validated"], sort=False).mean()
    found = pd.concat([folds, pd.concat({"mean of the folds": means}, names=["fold"])])
    found["fit_seconds"] = found["fit_seconds"].round()
    table = found.unstack("validated", sort=False)
    titles = [", ".join(title) for title in product(SHOWN.values(), VALIDATED.values())]
    lines = [
        f"| area that tests | model | {' | '.join(titles)} |",
        f"| --- | --- |{' ---: |' * table.shape[1]}",
    ]
    for keys, values in zip(table.index, table.to_numpy(), strict=True):
        lines.append(f"| {' | '.join([*keys, *(f'{value:.4g}' for value in values)])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

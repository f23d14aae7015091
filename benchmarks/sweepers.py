"""Compare sweeps that prune with Hydra's stock Optuna sweeper: same space, same real data, same time.

python benchmarks/sweepers.py                        three quarters of an hour on two cores
python benchmarks/sweepers.py --seeds 0 --trials 8   a quick look

For each seed the stock sweeper does a number of trials, then ours does what it can in as many seconds. Both
train in two processes side by side. An epoch is a few batches of the full training set, and its score that of
a part of the validation split.
The same command resumes where an earlier one was stopped. It writes a table and a plot to reports/benchmark/.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
import pandas as pd
import yaml
from optuna.trial import FrozenTrial, TrialState

from canopy.cores import usable_cores

ROOT = Path(__file__).parents[1]
N_JOBS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--trials", type=int, default=24, help="trials of the stock sweeper")
    parser.add_argument("--epochs", type=int, default=16, help="epochs of a trial")
    parser.add_argument("--batches", type=int, default=60, help="batches of an epoch")
    parser.add_argument("--name", default="ours", help="of the sweeps that prune, to keep several kinds")
    parser.add_argument(
        "--overrides", nargs="*", default=[], help="of the sweeps that prune, for another pruner"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "logs/benchmarks/sweepers")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmark")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for sweeper in ("stock", "ours"):
            measure(sweeper, seed, arguments)
    found = pd.concat(
        read(sweeper, seed, arguments) for seed in arguments.seeds for sweeper in ("stock", "ours")
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = summarize(found, budget=arguments.trials * arguments.epochs)
    table.to_csv(arguments.out / "sweepers.csv", index=False, float_format="%.6g")
    plot(found, arguments.out / "sweepers.png")
    print(table.to_string(index=False, float_format="{:.4f}".format))


def name_of(sweeper: str, seed: int, arguments: argparse.Namespace) -> str:
    return f"{sweeper if sweeper == 'stock' else arguments.name}_{seed}"


def measure(sweeper: str, seed: int, arguments: argparse.Namespace) -> None:
    """Run one sweep, if an earlier command has not done so, and keep how long it took."""
    name = name_of(sweeper, seed, arguments)
    times = arguments.folder / f"{name}.json"
    if times.is_file():
        return
    own = {
        "stock": [
            *(
                "model=mlp",
                "callbacks=sweep",
                "hydra/sweeper=stock",
                "hydra/launcher=joblib",
                f"hydra.launcher.n_jobs={N_JOBS}",
            ),
            *("trainer.enable_progress_bar=false", "hydra.sweeper.direction=maximize"),
            *(f"{key}={value}" for key, value in search_space().items()),
            f"hydra.sweeper.n_trials={arguments.trials}",
        ],
        "ours": [
            *("sweep=mlp_quick", "hydra.sweeper.n_trials=10000", "hydra.sweeper.warm_start=[]"),
            f"hydra.sweeper.timeout={seconds_of_stock(seed, arguments) if sweeper == 'ours' else 0}",
            *arguments.overrides,
        ],
    }[sweeper]
    overrides = [
        *own,
        *("trainer=cpu", f"trainer.max_epochs={arguments.epochs}", "trainer.limit_val_batches=5"),
        *(f"trainer.limit_train_batches={arguments.batches}", f"hydra.sweeper.n_jobs={N_JOBS}"),
        *(f"hydra.sweeper.storage={storage(arguments)}", f"hydra.sweeper.study_name={name}"),
        *(f"hydra.sweeper.sampler.seed={seed}", f"hydra.sweep.dir={arguments.folder / name}"),
    ]
    script = ROOT / "benchmarks/stock_train.py" if sweeper == "stock" else ROOT / "src/train.py"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": str(max(1, usable_cores() // N_JOBS)),
    }
    start = time.time()
    with (arguments.folder / f"{name}.log").open("w") as log:
        command = [sys.executable, str(script), "-m", *overrides]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)
    times.write_text(json.dumps({"start": start, "seconds": time.time() - start}))


def search_space() -> dict[str, str]:
    content = yaml.safe_load((ROOT / "configs/sweep/mlp.yaml").read_text())
    space: dict[str, str] = content["hydra"]["sweeper"]["params"]
    return space


def storage(arguments: argparse.Namespace) -> str:
    return f"sqlite:///{arguments.folder.resolve() / 'studies.db'}"


def seconds_of_stock(seed: int, arguments: argparse.Namespace) -> float:
    content = json.loads((arguments.folder / f"{name_of('stock', seed, arguments)}.json").read_text())
    return float(content["seconds"])


def read(sweeper: str, seed: int, arguments: argparse.Namespace) -> pd.DataFrame:
    """Give one row for each trial in the order of their ends."""
    name = name_of(sweeper, seed, arguments)
    times = json.loads((arguments.folder / f"{name}.json").read_text())
    study = optuna.load_study(study_name=name, storage=storage(arguments))
    done = [trial for trial in study.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    done.sort(key=ended)
    frame = pd.DataFrame(
        {
            "sweeper": sweeper,
            "seed": seed,
            "seconds": [ended(trial) - times["start"] for trial in done],
            "epochs": [len(trial.intermediate_values) or arguments.epochs for trial in done],
            "complete": [trial.state == TrialState.COMPLETE for trial in done],
            "value": [trial.value for trial in done],
            "sweep_seconds": times["seconds"],
        }
    )
    frame["epochs_so_far"] = frame["epochs"].cumsum()
    frame["best"] = frame["value"].where(frame["complete"]).cummax().ffill()
    return frame


def ended(trial: FrozenTrial) -> float:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp()


def summarize(found: pd.DataFrame, *, budget: int) -> pd.DataFrame:
    """Count trials for each hour and for each budget of epochs, and give the best value at their ends."""
    rows: list[dict[str, Any]] = []
    for (seed, sweeper), sweep in found.groupby(["seed", "sweeper"], sort=False):
        within = sweep[sweep["epochs_so_far"] <= budget]
        rows.append(
            {
                "seed": seed,
                "sweeper": sweeper,
                "seconds": sweep["sweep_seconds"].iloc[0],
                "trials": len(sweep),
                "trials_per_hour": len(sweep) / sweep["sweep_seconds"].iloc[0] * 3600,
                "epochs": sweep["epochs_so_far"].iloc[-1],
                "trials_in_budget": len(within),
                "best_in_budget": within["best"].iloc[-1],
                "best_in_time": sweep["best"].iloc[-1],
            }
        )
    return pd.DataFrame(rows)


def plot(found: pd.DataFrame, path: Path) -> None:
    """Draw the best value so far over the epochs, a panel for each seed."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    seeds = found["seed"].unique()
    figure, axes = plt.subplots(
        1, len(seeds), figsize=(3.5 * len(seeds), 3.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, seed in zip(axes[0], seeds, strict=True):
        for sweeper, sweep in found[found["seed"] == seed].groupby("sweeper", sort=False):
            label = f"{sweeper}: {len(sweep)} trials"
            axis.step(sweep["epochs_so_far"], sweep["best"], where="post", label=label)
        axis.set(title=f"seed {seed}", xlabel="epochs trained")
        axis.set_ylim(found["best"].max() - 0.03, found["best"].max() + 0.002)
        axis.legend(loc="lower right")
    axes[0][0].set_ylabel("best validation accuracy so far")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()

"""Compare Canopy's presets with trees and nets of other packages on many tables, on the very same rows.

Each table is drafted by `init_dataset`, split with each seed, prepared and learnt by each model; the test
rows are scored by log loss, accuracy, area under the ROC curve and calibration error. What is measured is
not measured again, so that a stopped run resumes: records are lines of reports/benchmark/tables.jsonl.

python benchmarks/tables.py ../tables                        all tables and models
python benchmarks/tables.py ../tables --records mine.jsonl   all of them again
python benchmarks/tables.py ../tables --quick                the smallest tables, one seed
python benchmarks/tables.py ../tables --seeds --publish      the tables of docs/presets.md from the records
python benchmarks/tables.py ../tables --models default lightgbm --tables wine adult --seeds 0 1
python benchmarks/tables.py ../tables --candidates benchmarks/variants.yaml
                                                             each of its models against the first

The folder has tables and an INDEX.md, in it a Markdown table with the columns `file`, `classes` and `target`.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml
from common import OUT as PUBLISHED
from common import ROOT, write
from numpy.typing import NDArray

from canopy.baselines.baselines import BASELINES, Fitted, Floats
from canopy.baselines.rows import Rows, load_split
from canopy.compare.summary import insert_table
from canopy.data.dataset import load_rows
from canopy.files import write_text
from canopy.quoting import write_override
from canopy.schema.tensors import SCHEMA_FILE, Schema
from canopy.tasks.calibration import apply_temperature, fit_temperature, measure_reliability
from canopy.tasks.task import task_of

if TYPE_CHECKING:
    import pandas as pd

OUT = ROOT / "logs/benchmarks/tables"
DOCS = ROOT / "docs/presets.md"
COMMAND = "benchmarks/tables.py"
N_QUICK = 6
SEEDS = (0, 1, 2)
BEST = "best"
PRESETS = ("quick", "default", BEST)

# Called with training, validation and test rows, the number of classes and a seed; it gives the probability
# of each class for each test row.
Peer = Callable[[Rows, Rows, Rows, int, int], Floats]


class Table(NamedTuple):
    """A file and its target."""

    path: Path
    target: str

    @property
    def name(self) -> str:
        return self.path.name.partition(".")[0]


def read_index(folder: Path) -> list[Table]:
    """Find the tables of classification that a folder's INDEX.md lists, the smallest first."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (folder / "INDEX.md").read_text().splitlines()
        if line.startswith("|")
    ]
    places = {name: rows[0].index(name) for name in ("file", "classes", "target")}
    tables = [
        Table(folder / row[places["file"]], row[places["target"]].split()[0])
        for row in rows[2:]
        if row[places["classes"]].isdigit()
    ]
    return sorted(tables, key=lambda table: table.path.stat().st_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with tables and INDEX.md")
    parser.add_argument("--quick", action="store_true", help="few small tables, one seed")
    parser.add_argument("--tables", nargs="*", help="names of tables (default: all)")
    parser.add_argument("--models", nargs="*", help="names of models (default: all)")
    parser.add_argument("--seeds", nargs="*", type=int, default=[*SEEDS], help="seeds of split and model")
    parser.add_argument(
        "--candidates",
        type=Path,
        help="YAML, name: {normalize: METHOD, overrides: [...]}: models to compare with the first",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the prepared tables")
    parser.add_argument("--records", type=Path, help="file of the records (default: in reports/benchmark/)")
    parser.add_argument(
        "--publish", action="store_true", help="write reports/benchmark/tables.json, docs/presets.md"
    )
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    tables = {table.name: table for table in read_index(arguments.folder.resolve())}
    variants = yaml.safe_load(arguments.candidates.read_text()) if arguments.candidates else {}
    candidates = {name: {"overrides": [f"preset={name}"]} for name in PRESETS} | variants
    out = arguments.out.resolve()
    if arguments.job:
        name, seed, model = arguments.job
        record = measure(tables[name], int(seed), model, candidates, out)
        print(json.dumps(record))
        return
    names = arguments.tables or [*tables][: N_QUICK if arguments.quick else None]
    models = arguments.models or ([*variants] if variants else [*PRESETS, *PEERS])
    records = arguments.records or PUBLISHED / ("variants.jsonl" if variants else "tables.jsonl")
    done = {(item["table"], item["seed"], item["model"]) for item in read_records(records)}
    for name in names:
        for seed in arguments.seeds[: 1 if arguments.quick else None]:
            for model in models:
                if (name, seed, model) not in done:
                    run_job([name, str(seed), model], arguments, records)
    chosen = [item for item in read_records(records) if item["table"] in names and item["model"] in models]
    rows = compare_variants(chosen, reference=next(iter(variants))) if variants else summarise(chosen)
    print(as_markdown(rows))
    if arguments.publish:
        arguments.out = PUBLISHED
        if variants:
            write("variants", rows, arguments)
            tables_of_docs = {"variants": rows}
        else:
            # `best` takes long and has learnt fewer tables: they are counted apart.
            others = [item for item in chosen if item["model"] != BEST]
            losses, ahead = by_table(others), count_ahead(others)
            best = [row for row in count_ahead(chosen) if row["preset"] == BEST]
            write("tables", rows, arguments, tables=losses, ahead=ahead, best=best)
            tables_of_docs = {"ranks": summarise(others), "ahead": ahead, "tables": losses, BEST: best}
        text = DOCS.read_text()
        for name, found in tables_of_docs.items():
            text = insert_table(text, name, as_markdown(found), by=COMMAND)
        write_text(DOCS, text)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        yield from map(json.loads, path.read_text().splitlines())


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rank the models by the median over seeds, on the tables and seeds that all of them have learnt.

    Returns:
        For each model the mean of its ranks (1 is the best) by each score, their critical difference (two
        mean ranks that are closer do not differ; Nemenyi's test at 5 %), and the median of its seconds.

    Source: Demsar, Statistical comparisons of classifiers over multiple data sets, 2006.
    """
    from scipy.stats import studentized_range

    frame = _shared(records)
    models = frame["model"].unique()
    shared = frame.groupby(["table", "model"]).median(numeric_only=True)
    n_tables = shared.index.get_level_values("table").nunique()
    quantile = studentized_range.ppf(0.95, len(models), np.inf) / np.sqrt(2)
    # Accuracy says little where one of two classes is rare.
    two = shared["n_classes"] == 2
    shared = shared.assign(quality=shared["auc"].where(two, shared["accuracy"]))
    ranks = {
        score: shared[score].groupby("table").rank(ascending=score in ("nll", "ece")).groupby("model").mean()
        for score in ("nll", "quality", "accuracy", "ece")
    }
    rows = [
        {
            "model": model,
            "n_tables": n_tables,
            **{score: round(float(found[model]), 2) for score, found in ranks.items()},
            "critical_difference": round(
                float(quantile * np.sqrt(len(models) * (len(models) + 1) / (6 * n_tables))), 2
            ),
            "seconds": round(float(shared["fit_seconds"].xs(model, level="model").median()), 1),
        }
        for model in (models if n_tables else [])
    ]
    return sorted(rows, key=lambda row: row["nll"])


def by_table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the number of seeds and the log loss of each model on each table, the median over them."""
    rows: Any = _losses(records).round(4).reset_index().to_dict("records")
    return list(rows)


def count_ahead(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count the tables on which each preset has a lower log loss than another model, the median over seeds.

    Returns:
        For each preset, its tables ahead of each other model and of the best one that is no preset, of those
        where the two differ by 0.0001 or more.
    """
    losses = _losses(records)
    others = [name for name in losses if name not in PRESETS]
    rivals = {name: losses[name] for name in losses} | {"best of the others": losses[others].min(axis=1)}
    rows = []
    for preset in (name for name in PRESETS if name in losses):
        row = {"preset": preset}
        for name, rival in rivals.items():
            gaps = (rival - losses[preset]).round(4)
            row[f"ahead of {name}"] = "" if name == preset else f"{(gaps > 0).sum()} of {(gaps != 0).sum()}"
        rows.append(row)
    return rows


def _shared(records: list[dict[str, Any]]) -> "pd.DataFrame":
    """Keep the records of the tables and seeds that all models have learnt."""
    import pandas as pd

    frame = pd.DataFrame(records)
    n_models = frame["model"].nunique()
    return frame[frame.groupby(["table", "seed"])["model"].transform("nunique") == n_models]


def _losses(records: list[dict[str, Any]]) -> "pd.DataFrame":
    """Give the median log loss over seeds: a row for each table and its number of seeds, a column a model."""
    frame = _shared(records)
    frame = frame.assign(n_seeds=frame.groupby("table")["seed"].transform("nunique"))
    losses = frame.pivot_table(values="nll", index=["table", "n_seeds"], columns="model", aggfunc="median")
    return losses[frame["model"].unique()]


def compare_variants(records: list[dict[str, Any]], *, reference: str) -> list[dict[str, Any]]:
    """Compare each model with a reference, on the tables and seeds that both have learnt.

    Returns:
        For each the number of tables, on how many its log loss is lower (the median over seeds), its log loss
        relative to the reference (the geometric mean over tables), and its seconds, likewise.
    """
    import pandas as pd

    columns = ["nll", "fit_seconds"]
    frame = pd.DataFrame(records).set_index(["table", "seed"])
    # What is nearly 0 is so for both.
    frame["nll"] = frame["nll"].clip(lower=1e-4)
    expected = frame.loc[frame["model"] == reference, columns]
    rows = []
    for model, found in frame[frame["model"] != reference].groupby("model", sort=False):
        ratios = (found[columns] / expected).dropna().groupby("table").median()
        means = np.exp(np.log(ratios).mean())
        rows.append(
            {
                "variant": model,
                "n_tables": len(ratios),
                "better": int((ratios["nll"] < 1).sum()),
                "relative_nll": round(float(means["nll"]), 3),
                "relative_seconds": round(float(means["fit_seconds"]), 2),
            }
        )
    return sorted(rows, key=lambda row: row["relative_nll"])


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Write a table of ranks."""
    if not rows:
        return "No table was learnt by all models"
    lines = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row.values()))} |" for row in rows)])


def run_job(job: list[str], arguments: argparse.Namespace, records: Path) -> None:
    """Measure one model in its own process, whose memory and threads leave the next alone."""
    command = [sys.executable, __file__, str(arguments.folder), "--out", str(arguments.out), "--job", *job]
    if arguments.candidates:
        command += ["--candidates", str(arguments.candidates)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(*job, "FAILED:", done.stderr.strip().splitlines()[-1:], flush=True)
        return
    line = done.stdout.strip().splitlines()[-1]
    with records.open("a") as file:
        file.write(f"{line}\n")
    record = json.loads(line)
    scores = " ".join(f"{name} {record[name]:.4f}" for name in ("nll", "accuracy", "auc"))
    print(f"{' '.join(job):40} {scores} {record['fit_seconds']:.0f} s", flush=True)


def measure(table: Table, seed: int, model: str, candidates: dict[str, Any], out: Path) -> dict[str, Any]:
    candidate = candidates.get(model)
    # Trees are the same on quantiles; other nets bring what they want to do with numbers.
    method = "z_score" if candidate is None else candidate.get("normalize")
    os.chdir(prepare(table, seed, method, out))
    if candidate is None:
        train, val, test = (load(split) for split in ("train", "val", "test"))
        started = time.perf_counter()
        probabilities = PEERS[model](train, val, test, len(load_schema().class_names), seed)
        seconds = time.perf_counter() - started
    else:
        test = load("test")
        probabilities, seconds = fit_candidate(model, candidate.get("overrides", []), seed)
    return {
        "table": table.name,
        "seed": seed,
        "model": model,
        "n_classes": probabilities.shape[1],
        **{name: float(f"{value:.6g}") for name, value in score(probabilities, test.labels).items()},
        "fit_seconds": round(seconds, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def prepare(table: Table, seed: int, method: str | None, out: Path) -> Path:
    """Make the tensors of a table, as `init_dataset` and `make repro` do.

    Args:
        table: The table.
        seed: Of the split.
        method: Normalisation of all numeric columns; None for the drafted one.
        out: Where the data set's folder is to be.
    """
    from omegaconf import OmegaConf

    from canopy.params import check_params, load_params
    from canopy.prepare import cap_classes, drop_columns, make_tensors, normalize, split
    from canopy.tables.draft.draft import draft_table, write_data_set

    folder = out / "data" / table.name / f"{seed}-{method or 'drafted'}"
    if (folder / "data/processed/schema.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_data_set(draft_table(table.path, target=table.target), folder)
    os.chdir(folder)
    params = load_params()
    params.seed = seed
    params.paths.configs = str(ROOT / "configs")
    if method:
        for item in params.normalize.methods:
            item.method = method
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(params))
    params = check_params(params)
    for stage in (drop_columns, split, normalize, cap_classes, make_tensors):
        stage.run(params)
    shutil.rmtree(folder / "data/interim")
    return folder


def load_schema() -> Schema:
    return Schema.load(Path("data/processed") / SCHEMA_FILE)


def load(split: str) -> Rows:
    return load_split("data/processed", split, load_schema())


def score(probabilities: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    # Forests give some classes none: without a bound one row would decide.
    probabilities = np.clip(probabilities.astype(float), 1e-15, None)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    n_classes = probabilities.shape[1]
    found = [k for k in range(1 if n_classes == 2 else 0, n_classes) if 0 < (labels == k).sum() < len(labels)]
    return {
        "nll": float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "auc": float(np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in found])),
        "ece": measure_reliability(np.log(probabilities), labels).ece,
    }


def fit_candidate(model: str, overrides: list[str], seed: int) -> tuple[Floats, float]:
    """Train as `src/train.py` does, and predict with the temperature, as a bundle does."""
    from hydra import compose, initialize_config_dir

    from canopy.evaluation.inference import Predictor
    from canopy.params import mount_params
    from canopy.prepare.preprocessor import Encoded
    from canopy.runs.fit import fit
    from canopy.runs.run import Run

    run = Path("runs", model).resolve()
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    mount_params()
    settings = [write_override("run_folder", str(run)), f"seed={seed}", "trainer=cpu", "logger=none"]
    settings += ["trainer.enable_progress_bar=false", "callbacks.progress_bar=null"]
    with initialize_config_dir(str(ROOT / "configs"), job_name="train", version_base=None):
        fit(compose("train", [*settings, "callbacks.resume_checkpoint=null", *overrides]))
    folder = Run(run)
    predicted, labels = {}, {}
    for split in ("val", "test"):
        predictor = Predictor(folder, batch_size=4096, accelerator="cpu", split=split)
        rows = load_rows("data/processed", split, load_schema()).rows
        encoded = Encoded(rows.numeric.numpy(), rows.categorical.numpy())
        predicted[split], labels[split] = predictor.predict(encoded).astype(float), rows.labels.numpy()
    temperature = fit_temperature(predicted["val"], labels["val"])
    seconds = float(folder.record["training"]["train_seconds"])
    shutil.rmtree(run)
    return np.exp(apply_temperature(predicted["test"], temperature)), seconds


def baseline(name: str) -> Peer:
    """Give one of the models of `src/baselines.py`, with its settings of `configs/baselines.yaml`."""

    def fit(train: Rows, val: Rows, test: Rows, _n_classes: int, seed: int) -> Floats:
        settings = yaml.safe_load((ROOT / "configs/baselines.yaml").read_text())["settings"][name]
        model = Fitted(BASELINES[name], train, val, task=task_of(load_schema()), seed=seed, settings=settings)
        return model.predict(test.features)

    return fit


def pytabkit_default(name: str) -> Peer:
    """Give a net of pytabkit as its authors set it."""

    def fit(train: Rows, val: Rows, test: Rows, n_classes: int, seed: int) -> Floats:
        import pandas as pd
        import pytabkit

        model = getattr(pytabkit, name)(random_state=seed, device="cpu", verbosity=0)
        labels = np.concatenate([train.labels, val.labels])
        features = pd.concat([train.features, val.features], ignore_index=True)
        model.fit(features, labels, val_idxs=np.arange(len(train.labels), len(labels)))
        probabilities = np.zeros((len(test.labels), n_classes))
        probabilities[:, model.classes_.astype(int)] = model.predict_proba(test.features)
        return probabilities

    return fit


PEERS: dict[str, Peer] = {
    **{name: baseline(name) for name in BASELINES},
    "RealMLP-TD": pytabkit_default("RealMLP_TD_Classifier"),
    "TabM-D": pytabkit_default("TabM_D_Classifier"),
}

if __name__ == "__main__":
    main()

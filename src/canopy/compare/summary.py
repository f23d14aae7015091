"""The pipeline's results as text: lines for the terminal, Markdown tables for README and documentation."""

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from canopy.compare.experiments import REPORT, read_experiments
from canopy.files import read_json

# That have tables which `make readme` writes.
DOCUMENTS = ("README.md", "docs/results.md", "docs/compression.md")
PUBLISHED = Path("docs/published.yaml")
_SHOWN = ["accuracy", "macro_f1", "balanced_accuracy", "nll"]


def summarize(reports: Path) -> str:
    """Give the latest result in a few lines: scores, what to compare them with, the weakest class, plots."""
    return _render("summary.txt", reports=reports, **_read_reports(reports))


def fill_document(document: str, reports: Path) -> str:
    """Write what a folder of reports holds between the marks that the text of a document has."""
    content, experiments = _read_reports(reports), read_experiments(reports / REPORT)
    tables = {
        "results": _render("results.md", **content),
        "peers": _render("peers.md", **content) if content["peers"] else None,
        "compression": compression_table(content["compression"]) if content["compression"] else None,
        "experiments": None if experiments.empty else experiments_table(experiments),
    }
    for name, table in tables.items():
        if table and marks(name)[0] in document:
            document = insert_table(document, name, table)
    return document


def _read_reports(folder: Path) -> dict[str, Any]:
    """Read the scores of each split, and the other reports by their names; empty if there is none."""
    content = {**read_json(folder / "metrics.json"), "train": read_json(folder / "train.json")}
    for name in ("baselines", "compression", "benchmark/peers"):
        path = folder / f"{name}.json"
        content[path.stem] = read_json(path) if path.is_file() else {}
    return content


def compression_table(report: dict[str, Any]) -> str:
    """Write what smaller models cost, from what `compression.json` holds."""
    return _render("compression.md", **report)


def experiments_table(runs: pd.DataFrame, published: Path = PUBLISHED) -> str:
    """Write what experiments reach next to published figures: a table for each split, the best first."""
    splits = []
    for split in yaml.safe_load(published.read_text(encoding="utf-8")):
        ours = runs[runs["split"] == split["split"]]
        if ours.empty:
            continue
        groups = ours.groupby(["name", "left_out"], sort=False, dropna=False)
        rows = [*(_experiment(group) for _, group in groups), *split["published"]]
        rows.sort(key=lambda row: -row["accuracy"])
        # The mean of each experiment over the groups that were left out, where it has several.
        means = ours.groupby(["name", "left_out"])[_SHOWN].agg("mean")
        rows += [
            {"model": f"**`{name}`**, mean of {len(parts)}", **parts.mean(), "source": "this repository"}
            for name, parts in means.groupby("name")
            if len(parts) > 1
        ]
        splits.append({"title": split["title"], "rows": rows})
    return _render("experiments.md", splits=splits, scores=_SHOWN)


def _experiment(runs: pd.DataFrame) -> dict[str, Any]:
    """Describe an experiment's runs over seeds as `published.yaml` does a model of others."""
    first, scores = runs.iloc[0], runs[_SHOWN].astype(float)
    kinds = {
        f"{device}, {n} thread{'s' if n > 1 else ''}"
        for device, n in zip(runs["device"], runs["n_threads"], strict=True)
    }
    return {
        "model": f"**`{first['name']}`**" + (f", {first['left_out']} left out" if first["left_out"] else ""),
        "seeds": len(runs),
        **scores.mean(),
        **({"sd": scores.std()} if len(runs) > 1 else {}),
        "time": f"{runs['train_seconds'].mean():.0f} s ({'; '.join(sorted(kinds))})",
        "source": "this repository",
    }


def marks(name: str, by: str = "make readme") -> tuple[str, str]:
    """Give the marks before and after a table that a command writes into a document."""
    return f"<!-- {name}: written by `{by}` -->", f"<!-- end of {name} -->"


def insert_table(document: str, name: str, table: str, *, by: str = "make readme") -> str:
    """Put a table of this name between its two marks in the text of a document."""
    first, last = marks(name, by)
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"The document must hold the marks {first} and {last}; found no such pair")
    return f"{before}{first}\n{table}\n{last}{after}"


def _render(template: str, **content: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("canopy.compare", "."),
        autoescape=False,  # noqa: S701 - no HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "digits": "{:.4f}".format,
        "thousands": "{:,}".format,
        "interval": lambda ends: "{:.4f} to {:.4f}".format(*ends),
    }
    return environment.get_template(f"{template}.jinja").render(content).rstrip()

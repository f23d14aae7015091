"""Put all results of reports/benchmark/ on one page, with tables and plots: reports/benchmark/index.html.

python benchmarks/page.py
"""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from common import parse, read
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from canopy.files import write_text

COLORS = ("#1c6b4a", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#5b5f5d")
# A curve that starts lower is cut off: what matters happens above.
LOWEST_ACCURACY = 0.85


def main() -> None:
    arguments = parse(__doc__)
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "canopy"})
    sections = [
        {"name": name, "content": content, **SECTIONS[name](content)}
        for name in SECTIONS
        if (content := read(name, arguments.out))
    ]
    if not sections:
        raise SystemExit(f"There must be results in {arguments.out}; found none: run `make benchmark`")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(Path(__file__).parent),
                jinja2.PackageLoader("canopy.explore", "."),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = text
    path = arguments.out / "index.html"
    write_text(path, environment.get_template("page.html.jinja").render(sections=sections))
    print(f"Written: {path}")


def text(value: Any) -> str:
    """Write a value of a table."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return f"{value:.4g}" if abs(value) < 100 else f"{value:,.0f}"


def loading(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    at = table.set_index("batch_size").loc[1024]

    def draw(axes: Axes) -> None:
        for column in table.filter(like="rows/s"):
            label = str(column).removesuffix(" rows/s")
            axes.plot(table["batch_size"], table[column] / 1e6, marker="o", label=label)
        axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="million rows per second")
        axes.set_xticks(table["batch_size"], [f"{size:,}" for size in table["batch_size"]])
        axes.minorticks_off()

    return {
        "title": "Loading",
        "about": "Shuffled batches of the training rows: our DataLoader over rows in memory and over windows "
        "of shards, indexing the tensors by hand (tensor[index], and torch.index_select), and PyTorch's "
        "stock DataLoader over a TensorDataset.",
        "finding": f"At batch size 1,024 our loader hands out {at['canopy rows/s'] / 1e6:.1f} million rows "
        f"per second: {at['canopy/indexing']:.2f} times indexing, {at['canopy/index_select']:.2f} times "
        f"index_select, {at['canopy rows/s'] / at['stock, 0 workers rows/s']:.0f} times the stock loader.",
        "tables": [table],
        "plots": [plot(draw)],
    }


def training(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    shares = table.set_index("net")["canopy/bare loop"]

    def draw(axes: Axes) -> None:
        columns = ["Trainer, all off rows/s", "canopy rows/s"]
        for index, column in enumerate(columns):
            places = [place + 0.38 * (index - 0.5) for place in range(len(table))]
            axes.barh(
                places,
                table[column] / table["bare loop rows/s"],
                height=0.36,
                label=column.removesuffix(" rows/s"),
            )
        axes.axvline(1, color="#18211c", linewidth=1)
        axes.set_yticks(range(len(table)), table["net"])
        axes.invert_yaxis()
        axes.set(xlabel="rows per second, as a share of the bare loop's")

    return {
        "title": "Overhead of training",
        "about": "The same net, optimiser, schedule and batches: in a bare loop, in Lightning's Trainer with "
        "everything off, and as `python src/train.py` trains, with metrics, callbacks, loggers and bar.",
        "finding": "A default run reaches "
        + ", ".join(f"{share:.1%} of the bare loop with {net}" for net, share in shares.items())
        + ".",
        "tables": [table],
        "plots": [plot(draw)],
    }


def peers(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    ours, *others = content["results"]
    best = max(others, key=lambda row: row["accuracy"])

    def draw(axes: Axes) -> None:
        for name, curve in content["curves"].items():
            seconds, accuracy = zip(*curve, strict=True)
            axes.plot(seconds, accuracy, marker="o" if len(curve) == 1 else None, label=name)
        axes.set(xlabel="seconds of the fit", ylabel="validation accuracy")
        highest = max(accuracy for curve in content["curves"].values() for _, accuracy in curve)
        axes.set_ylim(min(LOWEST_ACCURACY, highest - 0.05), highest + 0.005)

    return {
        "title": "Peers",
        "about": "The default experiment and other packages' models, fitted on the same training rows with "
        "all cores and scored on the test rows.",
        "finding": f"{ours['model']}: accuracy {ours['accuracy']:.4f} after {ours['fit_seconds']:.0f} s. The "
        f"best peer, {best['model']}: {best['accuracy']:.4f} after {best['fit_seconds']:.0f} s.",
        "tables": [table],
        "plots": [plot(draw)],
    }


def tables(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    first, second, *_ = content["results"]

    def draw(axes: Axes) -> None:
        axes.barh(table["model"], table["nll"], height=0.5, label="mean rank by log loss, 1 is the best")
        end = first["nll"] + first["critical_difference"]
        axes.axvline(end, color="#18211c", linewidth=1, label=f"level with {first['model']} up to here")
        axes.invert_yaxis()

    return {
        "title": "Many tables",
        "about": "Presets and other packages' models at their defaults, on the same rows of many tables: "
        "mean ranks over the tables that all have learnt, of the median over seeds. Quality is the area "
        "under the ROC curve for two classes and the accuracy for more. Models whose mean ranks differ by "
        "less than the critical difference (Nemenyi's test at 5 %) are level. Seconds are medians, in one "
        "thread.",
        "finding": f"{first['model']} has the best mean rank by log loss over {first['n_tables']} tables, "
        f"{first['nll']:.2f}; {second['model']} follows with {second['nll']:.2f}.",
        "tables": [table, pd.DataFrame(content["ahead"]), pd.DataFrame(content["tables"])],
        "plots": [plot(draw)],
    }


def variants(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    worst = content["results"][-1]
    return {
        "title": "Variants of the preset",
        "about": "preset=default without its refit, each time with one thing changed: on how many tables the "
        "log loss is lower, and log loss and seconds relative to it, geometric means over the tables.",
        "finding": f"The most harmful change: {worst['variant']}, {worst['relative_nll'] - 1:+.0%} log loss.",
        "tables": [table],
        "plots": [],
    }


def preparation(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    exponents = content["exponents"]

    def draw(axes: Axes) -> None:
        for name, part in table.groupby("stage", sort=False):
            axes.plot(part["rows"], part["seconds"], marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="rows of the table", ylabel="seconds")

    largest = max(content["results"], key=lambda row: row["peak_mib"])
    rows, stage, gib = largest["rows"], largest["stage"], largest["peak_mib"] / 1024
    finding = f"Most memory: {gib:.1f} GiB, by {stage} with {rows:,} rows."
    if exponents:
        steepest = max(exponents, key=exponents.__getitem__)
        finding += f" Steepest growth: rows to the power of {exponents[steepest]:.2f}, by {steepest}."
    growth = [{"stage": stage, "exponent": exponent} for stage, exponent in exponents.items()]
    return {
        "title": "Data preparation and growth",
        "about": "Each stage of the pipeline and one epoch of the default experiment, on the table and on "
        "copies of it with noise. The floor is what Arrow needs to read the stage's input and to write its "
        "outputs.",
        "finding": finding,
        "tables": [table, *([pd.DataFrame(growth)] if growth else [])],
        "plots": [plot(draw)] if table["rows"].nunique() > 1 else [],
    }


def many_files(content: dict[str, Any]) -> dict[str, Any]:
    (result,) = content["results"]
    return {
        "title": f"Many files ({result['format']})",
        "about": "Preparation of many copies of the table with noise, one file each, in a control group of "
        "little memory, and of one file without a limit.",
        "finding": f"{result['rows']:,} rows in {result['limit_mib']:,} MiB: {result['rows_per_second']:,} "
        f"rows per second, {result['ratio']:.1f} times those of one file.",
        "tables": [pd.DataFrame([{key: result[key] for key in result if key != "shards"}])],
        "plots": [],
    }


def startup(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    seconds = table.set_index("command")["seconds"]
    slowest = seconds[seconds.index.str.endswith("--help")]
    return {
        "title": "Start-up",
        "about": "What a command costs before it does anything.",
        "finding": f"The slowest help, {slowest.idxmax()}, takes {slowest.max():.1f} s; `make repro` with "
        f"nothing to do {seconds['make repro, up to date']:.1f} s.",
        "tables": [table],
        "plots": [],
    }


def plot(draw: Callable[[Axes], None]) -> str:
    """Draw a plot as SVG for a page."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=COLORS)
    draw(axes)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    content = buffer.getvalue()
    return content[content.index("<svg") :]


def serving(content: dict[str, Any]) -> dict[str, Any]:
    table = pd.DataFrame(content["results"])
    worst = table.loc[table["connections"].eq(table["connections"].max())]
    share = table["canopy/bare handler"]

    def draw(axes: Axes) -> None:
        for index, server in enumerate(("bare handler", "canopy")):
            places = [place + 0.38 * (index - 0.5) for place in range(len(table))]
            axes.barh(places, table[f"{server} requests/s"], height=0.36, label=server)
        labels = [f"{row.rows} rows, {row.connections} connections" for row in table.itertuples()]
        axes.set_yticks(range(len(table)), labels)
        axes.invert_yaxis()
        axes.set(xlabel="requests per second")

    return {
        "title": "Serving",
        "about": "One process of the server, with validation, counters, drift and access log, compared with "
        "a FastAPI handler that only calls the same graph; wrk asks both over loopback, in turns.",
        "finding": f"The server reaches {share.min():.0%} to {share.max():.0%} of the bare handler's "
        f"requests; at {worst['connections'].max()} connections its 99th percentile is "
        f"{worst['canopy p99 ms'].max():.0f} ms at most. Failed requests: {table['canopy failed'].sum()}.",
        "tables": [table],
        "plots": [plot(draw)],
    }


def gpu(content: dict[str, Any]) -> dict[str, Any]:
    cpu, ours, *_ = content["results"]
    work, checks = content["work"], pd.DataFrame(content["checks"])
    memory = content["peak_gpu_memory_mib"]
    finding = (
        f"{ours['device']}: {ours['train seconds']:.1f} s of training, {ours['rows/s']:,} rows per second, "
        f"{ours['rows/s'] / cpu['rows/s']:.1f} times the CPU's; test accuracy {ours['accuracy']:.4f} (CPU "
        f"{cpu['accuracy']:.4f}). It computes {work['share']:.0%} of the "
        f"{work['milliseconds_per_step']:.1f} ms of a step, in {work['kernels_per_step']:.0f} pieces of work."
    )
    if memory is not None:
        finding += f" Peak memory of the tensors on the GPU: {memory:.0f} MiB."
    finding += f" {checks['holds'].sum()} of {len(checks)} checks hold."
    return {
        "title": "GPU",
        "about": "The default experiment on a GPU: its test scores and those of the pipeline's run on a "
        "CPU, the weights of a run that was killed at random moments and resumed by command and those of "
        "one that was not, its bundle and its net. The time that the device computes is that of all "
        "kernels, copies and fills in a trace of some steps; the time of a step is that of the same steps "
        "without a trace.",
        "finding": finding,
        "tables": [
            pd.DataFrame(content["results"]),
            checks.drop(columns="is_score").assign(holds=checks["holds"].map({True: "yes", False: "no"})),
        ],
        "plots": [],
    }


SECTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "peers": peers,
    "tables": tables,
    "variants": variants,
    "training": training,
    "loading": loading,
    "preparation": preparation,
    "many_files_parquet": many_files,
    "many_files_csv": many_files,
    "startup": startup,
    "serving": serving,
    "gpu": gpu,
}


if __name__ == "__main__":
    main()

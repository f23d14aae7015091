"""The pipeline's result in words: for the terminal and as tables in the README and the documentation."""

from pathlib import Path
from typing import Any

from canopy.compare.experiments import REPORT, as_markdown, read_experiments
from canopy.files import read_json

# What `make readme` writes, and into which documents.
RESULTS, PEERS, COMPRESSION, EXPERIMENTS = "results", "peers", "compression", "experiments"
DOCUMENTS = ("README.md", "docs/results.md", "docs/compression.md")

# Where the best epoch comes after this share of all, the model still improved when training ended.
LATE = 0.9


class Results:
    """The reports of the pipeline's latest run.

    Args:
        reports: Folder with `metrics.json` and `train.json`, perhaps also with `baselines.json` and
            `benchmark/peers.json`.

    Raises:
        FileNotFoundError: If the pipeline has not written them.
    """

    def __init__(self, reports: Path) -> None:
        self.reports = reports
        self.metrics: dict[str, Any] = read_json(reports / "metrics.json")
        self.train: dict[str, Any] = read_json(reports / "train.json")
        baselines = reports / "baselines.json"
        self.baselines: dict[str, Any] = read_json(baselines) if baselines.is_file() else {}
        peers = reports / "benchmark/peers.json"
        self.peers: dict[str, Any] | None = read_json(peers) if peers.is_file() else None

    def summary(self) -> str:
        """Give the result as a few lines: scores, what to compare them with, the weakest class, plots."""
        test, train = self.metrics["test"], self.train
        weakest = min(test["per_class"], key=lambda name: test["per_class"][name]["f1"])
        scores = test["per_class"][weakest]
        commonest = max(test["per_class"], key=lambda name: test["per_class"][name]["support"])
        share = test["per_class"][commonest]["support"] / test["n_rows"]
        return "\n".join(
            [
                f"Test accuracy  {test['accuracy']:.4f} (95 %: {_interval(test, 'accuracy')}), "
                f"{test['n_rows']:,} rows; always {commonest}: {share:.4f}",
                f"Log loss       {test['calibrated']['nll']:.4f}, ECE {test['calibrated']['ece']:.4f}, "
                "as it is served (with its temperature)",
                f"Macro-F1       {test['macro_f1']:.4f} (95 %: {_interval(test, 'macro_f1')})",
                f"Weakest class  {weakest}: F1 {scores['f1']:.4f}, recall {scores['recall']:.4f}, "
                f"{scores['support']:,} rows",
                *self._baseline_lines(),
                f"Training       {train['train_seconds']:.0f} s, {train['epochs']} epochs, "
                f"{train['device']}, {train['n_threads']} threads{self._advice()}",
                f"Plots          {self.reports / 'confusion_matrix_test.png'}, "
                f"{self.reports / 'exploration' / 'index.html'}",
            ]
        )

    def _baseline_lines(self) -> list[str]:
        """Say how much better or worse than each baseline the model is."""
        lines = []
        for report in self.baselines.values():
            test, net = report["test"], report["net"]
            low, high = net["interval"]
            found = "level" if low <= 0 <= high else "ahead" if low > 0 else "behind"
            lines.append(
                f"{report['title']}: accuracy {test['accuracy']:.4f}, log loss {test['nll']:.4f}; "
                f"the model is {found} ({net['accuracy_difference']:+.4f}, "
                f"95 %: {low:+.4f} to {high:+.4f})"
            )
        return [f"{'Baselines' if not n else '':14} {line}" for n, line in enumerate(lines)]

    def _advice(self) -> str:
        """Say whether longer training promises more: whether the best epoch was among the last."""
        # With several kinds each has its own, and the last validation always counts.
        best = None if "members" in self.train else self.train.get("best_epoch")
        if best is None:
            return ""
        if best > LATE * self.train["epochs"]:
            return f"; the best was epoch {best}, near the end: longer training may give more (preset=best)"
        return f"; the best was epoch {best}: longer training alone would give no more"

    def table(self) -> str:
        """Give the scores as Markdown tables: of the whole test split, and of each class."""
        test, val, train = self.metrics["test"], self.metrics["val"], self.train
        lines = [
            "| split | rows | accuracy | macro-F1 | balanced accuracy | NLL | ECE |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {name} | {scores['n_rows']:,} | {scores['accuracy']:.4f} | {scores['macro_f1']:.4f} "
            f"| {scores['balanced_accuracy']:.4f} | {scores['nll']:.4f} | {scores['ece']:.4f} |"
            for name, scores in (("test", test), ("validation", val))
        ]
        lines += [
            "",
            "95 % intervals of the test scores, from a bootstrap over rows and Wilson's intervals: "
            f"accuracy {_interval(test, 'accuracy')}, macro-F1 {_interval(test, 'macro_f1')}, "
            f"balanced accuracy {_interval(test, 'balanced_accuracy')}. With the temperature "
            f"{test['calibrated']['temperature']:.3f}, fitted on the validation rows, the test rows' NLL is "
            f"{test['calibrated']['nll']:.4f} and their ECE {test['calibrated']['ece']:.4f}.",
            "",
            "| class (test) | precision | recall | F1 | rows |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {name} | {scores['precision']:.4f} | {scores['recall']:.4f} | {scores['f1']:.4f} "
            f"| {scores['support']:,} |"
            for name, scores in test["per_class"].items()
        ]
        lines += [
            "",
            f"Trained in {train['train_seconds']:.0f} s ({train['epochs']} epochs, "
            f"{train['rows_per_second']:,} rows/s, {train['n_parameters']:,} parameters) on "
            f"{train['device']} with {train['n_threads']} threads, seed {train['seed']}.",
        ]
        return "\n".join([*lines, "", self.peer_table()]).rstrip()

    def peer_table(self) -> str:
        """Give the table of other packages' models and ours, if they have been measured."""
        if self.peers is None:
            return ""
        machine = self.peers["machine"]
        rows = [
            f"| {row['model']} | {row['fit_seconds']:.0f} | {row['predict_seconds']:.1f} "
            f"| {row['accuracy']:.4f} | {row['macro_f1']:.4f} | {row['balanced_accuracy']:.4f} "
            f"| {row['size_mb']:.0f} |"
            for row in self.peers["results"]
        ]
        lines = [
            f"Other models on the same rows, one after the other ({machine['processor']}, "
            f"{machine['n_cores']} cores; `make benchmark` measures them, and more):",
            "",
            "| model | fit, s | predict, s | accuracy | macro-F1 | balanced accuracy | MB |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
        ]
        return "\n".join(lines)


def compression_table(report: dict[str, Any]) -> str:
    """Give what smaller models cost as a Markdown table.

    Args:
        report: What `compression.json` holds.
    """
    machine, chosen = report["machine"], report["chosen"]
    rows = []
    for item in report["variants"]:
        one, *_, all_cores = item["speeds"]
        name = f"**{item['name']}**" if item["name"] == chosen else item["name"]
        rows.append(
            f"| {name} | {item['accuracy']:.4f} | {item['macro_f1']:.4f} | {item['rarest_recall']:.4f} "
            f"| {item['n_bytes'] / 1e3:.0f} | {one['one_row_us']:.0f} | {one['batch_ms']:.2f} "
            f"| {all_cores['rows_per_second']:,} | {item['times_smaller']:.1f} | {item['times_faster']:.1f} |"
        )
    threads = report["variants"][0]["speeds"][-1]["n_threads"]
    return "\n".join(
        [
            "| variant | accuracy | macro-F1 | recall of the rarest class | kB | microseconds a row "
            f"| ms for 1,024 rows | rows/s, {threads} threads | times smaller | times faster |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"Test rows; times of ONNX Runtime {report['versions']['onnxruntime']}, one thread unless noted "
            f"otherwise ({machine['processor']}, {machine['n_cores']} cores). The smallest that loses at "
            f"most {report['max_accuracy_drop']:g} of validation accuracy, and is batch-invariant, is "
            f"**{chosen}**.",
        ]
    )


def _interval(scores: dict[str, Any], name: str) -> str:
    low, high = scores["intervals"][name]
    return f"{low:.4f} to {high:.4f}"


def marks(name: str, by: str = "make readme") -> tuple[str, str]:
    """Give the marks before and after a table that a command writes into a document."""
    return f"<!-- {name}: written by `{by}` -->", f"<!-- end of {name} -->"


def insert_table(document: str, name: str, table: str, *, by: str = "make readme") -> str:
    """Put a table between its two marks.

    Args:
        document: Its text.
        name: Of the table.
        table: The new content.
        by: The command that writes it.

    Returns:
        The new text.

    Raises:
        ValueError: If the text lacks a mark.

    Examples:
        >>> begin, end = marks("results")
        >>> insert_table(f"a {begin} old {end} b", "results", "new").split()[-7:-2]
        ['new', '<!--', 'end', 'of', 'results']
    """
    first, last = marks(name, by)
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"The document must hold the marks {first} and {last}; found no such pair")
    return f"{before}{first}\n{table}\n{last}{after}"


def fill_document(document: str, reports: Path) -> str:
    """Write what the reports hold between the marks that a document has.

    Args:
        document: Its text.
        reports: Folder of the reports, perhaps also with those of the experiments.
    """
    results, compression = Results(reports), reports / "compression.json"
    tables = {RESULTS: results.table(), PEERS: results.peer_table()}
    if compression.is_file():
        tables[COMPRESSION] = compression_table(read_json(compression))
    if experiments := read_experiments(reports / REPORT):
        tables[EXPERIMENTS] = as_markdown(experiments)
    for name, table in tables.items():
        if marks(name)[0] in document:
            document = insert_table(document, name, table)
    return document

"""What all benchmarks share: where results go, on which machine they hold, runs that take turns."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "reports/benchmark"

# Packages whose version a result may depend on.
PACKAGES = (
    "torch",
    "lightning",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "xgboost-cpu",
    "lightgbm",
    "tabm",
    "rtdl-num-embeddings",
    "dvc",
    "hydra-core",
)


def parse(description: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """Read a benchmark's options.

    Args:
        description: The benchmark's docstring.
        **options: Further its own options, as `argparse.ArgumentParser.add_argument` takes them.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything, to see whether it works")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    for name, settings in options.items():
        parser.add_argument(f"--{name}", **settings)
    return parser.parse_args()


def take_turns(contenders: Mapping[str, Callable[[], float]], *, n_repeats: int) -> dict[str, list[float]]:
    """Measure each contender several times, one after the other, so that all see the same noise.

    Args:
        contenders: What gives one measurement, by name.
        n_repeats: Measurements of each.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(n_repeats):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def median(values: list[float]) -> float:
    """Give the median, rounded to what a measurement of time can resolve."""
    return float(f"{statistics.median(values):.4g}")


def write(name: str, results: list[dict[str, Any]], arguments: argparse.Namespace, **facts: Any) -> None:
    """Keep a benchmark's results, with the machine and the versions that they hold for.

    Args:
        name: Of the benchmark and its file.
        results: One row for each thing measured.
        arguments: Its options.
        **facts: What else a reader must know.
    """
    from canopy.files import write_json
    from canopy.runs.environment import describe_machine

    content = {
        "benchmark": name,
        "quick": arguments.quick,
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {**describe_machine(), "processor": processor()},
        "packages": {package: found for package in PACKAGES if (found := installed(package))},
        **facts,
        "results": results,
    }
    path = arguments.out / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    show(results)
    sys.stdout.write(f"Written: {path}\n")


def installed(package: str) -> str | None:
    """Give a package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Give the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    if names:
        return names[0]
    from platform import machine
    from platform import processor as name

    return name() or machine()


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    import pandas as pd

    sys.stdout.write(pd.DataFrame(rows).to_string(index=False) + "\n")


def read(name: str, folder: Path = OUT) -> dict[str, Any] | None:
    """Read a benchmark's results, if it has been run."""
    path = folder / f"{name}.json"
    content: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return content

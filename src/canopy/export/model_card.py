"""The model card of a bundle: Markdown for people, with front matter that the Hugging Face Hub reads."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup
from omegaconf import OmegaConf

from canopy.explore.templates import page_environment
from canopy.explore.wording import fixed, moment
from canopy.export.manifest import Manifest
from canopy.files import read_json
from canopy.metrics import LOWER_IS_BETTER
from canopy.runs.run import Run
from canopy.text_tables import decimals, format_value

log = logging.getLogger(__name__)

# No hash covers it, since people complete it.
CARD_FILE = "MODEL_CARD.md"
# How far scores of an explanation may be from those of the evaluation: of a few rows.
TOLERANCE = 1e-4
CALIBRATED = " (calibrated)"
# Names on the Hub, where they differ.
HUB_METRICS = {"macro_f1": "f1", "auc": "roc_auc", "brier": "brier_score", "mcc": "matthews_correlation"}


def render_card(
    manifest: Manifest,
    run: Run,
    explanation: dict[str, Any] | None = None,
    folds: Mapping[str, Any] | None = None,
) -> str:
    """Write the card from what a bundle and its run hold; what neither knows is left out.

    Of an ensemble, `run` is that of the first fold, and `folds` what the cross-validation has found.

    Source: Mitchell et al., Model cards for model reporting, 2019; sections as in huggingface_hub's template.
    """
    environment = page_environment("canopy.export")
    environment.finalize = as_markdown
    environment.filters |= {"score": lambda value: fixed(value, decimals(abs(value))), "moment": moment}
    settings = OmegaConf.to_container(run.config.model, resolve=True)
    scored = "out-of-fold" if folds else "test"
    return environment.get_template("model_card.md.jinja").render(
        front_matter=Markup(as_yaml(front_matter(manifest, scored))),  # noqa: S704 - YAML
        task=pipeline_tag(manifest).replace("-", " "),
        title=title_of(manifest),
        manifest=manifest,
        record={"machine": {}, "packages": {}, "training": {}, **run.record},
        config=run.config,
        class_counts=run.schema.class_counts,
        settings=Markup(as_yaml(settings)),  # noqa: S704 - YAML
        scores={split: single_scores(found) for split, found in manifest.metrics.items()},
        lower_is_better=[*LOWER_IS_BETTER, *(f"{name}{CALIBRATED}" for name in LOWER_IS_BETTER)],
        explanation=explanation,
        folds=folds,
        scored=scored,
    )


def pipeline_tag(manifest: Manifest) -> str:
    """Name the kind of task as the Hub does."""
    return "tabular-classification" if manifest.classes else "tabular-regression"


def title_of(manifest: Manifest) -> str:
    """Give the title of the table on one line; that of its target if it has none."""
    return format_value(manifest.table.title) or format_value(manifest.table.target.column)


def single_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Give the scores of a split that are one number; those of calibrated probabilities where they differ."""
    found = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    del found["n_rows"]
    calibrated = {name: value for name, value in scores.get("calibrated", {}).items() if name in found}
    return found | {f"{name}{CALIBRATED}": v for name, v in calibrated.items() if v != found[name]}


def front_matter(manifest: Manifest, split: str) -> dict[str, Any]:
    """Give the metadata that `huggingface_hub.ModelCard` reads, with scores on a split as `model-index`."""
    task, title, metrics = pipeline_tag(manifest), title_of(manifest), []
    for name, value in single_scores(manifest.metrics["test"]).items():
        own = name.removesuffix(CALIBRATED)
        metrics.append({"type": HUB_METRICS.get(own, own), "value": value, "name": name})
    slug = re.sub(r"\W+", "-", title.lower()).strip("-") or "table"
    dataset = {"name": title, "type": slug, "split": split}
    result = {"task": {"type": task}, "dataset": dataset, "metrics": metrics}
    return {
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": ["tabular", "canopy"],
        "metrics": [*dict.fromkeys(metric["type"] for metric in metrics)],
        "model-index": [{"name": format_value(manifest.run["id"]), "results": [result]}],
    }


def read_explanation(path: Path, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read what the evaluation with `explain=true` left next to its scores; None if it is of other scores."""
    if not path.is_file():
        return None
    explanation: dict[str, Any] = read_json(path)
    scores = metrics[explanation.get("split", "val")]
    names = [name for name in ("n_rows", "accuracy", "mae") if name in scores]
    found = {name: explanation.get("slices", {}).get(name, math.nan) for name in names}
    if all(abs(x - scores[name]) <= TOLERANCE * max(1, abs(x)) for name, x in found.items()):
        return explanation
    log.warning("The model card has no explanation: that of %s is of a model with other scores", path)
    return None


def as_yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)).rstrip()


def as_markdown(value: object) -> object:
    """Escape a text for any place inside a line of Markdown, cells of tables included."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # An entity does not end a cell.
    text = re.sub(r"[\\`*_\[\]<>#~$&]", r"\\\g<0>", format_value(value))
    return Markup(text.replace("|", "&#124;"))  # noqa: S704 - Markdown

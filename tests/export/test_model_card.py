"""The model card: no name breaks its form; its metadata are the scores."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from omegaconf import OmegaConf

from canopy.export.manifest import Manifest
from canopy.export.model_card import read_explanation, render_card
from canopy.export.statistics import measure
from canopy.files import write_json
from canopy.prepare.preprocessor import Inputs, Preprocessor, Vocabulary
from canopy.prepare.scaling import Affine
from canopy.quoting import escape
from canopy.runs.run import Run
from canopy.schema import TableSchema
from canopy.text_tables import format_value
from odd_names import names
from schemas import class_task

SECTIONS = ["Model details", "Intended use", "Training data", "Evaluation", "Explanation", "Limitations"]
SECTIONS += ["How to use", "Environment"]
MARKED = [
    "a|b",
    "a\\|b",
    "**b**",
    "_i_",
    "`x`",
    "[l](u)",
    "![i](u)",
    "<b>",
    "&amp;",
    "~~s~~",
    "\n# h",
    "a\n---\nb",
]


def make_card(texts: list[str]) -> tuple[Manifest, str]:
    """Write the card of a model all names of which are odd."""
    title, target, number, category, day, one, two, red, blue = texts
    columns = {
        number: {"kind": "numeric", "unit": one, "meaning": two},
        category: {"kind": "categorical", "meaning": title},
        day: {"kind": "datetime"},
    }
    about = {"title": title, "about": "\n\n# ".join(texts), "target": {"column": target, "meaning": two}}
    scaling = Affine(method="z_score", center=0.0, scale=1.0, fill=0.0)
    own: dict[str, Any] = {"numeric": {number: scaling}, "datetime": {day: {"time": scaling}}}
    own["categorical"] = {category: Vocabulary(values=(red, blue))}
    preprocessor = Preprocessor(**own, indicators=(number, day), classes=("0", "1"))
    labels, classes = np.array([0, 1, 1, 0]), {"0": one, "1": two}
    inputs = Inputs(np.arange(8.0).reshape(4, 2), labels[:, None])
    scores = class_task(one, two).score(np.eye(2)[labels] * 0.8 + 0.1, labels).report()
    run = {"id": title, "started": None, "seed": 0, "git_commit": None, "n_parameters": 9}
    manifest = Manifest(
        table=TableSchema.parse({**about, "columns": columns}),
        classes=classes,
        preprocessor=preprocessor,
        training=measure(inputs, labels, preprocessor=preprocessor, classes=classes),
        calibration={"temperature": 1.5},
        metrics={"test": {**scores, "calibrated": {"temperature": 1.5, "nll": 0.25}}, "val": scores},
        parity={"n_rows": 4, "max_difference": 0.0},
        run={**run, "train_seconds": None},
        **{key: {} for key in ("data", "versions", "files")},
    )
    split = {"method": "group", "column": escape(category)}
    config = {"model": {"class_weights": {one: 1}}, "refit": False, "pipeline": {"split": split}}
    schema = SimpleNamespace(class_counts={"train": (2, 2)})
    trained = SimpleNamespace(record={}, config=OmegaConf.create(config), schema=schema)
    loss = {"log_loss_increase": {"mean": 0.1, "interval": [0.0, 0.2]}}
    worse = [
        {"feature": category, "value": red, "n_rows": 2, "accuracy": 0.5, "accuracy_interval": [0.1, 0.9]}
    ]
    explanation = {"importance": {"n_rows": 4, "features": {number: loss}}}
    explanation |= {"slices": {"worse": worse, "all": worse, "min_rows": 2}}
    return manifest, render_card(manifest, cast(Run, trained), explanation)


@settings(max_examples=30, deadline=None)
@given(st.lists(names | st.sampled_from(MARKED), min_size=9, max_size=9, unique_by=format_value))
def test_no_name_breaks_the_card(texts: list[str]) -> None:
    title, target, number, category, _, one, two, red, _ = texts
    manifest, card = make_card(texts)
    empty, metadata, body = card.split("---\n", 2)
    (index,) = yaml.safe_load(metadata)["model-index"]
    assert (empty, index["name"]) == ("", format_value(title))
    assert index["results"][0]["dataset"]["name"] == (format_value(title) or format_value(target))
    expected = {k: v for k, v in manifest.metrics["test"].items() if isinstance(v, float)}
    found = {item["name"]: item["value"] for item in index["results"][0]["metrics"]}
    assert found == {**expected, "nll (calibrated)": 0.25}
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    headings = [i + 1 for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert [tokens[i].content for i in headings][1:] == SECTIONS
    inline = [part for token in tokens for part in token.children or ()]
    kinds = Counter(part.type for part in inline)
    assert {*kinds} == {"text", "code_inline", "strong_open", "strong_close"}
    assert kinds["strong_open"] == 7
    cells = [i + 1 for i, token in enumerate(tokens) if token.type in ("th_open", "td_open")]
    shown = ["".join(part.content for part in tokens[i].children or ()) for i in cells]
    rows = [(one, "0", "50.0%"), (two, "1"), (category, red, "2", "0.5000 (0.1000 to 0.9000)")]
    for row in (*rows, (number, "0.1000 (0.0000 to 0.2000)")):
        wanted = [*map(format_value, row)]
        assert any(shown[i : i + len(row)] == wanted for i in range(len(shown))), row


def test_explanation_of_other_scores_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, metrics = tmp_path / "explanation.json", {"val": {"n_rows": 100, "accuracy": 0.90001}}
    assert read_explanation(path, metrics) is None
    for found, is_own in (((100, 0.9), True), ((100, 0.8), False), ((99, 0.9), False)):
        write_json(path, {"split": "val", "slices": dict(zip(("n_rows", "accuracy"), found, strict=True))})
        assert (read_explanation(path, metrics) is not None) == is_own
    assert len(caplog.records) == 2

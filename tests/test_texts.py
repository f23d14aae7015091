"""Texts for shells, configs and YAML, the names of runs, and tables for a terminal."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from canopy.quoting import escape, quote_texts, write_command, write_override, yaml_text
from canopy.run_name import run_name
from canopy.text_tables import format_column, render
from odd_names import ODD_NAMES, names, printable_names


@given(names)
def test_yaml_text_is_read_as_the_text(text: str) -> None:
    written = yaml_text(text)
    assert yaml.safe_load(f"a: {written} # {written}\n{written}: 1") == {"a": text, text: 1}
    assert len(written.splitlines()) == 1


@given(names)
def test_escaped_text_is_resolved_to_itself(text: str) -> None:
    config = OmegaConf.create({"value": escape(text), "values": [escape(text)], text: {text: escape(text)}})
    for _ in range(2):
        assert config.value == config["values"][0] == config[text][text] == text
        assert OmegaConf.to_container(config, resolve=True)["value"] == text
        config = OmegaConf.create(OmegaConf.to_yaml(config))


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "main.yaml").write_text("name: null\nrun: null\nnames: {}\n")
    return str(folder)


def read(configs: str, *words: str) -> Any:
    with initialize_config_dir(configs, job_name="read"):
        return compose("main", list(words))


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(printable_names, max_size=30))
@example(texts=ODD_NAMES)
def test_command_reaches_the_config_through_a_shell(texts: list[str], configs: str) -> None:
    overrides = (write_override(f"+names.k{index}", text) for index, text in enumerate(texts))
    python, script, *words = shlex.split(write_command("train", *overrides, name="1e5"))
    assert (python, Path(script).resolve()) == ("python", Path(__file__).parents[1] / "src/train.py")
    config = read(configs, *words)
    assert (config.name, [*config.names.values()]) == ("1e5", texts)


def typed(text: str) -> bool:
    """Leave out what has a meaning there: null, quotes, escapes, `???`, `${...}`, blanks at an end."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    has_meaning = any(sign in text for sign in ("\\", "???", "${"))
    return not quoted and not has_meaning and text.strip() == text != "null"


@settings(deadline=None, max_examples=25)
@given(text=printable_names.filter(typed))
@example(text="695e0514")
@example(text="my, runs (old)/[1]")
@example(text="true")
def test_typed_text_is_read_as_typed(text: str, configs: str) -> None:
    (word,) = quote_texts([f"name={text}"])
    assert read(configs, word).name == text
    assert quote_texts([word]) == [word], "also if a process is started with the same words again"


def test_multirun_may_give_several_values() -> None:
    words = ["name=a,b", "name=choice(a,b)", "name=1e5"]
    assert quote_texts(words, multirun=True) == [*words[:2], 'name="1e5"']


def test_a_run_s_folder_can_be_typed() -> None:
    """What a command is given as `run=<folder>` is one value to Hydra, without quotes."""
    for overrides, name in (
        (["seed=1", "model.optimizer.lr=0.0123456"], "mlp_seed-1_lr-0.0123"),
        (["model.net.hidden=[256, 256]"], "mlp_hidden-256-256"),
        (["preparation@pipeline=uncapped"], "mlp_preparation-pipeline-uncapped"),
        (["~callbacks.early_stopping", "+trainer.note='a=b, c'"], "mlp_callbacks.early_stopping_+note-a-b-c"),
        (["name=ä, ö", "data.folder=${oc.env:HOME}/x"], "mlp_folder-oc.env-HOME-x"),
    ):
        assert run_name(None, "mlp", overrides) == name
        folder = f"logs/train/runs/2026-11-23_{name}"
        assert OverridesParser.create().parse_override(f"run={folder}").value() == folder


@pytest.mark.parametrize("columns", [80, 120, 150])
def test_a_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    row = ["a-name-that-is-never-cut", "word " * 30, "term " * 10, 0.97182]
    head, line = render(["name", "long", "longer", "model.scheduler.max_lr"], [row]).splitlines()
    assert len(head) == len(line) == columns
    assert ("model.scheduler" in head) == (columns > 80)
    assert line.startswith(row[0])
    assert line.endswith("0.9718")


def test_each_number_of_a_column_keeps_its_significant_digits() -> None:
    for values, expected in (
        *(([0.01, 250.4], "0.01 250.4"), ([0.0031234, 23.5], "0.003123 23.5")),
        *(([1e-6, 0.0123456, None], "1e-06 0.01235 -"), ([0.25, 123456.75], "0.25 123457")),
        *(([9999.96, 0.5], "10000 0.5"), ([-0.00041234, 100.0], "-0.0004123 100")),
        # Nothing is lost with the same number of decimals.
        *(([0.0031, 0.5, 0.0], "0.0031 0.5000 0.0000"), ([123.456, 98765.4], "123 98765")),
        ([0.97182, 0.0312], "0.9718 0.0312"),
        # Nothing that a terminal obeys.
        (["\x1b[2J\n\ta"], "?[2J a"),
    ):
        assert " ".join(format_column(values)) == expected

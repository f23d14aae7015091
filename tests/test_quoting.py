import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from canopy.quoting import escape, quote_texts, write_command, write_override, yaml_text
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
    has_meaning = text == "null" or any(sign in text for sign in ("\\", "???", "${"))
    return not quoted and not has_meaning and text.strip() == text


@settings(deadline=None, max_examples=25)
@given(text=printable_names.filter(typed))
@example(text="695e0514")
@example(text="my, runs (old)/[1]")
@example(text="true")
def test_typed_text_is_read_as_typed(text: str, configs: str) -> None:
    (word,) = quote_texts([f"name={text}"])
    assert read(configs, word).name == text
    assert quote_texts([word]) == [word], "also if a process is started with the same words once more"


def test_multirun_may_give_several_values() -> None:
    assert quote_texts(["name=a,b", "name=choice(a,b)", "name=1e5"], multirun=True) == [
        *("name=a,b", "name=choice(a,b)", 'name="1e5"')
    ]

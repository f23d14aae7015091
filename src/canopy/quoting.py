"""Write texts so that YAML, OmegaConf, Hydra's command line and the shell read them as they are."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

# Options of the commands that are names or paths: what is typed for them is a text, never a number or a list.
TEXT_OPTIONS = (
    *("bundle", "input", "metrics", "name", "output", "plot", "publish.report", "publish.run", "reproduce"),
    *("report", "resume", "run", "run_folder", "hydra.run.dir", "hydra.sweep.dir"),
    *("hydra.sweeper.storage", "hydra.sweeper.study_name"),
)


def yaml_text(text: str) -> str:
    """Write a text as a YAML scalar, on one line."""
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))).rstrip("\n")


def yaml_flow(value: Any) -> str:
    r"""Write a value in YAML on one line, each text that is not one plain word in quotes.

    Examples:
        >>> print(yaml_flow({"kind": "categorical", "yes": ["", "a: b"], "min_count": 5}))
        {kind: categorical, "yes": ["", "a: b"], min_count: 5}
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{yaml_flow(key)}: {yaml_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_flow, value))}]"
    if isinstance(value, str):
        is_plain = re.fullmatch("[a-z]{2}[a-z_]*", value) and yaml.safe_load(value) == value
        return value if is_plain else yaml_text(value)
    return json.dumps(value)


def escape(text: str) -> str:
    """Make a text into a config value that resolves to it; `???` and `${...}` have a meaning to OmegaConf."""
    if re.fullmatch(r"\\*\?\?\?", text):
        return f"\\{text}"
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def escape_yaml(text: str) -> str:
    r"""Make plain YAML into such that OmegaConf resolves to the same texts; it takes keys as they are.

    Examples:
        >>> print(escape_yaml('${z}: ["${z}", "1e5", 1e5]'), end="")
        ${z}: ["\\${z}", "1e5", 1e5]
    """
    root = yaml.compose(text, yaml.CSafeLoader)
    waiting, seen = [root], set()
    for node in waiting:
        # What an alias stands for is the node itself.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            node.value = escape(node.value)
    return str(yaml.serialize(root, Dumper=yaml.CSafeDumper, allow_unicode=True)) if root else ""


def quote_value(value: str) -> str:
    """Put a config value in double quotes of Hydra's grammar; a shell's are single."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=value, quote=Quote.double).with_quotes()


def write_override(key: str, text: str) -> str:
    """Write an override that gives a key a text, in Hydra's grammar: `run=models/trained`, `name="1e5"`."""
    value = escape(text)
    if not re.fullmatch(r"[\w./-]+", value, re.ASCII) or _parse(f"{key}={value}") != value:
        value = quote_value(value)
    return f"{key}={value}"


def write_choice(key: str, value: Any) -> str:
    """Write an override with a value that a sweep has drawn; Optuna holds choices without their quotes.

    Examples:
        >>> [write_choice("a", value) for value in (0.1, True, None, "tabm", "[8, 8]", "1e5", "a,b")]
        ['a=0.1', 'a=true', 'a=null', 'a=tabm', 'a=[8, 8]', 'a="1e5"', 'a="a,b"']
    """
    if value is None or isinstance(value, bool):
        return f"{key}={'null' if value is None else str(value).lower()}"
    if isinstance(value, str) and not isinstance(_parse(f"{key}={value}"), str | list | dict):
        return f"{key}={quote_value(value)}"
    return f"{key}={value}"


def write_command(script: str, *words: str, **texts: str | Path) -> str:
    """Write a command of a script in `src/`, with overrides, to be pasted into a shell."""
    path = str(Path(__file__).resolve().parents[1] / f"{script}.py")
    shown = min(os.path.relpath(path), path, key=len)
    overrides = (write_override(key, str(text)) for key, text in texts.items())
    return shlex.join(["python", shown, *words, *overrides])


def quote_texts(words: Sequence[str], *, multirun: bool = False) -> list[str]:
    """Quote what a command line gives for `TEXT_OPTIONS` where Hydra would read something else."""
    # In a multirun, a value with a comma or a bracket may be those of several runs.
    return [word if multirun and set(word) & set(",(") else _quote(word) for word in words]


def _quote(word: str) -> str:
    key, _, value = word.partition("=")
    if key not in TEXT_OPTIONS or value in ("", "null") or "${" in value or isinstance(_parse(word), str):
        return word
    return f"{key}={quote_value(value)}"


def _parse(word: str) -> Any:
    """Read an override's value as Hydra does; None if it cannot."""
    # Here, since a command that only lists runs should not wait for the grammar.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    return None if override.is_sweep_override() else override.value()

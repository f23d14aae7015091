"""Write texts so that YAML, OmegaConf, Hydra's command line and the shell read them as they are."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Options of the commands that are names or paths: what is typed for them is a text, never a number or a list.
TEXT_OPTIONS = frozenset(
    (
        *("bundle", "input", "metrics", "name", "output", "plot", "publish.report", "publish.run"),
        *("reproduce", "report", "resume", "run", "run_folder", "hydra.run.dir", "hydra.sweep.dir"),
        *("hydra.sweeper.storage", "hydra.sweeper.study_name"),
    )
)


def yaml_text(text: str) -> str:
    r"""Write a text as a YAML scalar, on one line.

    Examples:
        >>> print(yaml_text("1e5"), yaml_text("it's"), yaml_text("a\nb"))
        "1e5" "it's" "a\nb"
    """
    written: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return written.rstrip("\n")


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
    r"""Make a text into a config value that resolves to it; `???` and `${...}` have a meaning to OmegaConf.

    Examples:
        >>> print(escape("???"), escape("${z}"), escape("z"))
        \??? \${z} z
    """
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
    while waiting:
        node = waiting.pop()
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
    written: str = yaml.serialize(root, Dumper=yaml.CSafeDumper, allow_unicode=True) if root else ""
    return written


def quote_value(value: str) -> str:
    """Put a config value, whose `${...}` are resolved, in quotes of Hydra's grammar; a shell's are single."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=value, quote=Quote.double).with_quotes()


def write_override(key: str, text: str) -> str:
    r"""Write an override that gives a key a text, in Hydra's grammar.

    Examples:
        >>> print(write_override("run", "models/trained"), write_override("name", "1e5"))
        run=models/trained name="1e5"
    """
    value = escape(text)
    if not re.fullmatch(r"[\w./-]+", value, re.ASCII) or _parse(f"{key}={value}") != value:
        value = quote_value(value)
    return f"{key}={value}"


def write_choice(key: str, value: Any) -> str:
    """Write an override with a value that a sweep has drawn.

    Optuna holds choices without their quotes, and lists, mappings and interpolations as texts of overrides.

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
    """Write a command of a script in `src/` that works when it is pasted into a shell in the working folder.

    Args:
        script: Name of the script, without the suffix.
        words: Further words of the command line.
        texts: Overrides by key.
    """
    path = Path(__file__).resolve().parents[1] / f"{script}.py"
    relative = os.path.relpath(path)
    shown = str(path) if relative.count("..") > 2 else relative
    overrides = (write_override(key, str(text)) for key, text in texts.items())
    return shlex.join(["python", shown, *words, *overrides])


def quote_texts(words: Sequence[str], *, multirun: bool = False) -> list[str]:
    r"""Quote what a command line gives for `TEXT_OPTIONS` where Hydra would read something else than it says.

    Args:
        words: Words of the command line.
        multirun: Whether a comma separates the values of several runs.

    Examples:
        >>> quote_texts(["name=695e0514", "run=my, runs (old)", "name=null", "seed=1", "name='quoted'"])
        ['name="695e0514"', 'run="my, runs (old)"', 'name=null', 'seed=1', "name='quoted'"]
        >>> quote_texts(["name=1e5,b", "run=choice(a,b)"], multirun=True)
        ['name="1e5",b', 'run=choice(a,b)']
    """
    return [_quote(word, multirun=multirun) for word in words]


def check_words(words: Sequence[str]) -> None:
    """Refuse words of a command line that are no overrides, with the quotes that they probably lack.

    Examples:
        >>> check_words(["run=models/trained", "input=my", "file.csv"])
        Traceback (most recent call last):
        ...
        ValueError: Each argument must be key=value; got 'file.csv': quote blanks, as 'input=my file.csv'
    """
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        # The value of one of Hydra's options is a separate word: --cfg job.
        if word.startswith("-") or (before.startswith("-") and "=" not in word):
            continue
        if re.match(r"\+*=", word) or ("=" not in word and not word.startswith("~")):
            hint = "write it without blanks"
            if "=" in before and not after.startswith("="):
                hint = f"quote blanks, as {shlex.quote(f'{before} {word}')}"
            raise ValueError(f"Each argument must be key=value; got {word!r}: {hint}")
        try:
            _override(word)
        except ValueError as error:
            key, _, value = word.partition("=")
            quoted = shlex.quote(f"{key}={quote_value(value)}")
            raise ValueError(
                f"Each argument must be key=value in Hydra's grammar; got {word!r} ({error}): quote a text "
                f"with special characters twice, as {quoted}"
            ) from error


def _quote(word: str, *, multirun: bool) -> str:
    key, sign, value = word.partition("=")
    if not sign or key not in TEXT_OPTIONS or value in ("", "null") or "${" in value:
        return word
    if multirun and ("," in value or "(" in value):
        if re.search(r"[\"'\[\](){}]", value):
            return word
        pieces = [_quote(f"{key}={piece}", multirun=False) for piece in value.split(",")]
        return f"{key}={','.join(piece.partition('=')[2] for piece in pieces)}"
    return word if isinstance(_parse(word), str) else f"{key}={quote_value(value)}"


def _parse(word: str) -> Any:
    """Read an override's value as Hydra does; None if it cannot."""
    try:
        override = _override(word)
    except ValueError:
        return None
    return None if override.is_sweep_override() else override.value()


def _override(word: str) -> "Override":
    # Here, since a command that only lists runs should not wait for the grammar.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        # Other lines repeat the word and name Hydra's documentation.
        lines = [line for line in str(error).splitlines() if not line.startswith(("Error ", "See "))]
        raise ValueError(" ".join(lines)) from error

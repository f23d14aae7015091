"""Keep passwords in URLs out of all that is written: command lines, logs, messages."""

import re
from collections.abc import Iterable

_PASSWORD = re.compile(r"(?<=://)([^\s/?#:@'\"]*):[^\s'\"]*@")
_PARAMETER = re.compile(
    r"([?&][^\s=&#'\"]*(?:password|passwd|secret|token|signature)[^\s=&#'\"]*=)[^\s&#'\"]+", re.IGNORECASE
)


def hide_passwords(text: str) -> str:
    """Write `***` in the place of each password in the URLs of a text."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def refuse_passwords(arguments: Iterable[str], *, hint: str) -> None:
    """Refuse a URL with a password, before anything of it is written; `hint` says how it is given instead."""
    for argument in arguments:
        if (hidden := hide_passwords(argument)) != argument:
            raise ValueError(
                "A URL must have no password in it, since logs and run folders keep command lines and "
                f"configs; found {hidden}: {hint}"
            )

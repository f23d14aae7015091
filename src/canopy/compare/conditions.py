"""Conditions on runs: `--where model.optimizer.lr<0.01`."""

import operator
import re
from dataclasses import dataclass
from typing import Any

import yaml

_FORM = re.compile(r"(?P<key>.+?)(?P<operator>>=|<=|!=|=|<|>)(?P<value>.*)")
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Condition:
    """A key, an operator and the value that a run's is compared with.

    Attributes:
        key: Dotted key of the run.
        operator: One of `=`, `!=`, `<`, `<=`, `>`, `>=`.
        value: The text behind the operator.

    Examples:
        >>> condition = Condition.parse("seed>=2")
        >>> [condition.holds(seed) for seed in (1, 2, None)]
        [False, True, False]
    """

    key: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read a condition.

        Raises:
            ValueError: If the text is none.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                f"A condition must be key=value, with one of = != < <= > >=; found {text!r}: quote it, since "
                "the shell reads < and >"
            )
        return cls(*match.group("key", "operator", "value"))

    def holds(self, value: Any) -> bool:
        """Say whether a run's value meets the condition; a run without the value only meets `!=`.

        Raises:
            ValueError: If a number is to be ordered against text.
        """
        if self.operator == "=":
            return self._equals(value)
        if self.operator == "!=":
            return not self._equals(value)
        if value is None:
            return False
        compare = _ORDER[self.operator]
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = _number(self.value)
            if number is None:
                raise ValueError(
                    f"{self.key} must be compared with a number, as it is {value}; found {self.value!r}: "
                    "correct --where"
                )
            return bool(compare(value, number))
        return bool(compare(str(value), self.value))

    def _equals(self, value: Any) -> bool:
        number = _number(self.value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value == number
        if str(value) == self.value:
            return True
        try:
            # As on the command line of a run: true, null, [8, 8].
            return bool(yaml.safe_load(self.value) == value)
        except yaml.YAMLError:
            return False


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""What predictions look like to those who ask for them, of a run or a bundle; without torch.

Predictions of classes are probabilities, shape (B, K); those of a number, in its unit, the number alone,
(B, 1), or with both ends of its interval, (B, 3).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from canopy.names import write_apart
from canopy.prepare.preprocessor import Vocabulary
from canopy.prepare.scaling import as_floats
from canopy.schema import TableSchema
from canopy.tables.convert import known_labels, to_numbers

TINY = 1e-12


class Answers(ABC):
    """What predictions look like.

    Attributes:
        groups: Names of what predictions are counted by: classes, or ranges of a number.
        shares: Share of the training rows in each group.
    """

    groups: list[str]
    shares: list[float]

    @abstractmethod
    def empty(self) -> NDArray[Any]:
        """Give the predictions of no rows."""

    @abstractmethod
    def columns(self, predictions: NDArray[Any]) -> dict[str, pa.Array]:
        """Lay out predictions as columns of a table."""

    def table(
        self, rows: pa.RecordBatch, predictions: NDArray[Any], *, keys: Sequence[str]
    ) -> pa.RecordBatch:
        """Lay out predictions behind the keys of their rows.

        A column of the predictions that has the name of a key gets the suffix `_predicted`.
        """
        # Features that are keys too are no texts.
        columns = {name: rows[name].cast(pa.string()) for name in keys}
        for name, values in self.columns(predictions).items():
            columns[f"{name}_predicted" if name in keys else name] = values
        return pa.RecordBatch.from_pydict(columns)

    def schema(self, keys: Sequence[str]) -> pa.Schema:
        """Give the columns of `table` and their types."""
        rows = pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in keys})
        return self.table(rows, self.empty(), keys=keys).schema

    @abstractmethod
    def report(self, predictions: NDArray[Any]) -> list[dict[str, Any]]:
        """Lay out predictions as JSON-able values, one for each row."""

    @abstractmethod
    def group(self, predictions: NDArray[Any]) -> NDArray[np.int64]:
        """Give the index of each prediction's group, shape (B,)."""

    @abstractmethod
    def contribution(self, own: NDArray[Any], others: NDArray[Any], shares: NDArray[np.float64]) -> float:
        """Measure how much a row's own prediction, (K,), is more than the mean of `others`, (V, K)."""

    @abstractmethod
    def scores(self, schema: TableSchema) -> "LabelScores":
        """Make what scores predictions where a table has labels."""


class LabelScores(ABC):
    """Scores predictions where a table has labels, batch by batch."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.n_labels = self.n_rows = 0

    @abstractmethod
    def update(self, labels: pa.Array, predictions: NDArray[Any]) -> None:
        """Add rows: texts of the target, null where there is none, and their predictions."""

    def merge(self, other: "LabelScores") -> None:
        """Add what other rows were scored by: all counts and sums."""
        for name, value in vars(other).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                vars(self)[name] += value

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Give the headers of a server's answer."""


class ClassAnswers(Answers):
    """Probabilities of classes, given by value and name.

    From a `threshold` of its probability on, the second of two classes is predicted; the likeliest if None.
    """

    def __init__(
        self, classes: Mapping[str, str], shares: Sequence[float] = (), *, threshold: float | None = None
    ) -> None:
        self.values, self.groups, self.shares = [*classes], [*classes.values()], [*shares]
        self.threshold = threshold

    def empty(self) -> NDArray[np.float32]:
        return np.empty((0, len(self.values)), np.float32)

    def columns(self, predictions: NDArray[Any]) -> dict[str, pa.Array]:
        """Give value and name of the predicted class, and the probability of each."""
        predicted = self.group(predictions)
        found = {
            "label": pa.array(np.array(self.values)[predicted]),
            "class": pa.DictionaryArray.from_arrays(pa.array(predicted, pa.int32()), self.groups),
        }
        probabilities = zip(self.groups, predictions.T, strict=True)
        return found | {f"probability_{name}": pa.array(column) for name, column in probabilities}

    def report(self, predictions: NDArray[Any]) -> list[dict[str, Any]]:
        values, names = self.values, self.groups
        return [
            {"label": values[index], "class": names[index], "probabilities": dict(zip(names, row))}  # noqa: B905
            for index, row in zip(self.group(predictions).tolist(), predictions.tolist(), strict=True)
        ]

    def group(self, predictions: NDArray[Any]) -> NDArray[np.int64]:
        if self.threshold is None:
            return np.asarray(predictions.argmax(axis=1))
        # In double precision, whatever the predictions are in.
        return (predictions[:, 1] >= np.float64(self.threshold)).astype(np.int64)

    def contribution(self, own: NDArray[Any], others: NDArray[Any], shares: NDArray[np.float64]) -> float:
        """Compare the logarithms of the predicted class's probability and of its mean."""
        (best,) = self.group(own[None])
        mean = float(others[:, best].astype(float) @ shares)
        return float(np.log(max(float(own[best]), TINY) / max(mean, TINY)))

    def scores(self, schema: TableSchema) -> "ClassScores":
        return ClassScores(schema, self)


class ClassScores(LabelScores):
    """Accuracy and log loss."""

    def __init__(self, schema: TableSchema, answers: ClassAnswers) -> None:
        super().__init__(schema)
        self._answers, self._classes = answers, Vocabulary(values=tuple(answers.values))
        self._n_right, self._log_loss = 0, 0.0

    def update(self, labels: pa.Array, predictions: NDArray[Any]) -> None:
        self.n_labels += len(labels) - labels.null_count
        if (keep := self.schema.target.keep) is not None:
            kept = pc.is_in(labels, pa.array([*keep, self.schema.target.merged_name]))
            labels = pc.if_else(kept, labels, pa.scalar(None, pa.string()))
        if self.schema.target.rare == "merge":
            labels = known_labels(labels, self.schema, self._classes.values)
        codes, _ = self._classes.encode(labels)
        known = codes < len(self._classes.values)
        codes, predictions = codes[known], predictions[known].astype(float)
        self.n_rows += len(codes)
        self._n_right += int(np.count_nonzero(self._answers.group(predictions) == codes))
        likelihood = predictions[np.arange(len(codes)), codes]
        self._log_loss -= float(np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).sum())

    def headers(self) -> dict[str, str]:
        return {"X-Labelled-Rows": str(self.n_rows), "X-Correct-Rows": str(self._n_right)}

    def __str__(self) -> str:
        if not self.n_rows:
            target, classes = self.schema.target.column, ", ".join(self._classes.values[:10])
            return f"Not scored: no label in the column {target!r} is one of the classes {classes}"
        accuracy, log_loss = self._n_right / self.n_rows, self._log_loss / self.n_rows
        return f"On {self.n_rows:,} rows with a label: accuracy {accuracy:.4f}, log loss {log_loss:.4f}"


class NumberAnswers(Answers):
    """A number in its unit, counted by ranges between `edges`, each with its upper end."""

    def __init__(
        self, edges: Sequence[float] = (), shares: Sequence[float] = (), *, has_interval: bool = True
    ) -> None:
        self._edges, self.shares, self._has_interval = np.array(edges), [*shares], has_interval
        ends = ["lowest", *write_apart(edges), "highest"]
        self.groups = [f"{low} to {high}" for low, high in pairwise(ends)]

    def empty(self) -> NDArray[np.float64]:
        return np.empty((0, 3 if self._has_interval else 1))

    def columns(self, predictions: NDArray[Any]) -> dict[str, pa.Array]:
        names = ("predicted", "low", "high")
        return {name: pa.array(column) for name, column in zip(names, predictions.T, strict=False)}

    def report(self, predictions: NDArray[Any]) -> list[dict[str, Any]]:
        return [{"predicted": value, "interval": ends} for value, *ends in predictions.tolist()]

    def group(self, predictions: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(np.searchsorted(self._edges, predictions[:, 0]))

    def contribution(self, own: NDArray[Any], others: NDArray[Any], shares: NDArray[np.float64]) -> float:
        return float(own[0] - others[:, 0] @ shares)

    def scores(self, schema: TableSchema) -> "NumberScores":
        return NumberScores(schema, has_interval=self._has_interval)


class NumberScores(LabelScores):
    """Root mean squared error, mean absolute error and the share of labels that intervals cover."""

    def __init__(self, schema: TableSchema, *, has_interval: bool) -> None:
        super().__init__(schema)
        self._squares = self._absolute = 0.0
        self._n_covered = 0
        self._has_interval = has_interval

    def update(self, labels: pa.Array, predictions: NDArray[Any]) -> None:
        self.n_labels += len(labels) - labels.null_count
        numbers, _ = to_numbers(labels, self.schema.target.as_number, self.schema.file)
        true = as_floats(numbers)
        known = np.isfinite(true)
        true, predictions = true[known], predictions[known]
        error = predictions[:, 0] - true
        self.n_rows += len(true)
        self._squares += float((error**2).sum())
        self._absolute += float(np.abs(error).sum())
        if self._has_interval:
            self._n_covered += int(((predictions[:, 1] <= true) & (true <= predictions[:, 2])).sum())

    def headers(self) -> dict[str, str]:
        if not self.n_rows:
            return {"X-Labelled-Rows": "0"}
        return {
            "X-Labelled-Rows": str(self.n_rows),
            "X-Mean-Absolute-Error": f"{self._absolute / self.n_rows:.6g}",
        }

    def __str__(self) -> str:
        if not self.n_rows:
            return f"Not scored: no label in the column {self.schema.target.column!r} is a number"
        rmse, mae = (self._squares / self.n_rows) ** 0.5, self._absolute / self.n_rows
        covered = f", {self._n_covered / self.n_rows:.1%} in their intervals" * self._has_interval
        return f"On {self.n_rows:,} rows with a label: RMSE {rmse:.6g}, MAE {mae:.6g}{covered}"

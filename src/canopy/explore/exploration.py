"""What to explore: the table's description and the limits of `params.yaml`."""

from dataclasses import dataclass, replace

from omegaconf import DictConfig

from canopy.table.spec import TableSpec


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What to explore, and from which figures on something is worth a remark.

    Attributes:
        spec: The columns.
        title: What the table is.
        about: What one row is and where it comes from.
        target_meaning: What the target says.
        nearly_constant_share: Share of rows with one value from which on a column is nearly constant.
        high_correlation: Absolute Pearson correlation from which on two columns are highly correlated.
        n_mutual_information_rows: Most rows drawn for the mutual information of numeric columns.
        seed: Seed of that draw.
    """

    spec: TableSpec
    title: str
    about: str
    target_meaning: str
    nearly_constant_share: float
    high_correlation: float
    n_mutual_information_rows: int
    seed: int

    @classmethod
    def from_config(cls, params: DictConfig) -> "Exploration":
        """Read the sections `table` and `explore` of `params.yaml`."""
        spec = TableSpec.from_config(params.table)
        return cls(
            # How often a number is missing is told of its own column.
            spec=replace(spec, groups=tuple(spec.given_groups)),
            title=params.table.title,
            about=params.table.about,
            target_meaning=params.table.target.meaning,
            seed=params.seed,
            **params.explore,
        )

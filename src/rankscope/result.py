"""The result of a study: a table that shows itself, saves itself, and says what it lacks."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rankscope.errors import error
from rankscope.records import Record, Table

if TYPE_CHECKING:
    import pandas as pd

    from rankscope.certificates import Certificate


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a study. It shows itself in a terminal and in a notebook, and behaves as its table.

    `result["effective_rank"].value` is one number; with several matrices `result["effective_rank"]` is a table.
    `certificates` are those of its matrices by their numbers, where the study was to certify.
    """

    table: Table
    notes: tuple[str, ...] = ()
    certificates: Mapping[int, "Certificate"] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.table)

    def __getitem__(self, measure: str) -> Record | Table:
        return self.table[measure]

    @property
    def refused(self) -> list[Record]:
        """One record for each matrix that could not be measured."""
        seen: dict[int, Record] = {}
        for record in self.table:
            if record.status != "ok":
                seen.setdefault(record.matrix, record)
        return list(seen.values())

    def to_frame(self) -> "pd.DataFrame":
        """The records as a pandas DataFrame, with the columns of their matrices joined on."""
        from rankscope.report.table import to_frame

        return to_frame(self.table)

    def to_json(self) -> str:
        """The result as JSON: the same bytes for the same study."""
        return self.table.to_json()

    def plot(self, name: str | None = None) -> Any:
        """A figure of the result, as a `matplotlib.figure.Figure`; its main one unless another is named."""
        from rankscope.report.figure import draw
        from rankscope.report.save import main_figure

        return draw(name or main_figure(self.table), self.table)

    def save(self, path: str | Path, *, figure: str | None = None) -> None:
        """Write the result; the suffix is the format: .json .csv .parquet .md .tex .png .svg .pdf .html.

        The file is complete under its name, or the earlier one is left as it was. What its reader should know, such as
        letters that no font here has, is a warning.
        """
        from rankscope.report.save import save

        for note in save(self.table, Path(path), figure):
            warnings.warn(note, stacklevel=2)

    def certify(self, path: str | Path) -> list[Path]:
        """Write the certificates, of several matrices each with its number: name-0.json …; what was written.

        Raises:
            UsageError: nothing was certified: analyse with `certify=True`.
        """
        path = Path(path)
        if not self.certificates:
            raise error("RS003", "certificates of a result that has none", "analyse with certify=True")
        several = len(self.table.matrices) > 1
        return [
            written
            for number, each in self.certificates.items()
            for written in each.write(path.with_stem(f"{path.stem}-{number}") if several else path)
        ]

    def require(self, guarantee: Literal["proved", "enclosed"]) -> None:
        """Refuse (RS403) a result in which a measure that was named lacks this guarantee.

        Where no measure was named, those are judged that a proof can raise so far: exact rank and determinant for
        "proved", all ranks and determinants for "enclosed". A number that is proved not to exist, such as the logarithm
        of a determinant of zero, lacks nothing.
        """
        from rankscope.guarantees import lacking

        found = lacking(self.table, guarantee)
        if found:
            raise error("RS403", *found)

    def __str__(self) -> str:
        from rankscope.report.terminal import to_text

        return to_text(self.table)

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from rankscope.report.notebook import to_html

        return {"text/plain": str(self), "text/html": to_html(self.table)}


def read(path: str | Path) -> Result:
    """A result that was saved as .json, .csv or .parquet; only JSON holds spectra and other series.

    Raises:
        FormatError: a file that holds no result.

    >>> import tempfile, rankscope as rs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rs.analyze([[1.0, 0.0], [0.5, 0.5]]).save(folder + "/result.json")
    ...     read(folder + "/result.json")["rank_exact"].value
    2
    """
    from rankscope.saved import read as table_of

    return Result(table_of(Path(path)))

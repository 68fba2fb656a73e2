"""Documents on results that exist: those of this session, and those that were saved in files."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rankscope.errors import RankscopeError, UsageError, error
from rankscope.records import Table
from rankscope.report import save
from rankscope.report.content import content_of, gallery_of
from rankscope.saved import merged, read


def report(results: Any, path: str | Path, *, figure: str | None = None) -> list[Path]:
    """Write a document on one or several results, and return the files that were written.

    The suffix is the format: .pdf, .html, or .png for the same pages as pictures, name-1.png, name-2.png … The
    document has what the results show in words, tables, the figures that suit them, how far each number can be
    trusted, what each measure is, and what was typed to make them. Results of matrices are shown together, and so are
    studies of depth.

    Args:
        results: a `Result`, a `Table`, the name of a .json, .csv or .parquet file that holds one, or several of these.
        path: the file to write; it is complete under its name, or the earlier one is left as it was.
        figure: only this figure, as in `rankscope list figures`: alone in a .pdf, .png or .svg, in a document in .html.

    Raises:
        FormatError: a file that holds no result.
        UsageError: a suffix that is no format, or a figure that no result has the numbers for.

    >>> import tempfile, rankscope as rs
    >>> result = rs.analyze(rs.synthetic(n=16, d=4, mask="causal"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in rs.report(result, folder + "/report.html")]
    ['report.html']
    """
    every = listed(results)
    tables = [table_of(each) for each in every]
    names = [Path(each).name if isinstance(each, str | Path) else f"result {i}" for i, each in enumerate(every, 1)]
    if not tables:
        raise error("RS002", "no results", "give a result, or the name of a file that holds one")
    with of_files(every):
        written, notes = write(merged(tables, names), Path(path), figure)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    return written


def write(tables: list[Table], path: Path, figure: str | None) -> save.Written:
    """Write a document, or one figure of the first table that has the numbers for it."""
    check_report(path, figure)
    if figure is None or path.suffix.lower() == ".html":
        return save.write_document(lambda letters: content_of(tables, figure, text=letters), path)
    *others, last = tables
    for table in others:
        with suppress(UsageError):
            return [path], save.save(table, path, figure)
    return [path], save.save(last, path, figure)


def write_gallery(tables: list[Table], path: Path, figure: str | None) -> save.Written:
    """Write a document with every figure that one of the tables has the numbers for, or with one figure."""
    return save.write_document(lambda letters: gallery_of(tables, figure, text=letters), path)


def check_report(path: Path, figure: str | None) -> None:
    """Refuse a file that is no document, before the work is done."""
    if path.suffix.lower() not in (*save.DOCUMENTS, ".png", *([".svg"] if figure else [])):
        remedy = "end its name with .pdf, .html or .png; .svg takes one --figure; other commands write tables"
        raise error("RS002", f"a report in the file {path.name!r}", remedy)
    save.check_target(path, figure)


@contextmanager
def of_files(given: Iterable[Any]) -> Iterator[None]:
    """A result that was read from a file may hold numbers that do not fit together: what fails then is its fault."""
    try:
        yield
    except RankscopeError:
        raise
    except Exception as reason:
        if not any(isinstance(each, str | Path) for each in given):
            raise
        what = f"a result cannot be shown: {type(reason).__name__}: {reason}"
        raise error("RS211", what, "give results as rankscope wrote them; --debug shows where it failed") from reason


def listed(results: Any) -> list[Any]:
    """One or several results as a list."""
    one = isinstance(results, str | Path | Table) or hasattr(results, "table")
    return [results] if one or not isinstance(results, Iterable) else list(results)


def table_of(result: Any) -> Table:
    """The table of a result, or of the file that holds it."""
    if isinstance(result, str | Path):
        return read(Path(result))
    table = getattr(result, "table", result)
    if not isinstance(table, Table):
        given = f"a report on {type(result).__name__}"
        raise error("RS002", given, "give a result, its table, or the name of a file that holds it")
    return table

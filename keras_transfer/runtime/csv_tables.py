"""Tables in CSV files, as people and spreadsheet programs write and read them."""

import csv
import io
import pathlib
from collections.abc import Collection, Iterator

# What a table takes for a formula if a cell begins with it; and the mark against it.
FORMULA, MARK = ("=", "+", "-", "@", "\t", "\r"), "'"


def read_table(
    path: pathlib.Path, columns: Collection[str], what: str, received: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the line, and the cells by the names of their columns.

    Columns are known by their headings in the first line, in large letters or small,
    and stand apart by commas, semicolons or tabulators. Cells that are missing are
    empty; further columns are passed over, and so are rows in which all are empty.

    Args:
        path: The file, in UTF-8 with or without a mark at its beginning.
        columns: Names of the columns that it must have, in small letters.
        what: Words for the file in errors, such as `"The review"`.
        received: What errors say was received.

    Raises:
        ValueError: If it is no such table.
        OSError: If it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise type(error)(
            f"{what} cannot be read ({error.strerror or error}). Received: {received}"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{what} is not in UTF-8. Save it again as CSV UTF-8. Received: {received}"
        ) from error
    first = text.partition("\n")[0]
    # Where a comma is in numbers, Excel writes semicolons between the columns.
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        found = next(rows, [])
        names = [heading.strip().lower() for heading in found]
        missing = [name for name in columns if name not in names]
        if missing:
            raise ValueError(
                f"{what} must have a first line with the columns "
                f"{_listed(columns)}. Received: {received} with the columns {found}, "
                f"without {', '.join(sorted(missing))}"
            )
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = dict(zip(names, map(unmarked, row), strict=False))
                yield rows.line_num, dict.fromkeys(names, "") | cells
    except csv.Error as error:
        raise ValueError(
            f"{what} cannot be read as a table ({error}). Received: {received}"
        ) from error


def marked(cell: str) -> str:
    """Return a cell that no table takes for a formula."""
    return f"{MARK}{cell}" if cell.startswith((*FORMULA, MARK)) else cell


def unmarked(cell: str) -> str:
    """Return what was given to `marked`."""
    return cell[1:] if cell.startswith(MARK) and cell[1:2] in (*FORMULA, MARK) else cell


def _listed(names: Collection[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last

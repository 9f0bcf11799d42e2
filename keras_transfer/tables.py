"""Tables as text, and as HTML for a notebook."""

import html
from collections.abc import Collection, Sequence


def as_text(
    header: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = (0,)
) -> str:
    """Return a table in columns: words to the left, numbers to the right.

    Args:
        header: Titles of the columns.
        rows: Cells of each row.
        words: Numbers of the columns that hold words. Defaults to the first one.
    """
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def as_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

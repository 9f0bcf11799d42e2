"""Tables as text for a terminal and as HTML for a notebook."""

import html
from collections.abc import Collection, Sequence


def text_table(rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """Return rows of cells as lines, the header first.

    The columns in `words` are set to the left, all others, which hold numbers, to the
    right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as an HTML table, the header first."""
    head, *body = ([html.escape(cell) for cell in row] for row in rows)
    head = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

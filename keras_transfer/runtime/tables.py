"""Tables of printable cells: as text for a terminal, as Markdown and as HTML."""

import html
import unicodedata
from collections.abc import Collection, Sequence

Rows = Sequence[Sequence[str]]


def text_table(rows: Rows, words: Collection[int] = (0,), rule: bool = False) -> str:
    """Return rows of cells as lines, the header first.

    The columns in `words` are set to the left, all others, which hold numbers, to the
    right. With `rule` there is a line of dashes below the header.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    head, *body = rows
    dashes = [["-" * width for width in widths]] if rule else []
    lines = [
        "  ".join(
            _padded(cell, width, i in words)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *dashes, *body]
    ]
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: of a Chinese letter two."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def _padded(cell: str, width: int, left: bool) -> str:
    room = " " * (width - _width(cell))
    return cell + room if left else room + cell


def markdown_table(rows: Rows) -> str:
    """Return rows of cells as a Markdown table, the header first."""
    head, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *body])


def html_table(rows: Rows) -> str:
    """Return rows of cells as an HTML table, the header first."""
    head, *body = ([html.escape(cell) for cell in row] for row in rows)
    head = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

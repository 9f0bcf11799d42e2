"""Tables of printable cells: as text for a terminal, as Markdown and as HTML."""

import html
from collections.abc import Collection, Sequence

Rows = Sequence[Sequence[str]]


def text_table(rows: Rows, words: Collection[int] = (0,), rule: bool = False) -> str:
    """Return rows of cells as lines, the header first.

    The columns in `words` are set to the left, all others, which hold numbers, to the
    right. With `rule` there is a line of dashes below the header.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = rows
    dashes = [["-" * width for width in widths]] if rule else []
    lines = [
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *dashes, *body]
    ]
    return "\n".join(lines)


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

"""Print the oldest requirements that pyproject.toml allows, for `make oldest`.

Run by a Python that has nothing installed.
"""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parent.parent.parent
# What pytest needs, of the versions in requirements.txt. `nbval` brings `nbformat`.
TOOLS = ("pytest", "pytest-xdist", "nbval")


def oldest(requirement: str) -> str:
    """Return a requirement of nothing but the lowest version that another one allows.

    Example:

    >>> oldest("keras>=3.12,<3.16")
    'keras==3.12'
    """
    name = r"[^<>=!~;, \[]+(?:\[[\w,-]+\])?"
    match = re.fullmatch(rf"({name})[>=]=([\w.]+)(,.*)?", requirement)
    if match is None:
        raise ValueError(
            "Expected a requirement that begins with its lowest version, such as "
            f"numpy>=2.1. Received: requirement={requirement}"
        )
    return f"{match[1]}=={match[2]}"


def oldest_requirements() -> list[str]:
    """Return the oldest requirements, and the tools that run the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    newest = (ROOT / "requirements.txt").read_text("utf-8").split()
    tools = [line for line in newest if line.split("==")[0] in TOOLS]
    return [*map(oldest, project["dependencies"]), *tools]


if __name__ == "__main__":
    print(*oldest_requirements(), sep="\n")

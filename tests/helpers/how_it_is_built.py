"""Write the folders of the package into README.md: `make format` does.

`python -m tests.helpers.how_it_is_built README.md`
"""

import ast
import pathlib
import sys
import tomllib

from keras_transfer.lessons.report import write_between

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "keras_transfer"


def layers() -> list[str]:
    """Return the folders in the order in which data flow through them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (ordered,) = [each["layers"] for each in contracts if each["type"] == "layers"]
    return ordered[::-1]


def table() -> str:
    """Return the table in Markdown: a folder a row."""
    rows = ["| folder | what is in it | lines |", "| --- | --- | --- |"]
    for name in layers():
        folder = PACKAGE / name
        inside = folder.is_dir()
        files = [*folder.rglob("*.py")] if inside else [folder.with_suffix(".py")]
        first = folder / "__init__.py" if inside else files[0]
        docstring = ast.get_docstring(ast.parse(first.read_text(encoding="utf-8")))
        sentence = docstring.split("\n\n")[0].replace("\n", " ")
        count = sum(len(file.read_text("utf-8").splitlines()) for file in files)
        # Rounded, so that not every edit changes it.
        lines = f"{max(100, round(count, -2)):,}" if inside else f"{count}"
        shown = f"`{name}/`" if inside else f"`{name}.py`"
        rows.append(f"| {shown} | {sentence} | {lines} |")
    return "\n".join(rows)


def write_table(path: pathlib.Path) -> None:
    """Write the table of today between its markers in a README."""
    write_between(path, "built", table())


if __name__ == "__main__":
    write_table(pathlib.Path(sys.argv[1]))

"""Turn executed lessons into HTML pages that need no network."""

import pathlib
import re

import jinja2
import nbformat

from keras_transfer.runtime import atomic_files

TEMPLATES = jinja2.PackageLoader("keras_transfer.lessons")
FRAMEWORK_LOG = re.compile(
    r"^(WARNING: All log messages before absl::InitializeLog|I\d{4} \d\d:\d\d:|"
    r"To enable the following instructions:).*\n?",
    re.MULTILINE,
)


def write_page(
    notebook: nbformat.NotebookNode, entry: dict, path: pathlib.Path
) -> None:
    """Write an executed lesson as one self-contained HTML page.

    Args:
        notebook: The executed notebook.
        entry: The lesson's entry of the ledger.
        path: The page to write.
    """
    # Copies for learners are written without it, and it takes long to come.
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        extra_loaders=[TEMPLATES],
        template_file="lesson.html.j2",
        embed_images=True,
    )
    state = "passed" if entry["passed"] else "failed"
    line = f"{entry['lesson']}, profile {entry['profile']}: {state}"
    resources = {
        "metadata": {"name": entry["title"], "path": str(path.parent)},
        "lesson_state": state,
        "lesson_line": line if entry["passed"] else f"{line}: {entry['error']}",
    }
    page, _ = exporter.from_notebook_node(notebook, resources=resources)
    atomic_files.write_whole_text(path, page)


def drop_framework_log(notebook: nbformat.NotebookNode) -> None:
    """Remove what TensorFlow logs while it is imported from the outputs, in place.

    No setting keeps these lines back: TensorFlow writes them before it reads any.
    Warnings and errors stay, and so does everything else on stderr.
    """
    for cell in notebook.cells:
        for shown in cell.get("outputs", []):
            if shown.get("name") == "stderr":
                shown.text = FRAMEWORK_LOG.sub("", shown.text)
        if "outputs" in cell:
            cell.outputs = [
                shown
                for shown in cell.outputs
                if shown.output_type != "stream" or shown.text.strip()
            ]


def first_figure(notebook: nbformat.NotebookNode) -> str | None:
    """Return the first figure of an executed lesson as base64 PNG, else `None`."""
    for cell in notebook.cells:
        for shown in cell.get("outputs", []):
            if figure := shown.get("data", {}).get("image/png"):
                return "".join(figure).replace("\n", "")
    return None


def index_page(
    entries: list[dict],
    rows: list[tuple[str, ...]],
    columns: tuple[str, ...],
    about: str,
    figures: dict[str, str],
) -> str:
    """Return the HTML page that lists the lessons of a run.

    Args:
        entries: The entries of the ledger.
        rows: The printable cells of the table, a tuple for each entry.
        columns: The table's headings. The first is the lesson, the last `passed`.
        about: A line on profile, device and machine.
        figures: Base64 PNG by lesson name, for the lessons that have one.
    """
    environment = jinja2.Environment(
        loader=TEMPLATES,
        autoescape=True,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("index.html.j2").render(
        entries=entries,
        rows=rows,
        columns=columns,
        about=about,
        figures=figures,
        passed=sum(entry["passed"] for entry in entries),
    )

"""Turn executed lessons into HTML pages that need no network."""

from __future__ import annotations

import html
import pathlib
import re
import typing

from keras_transfer.runtime import atomic_files

if typing.TYPE_CHECKING:
    # A ledger can be read where Jupyter is not installed.
    import nbformat

# nbconvert's own page loads these scripts from the web, so an offline reader would
# wait for them; the lessons need none. The colours stay light, as its figures are.
PAGE_TEMPLATE = """\
{%- extends 'lab/index.html.j2' -%}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_css %}
<style>
:root { color-scheme: light; }
body.jp-Notebook { margin: 0; padding: 0; background: #fff; }
main { max-width: 1000px; margin: 0 auto; padding: 0 1rem 4rem; }
main img { max-width: 100%; height: auto; }
.lesson-bar { font: 14px system-ui, sans-serif; padding: .7rem 1rem; color: #fff;
  background: #1f5f8b; }
.lesson-bar.failed { background: #a3262a; }
.lesson-bar a { color: inherit; margin-right: 1.5rem; }
</style>
{% endblock %}
{% block body_header %}
<body class="jp-Notebook" data-jp-theme-light="true">
<div class="lesson-bar {{ resources.lesson_state }}">
<a href="index.html">All lessons</a>{{ resources.lesson_line | escape }}</div>
<main>
{% endblock %}
"""

INDEX_STYLE = """\
:root { color-scheme: light dark; --line: #8884; --link: light-dark(#1f5f8b, #7fbfec);
  --good: light-dark(#1b7340, #63d08f); --bad: light-dark(#a3262a, #ff8f8f); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { margin-bottom: 0; }
a { color: var(--link); }
.about, .caption { opacity: .75; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .45rem .7rem .45rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
.yes { color: var(--good); font-weight: 600; }
.no { color: var(--bad); font-weight: 600; }
.cards { display: grid; gap: 1.5rem; margin-top: 2rem;
  grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; }
.card h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
.card img { width: 100%; height: 170px; object-fit: contain; background: #fff;
  border-radius: 4px; }
.error { color: var(--bad); white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .9rem; }
"""
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
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(raw_template=PAGE_TEMPLATE, embed_images=True)
    state = "passed" if entry["passed"] else "failed"
    line = f"{entry['lesson']}, profile {entry['profile']}: {state}"
    resources = {
        "metadata": {"name": entry["title"], "path": str(path.parent)},
        "lesson_state": state,
        "lesson_line": line if entry["passed"] else f"{line}: {entry['error']}",
    }
    page, _ = exporter.from_notebook_node(notebook, resources=resources)
    with atomic_files.written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


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
    passed = sum(entry["passed"] for entry in entries)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "\n".join(_table_row(row) for row in rows)
    cards = "\n".join(_card(entry, figures.get(entry["lesson"])) for entry in entries)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Transfer learning with Keras: lessons</title>
<style>
{INDEX_STYLE}</style></head><body>
<h1>Transfer learning with Keras: lessons</h1>
<p class="about">{passed} of {len(entries)} lessons passed. {html.escape(about)}</p>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
<p class="caption">Seconds and peak memory are those of the lesson's kernel.
Files: <a href="ledger.json">ledger.json</a>, <a href="junit.xml">junit.xml</a></p>
<div class="cards">
{cards}
</div>
</body></html>
"""


def _table_row(row: tuple[str, ...]) -> str:
    name, *middle, passed = (html.escape(cell) for cell in row)
    cells = "".join(f"<td>{cell}</td>" for cell in middle)
    link = f'<td><a href="{name}.html">{name}</a></td>'
    return f'<tr>{link}{cells}<td class="{passed}">{passed}</td></tr>'


def _card(entry: dict, figure: str | None) -> str:
    name, title = html.escape(entry["lesson"]), html.escape(entry["title"])
    parts = [f'<h2><a href="{name}.html">{title}</a></h2>']
    if figure:
        source = f"data:image/png;base64,{figure}"
        parts.append(f'<a href="{name}.html"><img alt="" src="{source}"></a>')
    for key in ("data_source", "weights"):
        if entry.get(key):
            parts.append(f'<p class="caption">{html.escape(str(entry[key]))}</p>')
    if entry["error"]:
        parts.append(f'<p class="error">{html.escape(entry["error"])}</p>')
    return f'<div class="card">{"".join(parts)}</div>'

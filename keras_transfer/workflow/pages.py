"""What pages about a folder of photos are made with: templates, photos, figures.

A page is one file that needs no network: photos are small JPEG thumbnails and figures
are SVG, both within the page.
"""

import base64
import io
import os
import pathlib

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from keras_transfer.data.decoding import UnreadableImageError
from keras_transfer.data.photo_files import PhotoFile, is_readable
from keras_transfer.plots.style import style
from keras_transfer.runtime import atomic_files
from keras_transfer.workflow.photo_quality import small_photo

# Larger than they are shown, for screens with small pixels; about 9 kB each.
THUMBNAIL, QUALITY = 240, 75


def filled_in(template: str, **values) -> str:
    """Fill in a template of this folder, and return the text.

    Args:
        template: Name of its file. What it is given is escaped.
        **values: What the template shows, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_transfer.workflow"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        # No answer is sure: what is 1 has been rounded.
        "sure": lambda probability: percent(min(probability, 0.9999)),
    }
    text = environment.get_template(template).render(values)
    # Names of files may hold bytes that are no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def write_page(template: str, path: str | os.PathLike, **values) -> pathlib.Path:
    """Fill in a template as `filled_in` does, write the page whole, return its path."""
    atomic_files.write_whole_text(path, filled_in(template, **values))
    return pathlib.Path(path)


def percent(share: float) -> str:
    """Return a share from 0 to 1 in percent; only all is 100 %, only none is 0 %."""
    text = f"{100 * share:.1f}"
    if text in ("0.0", "100.0") and share not in (0, 1):
        text = "under 0.1" if share < 0.5 else "over 99.9"
    return f"{text}\N{NO-BREAK SPACE}%"


def photo(file: PhotoFile) -> str | None:
    """Return a photo as a small picture within the page, a data URI.

    `None` if it is none, or cannot be read any more.
    """
    if not is_readable(file):
        return None
    try:
        image, _ = small_photo(file, THUMBNAIL)
    except (OSError, UnreadableImageError):
        return None
    return _jpeg(image)


def picture(pixels: np.ndarray) -> str:
    """Return pixels `(height, width, 3)`, 0 to 255, as a small picture: a data URI."""
    image = Image.fromarray(np.asarray(pixels).clip(0, 255).astype("uint8"))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return _jpeg(image)


def drawing(figure: plt.Figure) -> str:
    """Return a figure as SVG, a data URI, and close it."""
    file = io.BytesIO()
    # Letters stay letters: a third of the size, and as sharp as those of the page.
    with style(**{"svg.fonttype": "none", "svg.hashsalt": "page"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return _data_uri("image/svg+xml", file.getvalue())


def _jpeg(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return _data_uri("image/jpeg", file.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

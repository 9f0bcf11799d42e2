"""The page of a review stands alone, and says what it leaves out."""

import sys

import numpy as np
import pytest
from PIL import Image

from keras_transfer.workflow.folder_check import FolderCheck
from keras_transfer.workflow.suspicions import Suspicion
from tests.helpers.html_pages import checked_page

ODD = "<i>c\u05d0t</i>".replace("/", "\u2215")


@pytest.fixture
def check(tmp_path):
    """Return what was found in a folder whose names are not only letters."""
    folder = tmp_path / "a folder & <more>"
    rng = np.random.default_rng(0)
    for name in (ODD, "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (9, 12, 3), "uint8")
            Image.fromarray(pixels).save(folder / name / f"<{index}>.png")
    (folder / "dog" / "text.jpg").write_text("no image")
    first, second = f"{ODD}/<0>.png", "dog/<1>.png"
    return FolderCheck(
        path=folder,
        class_names=(ODD, "dog"),
        splits=(),
        counts={ODD: 3, "dog": 3},
        suspicions=(
            Suspicion("dog/text.jpg", "dog", "unreadable", "no image", "drop"),
            Suspicion(first, ODD, "in two classes", "the same", "look", second),
            Suspicion(second, "dog", "in two classes", "the same", "look", first),
            *(
                Suspicion(second, "dog", "wrong label", f"{n} < 9 & more", ODD)
                for n in range(120)
            ),
            Suspicion(None, "dog", "few photos", "3 photos", "look"),
        ),
        not_examined={"blur": "needs <cleanvision>"},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_review_stands_alone(check, tmp_path):
    check.write(tmp_path / "review")
    page = checked_page(tmp_path / "review" / "review.html")
    for words in (
        f"({ODD}, dog)",
        "check '",
        "a folder & <more>'",
        "--apply review.csv --output CLEAN",
        "Not examined: blur. needs <cleanvision>",
        "no picture: it cannot be read",
        "8 < 9 & more",
        "Shown are the surest of each kind; review.csv has them all.",
        f"suggested: {ODD}",
        "3 photos",
    ):
        assert words in page.text, words
    # A pair is shown once, and what was said of the hundredth photo is there.
    assert page.text.count("the same") == 1
    assert "99 < 9" in page.text
    assert "100 < 9" not in page.text


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_notebook_gets_a_part_of_it(check):
    text = check._repr_html_()
    assert "<html" not in text
    assert text.count("<img") == 24
    # No rule reaches beyond its own box.
    style = text.partition("<style>")[2].partition("</style>")[0].strip()
    lines = [line for line in style.splitlines() if not line.startswith("  ")]
    assert all(line.startswith(".kt-check ") for line in lines)


def test_nothing_found_is_said(check, tmp_path):
    nothing = FolderCheck(check.path, check.class_names, (), {"dog": 3}, (), {})
    nothing.write(tmp_path)
    assert "Nothing was found." in checked_page(tmp_path / "review.html").text

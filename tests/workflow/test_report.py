"""The page about a trained classifier stands alone, and holds what it promises."""

import dataclasses
import re
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from keras_transfer.diagnosis.findings import Diagnosis, Finding
from keras_transfer.evaluation.evaluate import measure
from keras_transfer.workflow import pages
from keras_transfer.workflow.report import write_report
from keras_transfer.workflow.trained import TrainedClassifier
from tests.helpers.html_pages import checked_page
from tests.helpers.small_networks import small_backbone

SECTIONS = [
    "photos",
    "training",
    "classes",
    "mistakes",
    "evidence",
    "calibration",
    "unknown",
    "doctor",
    "skipped",
    "made",
]
ODD = ['<script>alert("x")</script>'.replace("/", "∕"), "حيوان \"&' a", "two\nlines"]
HISTORY = {
    "stage": ["head", "head", "fine-tuning"],
    "loss": [1.0, 0.5, 0.4],
    "accuracy": [0.5, 0.7, 0.8],
    "val_loss": [1.1, 0.6, 0.5],
    "val_accuracy": [0.4, 0.6, 0.7],
}


def make_folder(path, names, each=6, one_color=False):
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        (path / name).mkdir(parents=True)
        for index in range(each):
            pixels = rng.integers(0, 256, (9, 12, 3), "uint8")
            if one_color:
                pixels[:] = 20 * number + index
            Image.fromarray(pixels).save(path / name / f"<{index}>.png")
    return path


FEATURES = np.random.default_rng(0).normal(3, 1, (300, 2))


def trained_on(folder, right=0.6, **changed):
    """Return a classifier of a folder, whose answers are drawn."""
    splits = kt.load_directory(folder, image_size=16)
    keras.utils.set_random_seed(0)
    classes = len(splits.class_names)
    model = kt.build_classifier(small_backbone(size=16), num_classes=classes)
    rng = np.random.default_rng(0)

    def report(split, sure):
        labels = np.array([file.label for file in splits.photos[split]])
        named = np.where(
            rng.random(len(labels)) < right,
            labels,
            (labels + rng.integers(1, classes, len(labels))) % classes,
        )
        scores = np.eye(classes)[named] * sure + rng.random((len(labels), classes))
        return measure(
            labels, scores / scores.sum(axis=1, keepdims=True), splits.class_names
        )

    unknown = kt.fit_unknown_detector(FEATURES[:100], FEATURES[100:])
    finding = Finding(
        "serious",
        "<b>A fault</b>",
        "5 < 7 & 3",
        "It matters.",
        "kt.fit_head(model, features)",
        picture=np.zeros((8, 8, 3), "uint8"),
    )
    check = {"check": "pixels", "result": "not examined", "knows": "x"}
    given = {
        "classifier": Classifier(model, splits.class_names, 16, unknown=unknown),
        "splits": splits,
        "test": report("test", 3.0),
        "uncalibrated": report("test", 9.0),
        "validation": report("validation", 3.0),
        "history": HISTORY,
        "diagnosis": Diagnosis(
            "m", (finding,), {"pixels": "<i>why"}, (check | {"cannot_know": "y"},), 1.0
        ),
        "temperature": 1.31,
        "path": folder / "model.keras",
        "command": "python -m keras_transfer train '<folder>'",
        "settings": {"folder": folder, "backbone": "resnet50", "epochs": None},
        "seconds": {"features": 75.0, "head": 0.2},
        "notes": ("Nothing <was> wrong.",),
    }
    return TrainedClassifier(**given | changed)


def written(trained, path):
    assert write_report(trained, path) == path
    page = checked_page(path)
    assert [each["id"] for _, each in page.elements if "id" in each] == SECTIONS
    return page


def test_each_section_holds_what_it_promises(tmp_path):
    folder = make_folder(tmp_path / "photos", ["ant", "bee", "cow"], each=20)
    (folder / "ant" / "broken.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="broken.jpg"):
        trained = trained_on(folder)
    test = trained.test
    page = written(trained, tmp_path / "report.html")
    low, high = test.accuracy_interval
    wrong = test.mistakes()
    assert 0 < len(wrong) < len(test.labels)
    for words in (
        f"{test.accuracy:.1%}".replace("%", " %"),
        f"between {100 * low:.1f} % and {100 * high:.1f} %",
        "Trained on 42 photos of 3 classes",
        "in 1 min 15 s",
        "cow 14 3 3 20",
        "temperature, found on the validation photos: 1.31",
        "5 < 7 & 3",
        "<b>A fault</b>",
        "not examined: <i>why",
        "ant/broken.jpg",
        "Nothing <was> wrong.",
        "train '<folder>'",
        "backbone resnet50",
        keras.__version__,
    ):
        assert words in page.text, words
    for mistake in wrong:
        file = trained.splits.photos["test"][mistake["index"]].path
        assert f"{file.parent.name}/{file.name}" in page.text
    alts = [attributes["alt"] for attributes in page.all("img")]
    assert "validation 0.500" in next(alt for alt in alts if alt.startswith("loss"))
    assert sum("what speaks for" in alt for alt in alts) >= 2
    assert sum(alt.startswith("Reliability") for alt in alts) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_names_are_only_ever_text(tmp_path):
    trained = trained_on(make_folder(tmp_path / "<photos>", ODD))
    page = written(trained, tmp_path / "report.html")
    assert '<script>alert("x")<∕script>' in page.text
    assert "حيوان \"&' a" in page.text
    assert "two\\nlines" in page.text
    assert re.search(r"<\d>\.png", page.text)


def test_all_right_and_photos_of_one_color(tmp_path):
    folder = make_folder(tmp_path / "photos", ["a", "b"], one_color=True)
    trained = trained_on(folder, right=1.0, path=None, notes=())
    assert trained.test.accuracy == 1
    page = written(trained, tmp_path / "report.html")
    assert "100.0 %" in page.text
    assert "There is none: all 2 test photos were named right." in page.text
    assert "every file of the folder was used" in page.text


def test_what_is_none_of_these(tmp_path):
    trained = trained_on(make_folder(tmp_path / "photos", ["a", "b"]))
    for images, said in (
        (200, "of the 200 validation photos, which do belong here, are refused"),
        (200, "at most 5.0 % should be"),
        (20, "So few photos cannot tell"),
    ):
        detector = kt.fit_unknown_detector(FEATURES[:100], FEATURES[100:][:images])
        far = detector.is_unknown(FEATURES[100:][:images])
        classifier = dataclasses.replace(trained.classifier, unknown=detector)
        told = dataclasses.replace(trained, classifier=classifier)
        page = written(told, tmp_path / "report.html")
        assert said in page.text
        assert f"{far.sum()} of the {images} validation photos" in page.text
        assert "to the 10th nearest of them" in page.text


def test_groups_and_a_model_that_is_not_calibrated(tmp_path):
    trained = trained_on(make_folder(tmp_path / "photos", ["a", "b"], each=40))
    test = trained.test
    groups = [*range(3)] * (len(test.labels) // 3) + [None] * (len(test.labels) % 3)
    grouped = measure(test.labels, test.probabilities, test.class_names, groups)
    told = dataclasses.replace(
        trained, test=grouped, uncalibrated=grouped, temperature=None
    )
    page = written(told, tmp_path / "report.html")
    low, high = grouped.accuracy_interval
    assert low < test.accuracy_interval[0]
    assert f"between {100 * low:.1f} % and {100 * high:.1f} %" in page.text
    assert f"of {len(groups)} photos of {len({*groups})} groups" in page.text
    assert "It is not calibrated" in page.text
    assert "temperature, found" not in page.text
    alts = [attributes["alt"] for attributes in page.all("img")]
    (diagram,) = [alt for alt in alts if alt.startswith("Reliability")]
    assert "not calibrated" in diagram


def test_photos_that_have_gone_since(tmp_path):
    folder = make_folder(tmp_path / "photos", ["a", "b"])
    trained = trained_on(folder, right=0.0)
    for path in folder.rglob("*.png"):
        path.unlink()
    page = written(trained, tmp_path / "report.html")
    assert "no picture: it cannot be read" in page.text
    assert "There are no maps. None of the photos can be read" in page.text


def test_many_classes_are_told_by_the_worst_of_them(tmp_path):
    names = [f"class {number:02d}" for number in range(40)]
    trained = trained_on(make_folder(tmp_path / "photos", names, each=3), right=0.5)
    page = written(trained, tmp_path / "report.html")
    assert "The 15 weakest of 40 classes" in page.text
    assert "The 15 rarest of 40 classes" in page.text
    assert "What is confused most often" in page.text
    assert "Confusion matrix" not in page.text


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_name_that_is_no_text(tmp_path):
    folder = make_folder(tmp_path / "photos", ["a", "b"])
    for path in [*folder.rglob("*.png")]:
        path.rename(path.with_name(f"\udcff{path.name}"))
    page = written(trained_on(folder, right=0.0), tmp_path / "report.html")
    assert "\\udcff<" in page.text


def test_shares_that_are_not_all_and_not_none():
    assert pages.percent(1.0) == "100.0\N{NO-BREAK SPACE}%"
    assert pages.percent(0.9996) == "over 99.9\N{NO-BREAK SPACE}%"
    assert pages.percent(0.0001) == "under 0.1\N{NO-BREAK SPACE}%"
    assert pages.percent(0.964) == "96.4\N{NO-BREAK SPACE}%"

"""A diagnosis is whole, quiet about the healthy, and leaves the model as it was."""

import html
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.cli.main import main
from keras_transfer.diagnosis import examine
from keras_transfer.diagnosis.findings import (
    Check,
    Diagnosis,
    Finding,
    NotExaminedError,
)
from tests.helpers.small_patients import (
    CLASS_NAMES,
    SIZE,
    build,
    data,
    healthy,
    photos,
    unfrozen,
)

# What the 14 faults of the list are looked for by.
NAMES = {
    "preprocessing",
    "pixel range",
    "resizing",
    "class names",
    "augmentation before cache",
    "augmentation at evaluation",
    "photos in two splits",
    "label order",
    "head",
    "backbone",
    "BatchNormalization",
    "trainable",
    "learning rate",
    "last layer and loss",
    "training mode",
    "outputs",
    "imbalance",
    "size of the test split",
    "choosing on the test split",
    "predictions",
}


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def failed(found):
    return {k: v for k, v in found.not_examined.items() if "failed" in v}


def alarms(found):
    return [x.title for x in found.findings if x.severity != "note"]


@pytest.mark.parametrize("normalized", [False, True])
def test_a_healthy_model_is_not_accused(normalized):
    model = healthy(normalized)
    history = model.fit(
        data()["train"], validation_data=data()["validation"], epochs=1, verbose=0
    )
    report = kt.evaluate_classifier(model, data()["test"], CLASS_NAMES)
    before, flags = state(model), [layer.trainable for layer in model.layers]
    found = kt.diagnose(model, data(), history, report)
    assert alarms(found) == []
    assert failed(found) == {}
    assert {row["check"] for row in found.checks} == NAMES
    # There are no files; and a network without BatchNormalization forgets its pixels.
    missing = {"resizing", "class names", *([] if normalized else ["preprocessing"])}
    assert set(found.not_examined) == missing
    for a, b in zip(before, state(model), strict=True):
        assert np.array_equal(a, b)
    assert flags == [layer.trainable for layer in model.layers]
    assert model.train_function is not None


def test_a_model_that_will_be_trained_on_is_as_it_was():
    model = unfrozen(healthy(normalized=True, dropout=0.5))
    kt.compile_classifier(model, keras.optimizers.Adam(0.5))
    before = state(model)
    found = kt.diagnose(model, data())
    assert "learning rate" not in found.not_examined
    for a, b in zip(before, state(model), strict=True):
        assert np.array_equal(a, b)


def test_a_sick_model_and_its_report():
    images, labels = photos(20, seed=1)
    test = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy")
    found = kt.diagnose(model, data(test=test), predictions=np.ones(3, int))
    assert failed(found) == {}
    checks = [x.check for x in found.serious]
    assert {"head", "backbone", "photos in two splits"} <= set(checks)
    severities = [x.severity for x in found.findings]
    assert severities == sorted(severities, key=["serious", "warning", "note"].index)

    text, page = str(found), found._repr_html_()
    assert repr(found) == text
    assert max(map(len, text.splitlines())) <= 100
    for finding in found.findings:
        assert finding.title in text and html.escape(finding.title) in page
        assert finding.repair.strip().splitlines()[-1] in text
    for name, reason in found.not_examined.items():
        assert f"{name}: {reason[:20]}" in text
        assert name in page
    assert f"{len(found.serious)} serious" in text
    assert page.count("data:image/png;base64,") == 1
    limits = {row["check"]: row["cannot_know"] for row in found.checks}
    assert limits["head"][:40] in text

    values = found.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["findings"][0]["numbers"]
    results = {row["check"]: row["result"] for row in values["checks"]}
    assert results["head"] == "serious"
    assert results["resizing"] == "not examined"
    assert results["training mode"] == "nothing found"


def test_what_is_shown_is_escaped():
    finding = Finding("note", "<b>", "1 < 2", "x & y", "a < b", check="c")
    row = {"check": "c", "result": "note", "knows": "k", "cannot_know": "<i>"}
    page = Diagnosis("<m>", (finding,), {}, (row,), 1.0)._repr_html_()
    assert "<b>&lt;b&gt;</b>" in page
    assert "&lt;m&gt;" in page and "&lt;i&gt;" in page and "a &lt; b" in page


def test_one_check_that_fails_does_not_hide_the_others(monkeypatch):
    def refuse(case):
        raise NotExaminedError("nothing to see")

    def fail(case):
        raise ZeroDivisionError("oh\nno")

    def find(case):
        return [Finding("warning", "t", "e", "w", "r")]

    checks = [Check(f.__name__, f, "k", "c") for f in (refuse, fail, find)]
    monkeypatch.setattr(examine, "CHECKS", checks)
    found = kt.diagnose(healthy(), data())
    assert found.not_examined == {
        "refuse": "nothing to see",
        "fail": "this check failed (ZeroDivisionError: oh)",
    }
    assert [x.check for x in found.findings] == ["find"]
    assert "0 serious, 1 warning in 1 of 3 checks" in str(found)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = healthy(normalized=True)

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


def test_models_of_every_kind_are_examined():
    sequential = keras.Sequential(healthy(normalized=True).layers)
    inputs = keras.Input((SIZE, SIZE, 3))
    nested = keras.Model(inputs, healthy(normalized=True)(inputs))
    for model in (sequential, nested):
        kt.compile_classifier(model, "adam") if model is sequential else None
        found = kt.diagnose(model, data())
        assert alarms(found) == []
        assert failed(found) == {}
    subclassed = Subclassed()
    with pytest.raises(ValueError, match="Expected a built classifier of images"):
        kt.diagnose(subclassed, data())
    subclassed(np.zeros((1, SIZE, SIZE, 3), "float32"))
    found = kt.diagnose(subclassed, data())
    assert alarms(found) == []
    assert failed(found) == {}
    # Keras cannot look into its graph.
    assert {"head", "BatchNormalization"} <= set(found.not_examined)
    small = {"test": data()["test"].map(lambda x, y: (x * 20, y))}
    assert "preprocessing" in [x.check for x in kt.diagnose(subclassed, small).serious]


def test_labels_as_one_hot_and_one_split_alone():
    one_hot = data()["test"].map(lambda x, y: (x, tf.one_hot(y, 2)))
    model = healthy(normalized=True)
    model.compile("adam", "categorical_crossentropy")
    found = kt.diagnose(model, {"test": one_hot})
    assert alarms(found) == []
    assert failed(found) == {}
    assert found.not_examined["augmentation before cache"] == (
        "no train split was given"
    )


def test_what_cannot_be_examined_is_refused():
    with pytest.raises(ValueError, match="Received: no split"):
        kt.diagnose(healthy(), {"class_names": CLASS_NAMES})
    with pytest.raises(ValueError, match=r"needs .batch\(32\)"):
        kt.diagnose(healthy(), {"test": data()["test"].unbatch()})
    with pytest.raises(ValueError, match="Received: test with images of shape"):
        kt.diagnose(healthy(), {"test": data()["test"].map(lambda x, y: (x[:, 1:], y))})
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="Expected a built classifier"):
        kt.diagnose(dense, data())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    images, labels = photos(240, seed=9)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = path / sorted(CLASS_NAMES)[1 - label] / f"{index}.png"
        file.parent.mkdir(exist_ok=True)
        keras.utils.save_img(file, image, scale=False)
    return path


def test_the_command_examines_files(folder, tmp_path, capsys):
    path = str(tmp_path / "model.keras")
    model = healthy(normalized=True)
    # The folder's order is the alphabetical one: blue, then red.
    head = model.get_layer("head_predictions")
    head.set_weights([value[..., ::-1] for value in head.get_weights()])
    kt.save_classifier(model, path, ("blue", "red"))
    assert main(["diagnose", path, str(folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Diagnosis of small_classifier: 0 serious")
    assert "class names" in shown.split("Nothing found")[1]

    kt.save_classifier(model, path, ("red", "blue"))
    assert main(["diagnose", path, str(folder), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    serious = [x for x in values["findings"] if x["severity"] == "serious"]
    assert [x["check"] for x in serious] == ["class names"]
    assert "the model's file" in serious[0]["evidence"]

    # A model that Keras saved has no names to compare.
    model.save(path)
    assert main(["diagnose", path, str(folder)]) == 0
    assert main(["diagnose", str(tmp_path / "none.keras"), str(folder)]) == 2
    assert "no model at this path" in capsys.readouterr().err
    assert main(["diagnose", path, str(tmp_path / "none")]) == 2

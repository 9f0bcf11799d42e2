"""What is exported says what the original says, from the bytes of photos."""

import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main as command_line
from keras_transfer.data import decoding
from keras_transfer.data.photo_files import read_folder
from keras_transfer.deployment import agreement, client, converting, export
from keras_transfer.evaluation.statistics import paired_test
from keras_transfer.models.outputs import class_probabilities
from keras_transfer.runtime.processes import child_environment
from tests.helpers.small_networks import small_backbone

NAMES = ("d\u00fcster", "light")
SIZE = 32


def draw(label, seed):
    """Return pixels, dark or light, of some colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (40, 52, 3)) + rng.integers(0, 40, 3)
    return (pixels + 120 * label).astype("uint8")


def head_on(backbone, features, labels):
    """Return a classifier whose head tells which class's mean is nearer."""
    model = kt.build_classifier(backbone, len(NAMES), dropout=0)
    means = [features[labels == label].mean(axis=0) for label in range(len(NAMES))]
    way = (means[1] - means[0]) / np.sum((means[1] - means[0]) ** 2)
    kernel = 4 * np.stack([-way, way], axis=1)
    bias = -np.mean(means, axis=0) @ kernel
    model.get_layer("head_predictions").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make a folder of photos, and a model that was trained on some of them."""
    folder, files = tmp_path_factory.mktemp("world"), []
    for label, name in enumerate(NAMES):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            file = folder / "photos" / name / f"{number}.jpg"
            Image.fromarray(draw(label, 100 * label + number)).save(file, quality=95)
            files.append((file, label, number))
    keras.utils.set_random_seed(0)
    backbone = small_backbone(size=SIZE, filters=16, normalized=True)
    images = np.stack([kt.load_image(file, SIZE) for file, _, _ in files])
    labels = np.array([label for _, label, _ in files])
    features = np.mean(backbone(images), axis=(1, 2))
    sums = {
        split: [
            hashlib.sha256(file.read_bytes()).hexdigest()
            for file, _, number in files
            if number in numbers
        ]
        for split, numbers in {"train": range(4), "validation": [4, 5]}.items()
    }
    kt.save_classifier(
        head_on(backbone, features, labels),
        folder / "model.keras",
        NAMES,
        temperature=2.0,
        unknown=kt.fit_unknown_detector(features[:14], features, neighbors=2),
        trained_on=sums,
        details={
            "backbone": "small",
            "test": {"images": 50, "accuracy": 0.9, "accuracy_interval": [0.8, 1]},
        },
    )
    return folder


@pytest.fixture(scope="module")
def original(world):
    return kt.load_classifier(world / "model.keras")


def some_photos(world):
    return sorted((world / "photos").rglob("*.jpg"))[::5]


def test_an_export_says_what_it_is(world, original, exported):
    found = json.loads((exported.path / "classifier.json").read_text("utf-8"))
    assert found["class_names"] == [*NAMES]
    assert (found["format"], found["precision"]) == ("onnx", "float32")
    assert (found["model"], found["image_size"]) == ("model.onnx", SIZE)
    assert found["resize_rule"] == decoding.RESIZE_RULE
    assert found["temperature"] == 2.0
    assert found["test"] == original.details["test"]
    assert found["unknown"] == {
        "neighbors": 2,
        "threshold": original.unknown.threshold,
        "refused": 0.05,
        "validation_images": 24,
    }
    assert {"keras", "tensorflow", "onnxruntime"} <= {*found["versions"]}
    bank = np.load(exported.path / "unknown.npy")
    assert bank.dtype == "float16"
    assert np.array_equal(bank, original.unknown.features)
    kept = found["agreement"]
    assert (kept["images"], kept["drawn"], kept["same_class"]) == (64, False, 1.0)
    # Six of each twelve were neither trained nor validated on.
    assert kept["test"]["count"] == 12
    assert kept == json.loads(json.dumps(exported.agreement.to_dict()))
    assert exported.agreement.probability_difference < 1e-4
    assert exported.agreement.distance_difference < 1e-4
    assert exported.size == (exported.path / "model.onnx").stat().st_size
    assert {path.name for path in exported.path.iterdir()} == {
        *("classifier.json", "client.py", "model.onnx", "unknown.npy")
    }
    assert "64 photos from their bytes" in str(exported)


@pytest.fixture(scope="module")
def exported(export_in):
    return export_in("onnx")


WAYS = [
    (kind, precision)
    for kind in ("onnx", "litert", "openvino")
    for precision in ("float32", "float16", "int8")
] + [("savedmodel", "float32")]


@pytest.fixture(scope="module")
def export_in(world, original):
    """Return what exports in a format and a precision, once."""

    @functools.cache
    def made(kind, precision="float32"):
        folder = world / f"{kind}-{precision}"
        return kt.export_classifier(original, folder, kind, precision, world / "photos")

    return made


@pytest.mark.parametrize(("kind", "precision"), WAYS)
def test_each_format_answers_as_the_original(
    world, original, export_in, kind, precision
):
    found = export_in(kind, precision)
    assert found.agreement.same_class >= 0.98
    assert found.agreement.test.only_a <= 1
    loaded = kt.load_exported(found.path)
    assert loaded.class_names == NAMES
    assert (loaded.image_size, loaded.explains) == (SIZE, False)
    assert loaded.about["format"], loaded.about["precision"] == (kind, precision)
    assert loaded.about["backbone"] == "small"
    photos = some_photos(world)
    expected = original.predict(photos, engine="tensorflow")
    off = {"float32": 1e-4, "float16": 0.02, "int8": 0.4}[precision]
    for a, b in zip(loaded.predict(photos), expected, strict=True):
        assert (a.path, a.class_name) == (b.path, b.class_name)
        assert np.abs(a.probabilities - b.probabilities).max() < off
        assert a.distance == pytest.approx(b.distance, abs=off)
    # As many at once as there are, and each by itself.
    images = np.stack([loaded.decode(path.read_bytes()) for path in photos])
    assert images.shape == (len(photos), SIZE, SIZE, 3)
    assert images.dtype == "uint8"
    for image, together in zip(images, loaded.answer(images), strict=True):
        (alone,) = loaded.answer(image[None])
        assert alone.probabilities == pytest.approx(together.probabilities, abs=1e-5)
    with pytest.raises(ValueError, match=r"heat map.*Received: "):
        loaded.heat_map(images[0], 0)


@pytest.mark.slow
def test_float16_and_int8_are_smaller(tmp_path):
    backbone = small_backbone(size=SIZE, filters=64, blocks=3)
    model = kt.build_classifier(backbone, 2)
    network = converting.network_of(classifier_of(model, ("a", "b")))
    photos = np.random.default_rng(0).integers(0, 255, (8, SIZE, SIZE, 3), "uint8")
    for kind in ("onnx", "litert", "openvino"):
        sizes = []
        for precision in converting.PRECISIONS:
            folder = tmp_path / kind / precision
            folder.mkdir(parents=True)
            converting.convert(network, kind, precision, folder, photos)
            sizes.append(max(x.stat().st_size for x in folder.iterdir()))
        assert sizes[1] < 0.65 * sizes[0], kind
        assert sizes[2] < 0.45 * sizes[0], kind


def classifier_of(model, names, **settings):
    from keras_transfer.classifier.saved import Classifier

    return Classifier(model, names, SIZE, **settings)


def ending(activation, units):
    backbone = small_backbone(size=SIZE)
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dense(units, activation=activation)(x / 255)
    return keras.Model(backbone.input, x)


@pytest.mark.parametrize(
    ("activation", "units"),
    [("softmax", 3), ("linear", 3), ("sigmoid", 1), ("linear", 1)],
)
def test_whatever_a_model_ends_in_is_one_probability_a_class(activation, units):
    model = ending(activation, units)
    classifier = classifier_of(model, ["a", "b", "c"][: max(2, units)])
    images = np.random.default_rng(0).uniform(0, 255, (5, SIZE, SIZE, 3))
    images = images.astype("float32")
    (name, made), *others = converting.network_of(classifier)(images).items()
    assert (name, others) == ("probabilities", [])
    expected = class_probabilities(model, model.predict(images, verbose=0))
    assert np.array(made) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_augmentation_in_a_model_rests(tmp_path, kind):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, "softmax"),
        ]
    )
    found = kt.export_classifier(classifier_of(model, NAMES), tmp_path / "out", kind)
    assert found.agreement.probability_difference < 1e-4


def test_mixed_precision_is_exported_in_float32(world, tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = kt.build_classifier(small_backbone(size=SIZE), 2)
        small = model.get_layer("head_predictions")
        small.set_weights([w / 50 for w in small.get_weights()])
    finally:
        keras.config.set_dtype_policy(policy)
    path = kt.save_classifier(model, tmp_path / "mixed.keras", ["a", "b"])
    found = kt.export_classifier(path, tmp_path / "out")
    assert found.agreement.probability_difference < 1e-4
    assert found.agreement.drawn
    assert found.agreement.test is None
    assert found.agreement.note == "not run, because no photos were given"
    (network,) = (tmp_path / "out").glob("model.onnx")
    import onnx

    kinds = {x.data_type for x in onnx.load(network).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in kinds


def test_without_photos_to_test_on_the_result_says_so(world, original, tmp_path):
    files = [*(world / "photos").rglob("[0-5].jpg")]
    for file in files:
        copy = tmp_path / "photos" / file.parent.name / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    found = kt.export_classifier(
        original, tmp_path / "out", photos=tmp_path / "photos"
    ).agreement
    assert not found.drawn
    assert found.test is None
    assert "trained or validated on all photos" in found.note
    assert "trained or validated on all photos" in str(found)


def test_what_does_not_agree_is_not_kept(original, tmp_path):
    """In float16 no number is larger than 65,504, so both weights here are that."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1e-4)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, activation="softmax", name="last")(x)
    model = keras.Model(inputs, x)
    kernel = np.array([[66_000.0, 99_000.0]] * 3)
    model.get_layer("last").set_weights([kernel, np.zeros(2)])
    classifier = classifier_of(model, NAMES)
    kt.export_classifier(classifier, tmp_path / "float32")
    with pytest.raises(RuntimeError, match=r"not kept.*99%.*Export in float32.*Recei"):
        kt.export_classifier(classifier, tmp_path / "out", precision="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["float32"]


def test_limits_are_those_that_are_promised():
    def found(precision="float32", **changes):
        good = agreement.Agreement(64, False, 1e-4, 1.0, None, None)
        agreement.check_limits(dataclasses.replace(good, **changes), "onnx", precision)

    found()
    for changes in ({"probability_difference": 1.1e-3},):
        with pytest.raises(RuntimeError, match=r"0\.0011 off.*0\.001.*Received: onnx"):
            found(**changes)
        found("float16", **changes)
    with pytest.raises(RuntimeError, match=r"not kept"):
        found(probability_difference=float("nan"))
    # NaN names the first class, as the original may do for all images.
    for nothing in ("probability_difference", "distance_difference"):
        for precision in ("float16", "int8"):
            with pytest.raises(RuntimeError, match=r"no number.*Received: onnx in"):
                found(precision, **{nothing: float("nan")})
    found("int8", distance_difference=0.1, same_unknown=0.9)
    with pytest.raises(RuntimeError, match=r"none of these.*0\.0011 off.*Received"):
        found(distance_difference=1.1e-3, same_unknown=1.0)
    for precision, enough, few in (("float16", 1, 63 / 64), ("int8", 63 / 64, 62 / 64)):
        found(precision, same_class=enough)
        with pytest.raises(RuntimeError, match=r"names the class.*Received: onnx in "):
            found(precision, same_class=few)
    right = np.arange(40) >= 6
    with pytest.raises(RuntimeError, match="right less often"):
        found(test=paired_test(np.ones(40, bool), right))
    found(test=paired_test(right, np.ones(40, bool)))


def test_an_older_export_is_replaced_and_nothing_else(original, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "current").symlink_to("out")
    kt.export_classifier(original, tmp_path / "out")
    mine = tmp_path / "out" / "my_app.py"
    mine.write_text("beside the client")
    with pytest.raises(FileExistsError, match=r"else.*: my_app.py\..*Received: "):
        kt.export_classifier(original, tmp_path / "out", "openvino")
    assert mine.read_text() == "beside the client"
    mine.unlink()
    (tmp_path / "out" / "__pycache__").mkdir()  # of a program that imported it
    kt.export_classifier(original, tmp_path / "current", "openvino")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("classifier.json", "client.py", "model.xml", "model.bin", "unknown.npy")
    }
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"Something else.*Received: "):
        kt.export_classifier(original, tmp_path / "thesis")
    with pytest.raises(FileExistsError, match=r"Something else.*Received: "):
        kt.export_classifier(original, tmp_path / "thesis" / "chapter.txt")
    assert (tmp_path / "current").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "current", "thesis"}


def test_of_a_model_that_does_not_say_what_it_knows_that_is_said(world, original):
    folder = read_folder(world / "photos", NAMES)
    assert export._photos(original, folder).note == ""
    forgetful = dataclasses.replace(original, trained_on=None)
    found = export._photos(forgetful, folder)
    assert found.tested and found.note.startswith("This model does not say which")


def test_where_the_new_export_cannot_be_put_the_older_one_stays(
    original, tmp_path, monkeypatch
):
    kt.export_classifier(original, tmp_path / "out")
    before = (tmp_path / "out" / "model.onnx").read_bytes()
    rename = pathlib.Path.rename

    def refused(path, target):
        if (path / "model.xml").exists() and pathlib.Path(target).name == "out":
            raise PermissionError(13, "in use", str(path))
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", refused)
    with pytest.raises(PermissionError):
        kt.export_classifier(original, tmp_path / "out", "openvino")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "torch"}, "format must be"),
        ({"precision": "int4"}, "precision must be"),
        ({"format": "savedmodel", "precision": "float16"}, "float32 only"),
        ({"precision": "int8"}, "pass their folder"),
    ],
)
def test_bad_arguments_are_refused_at_once(tmp_path, changes, words):
    # Before the model is looked for.
    with pytest.raises(ValueError, match=rf"{words}.*Received: "):
        kt.export_classifier("nowhere.keras", tmp_path / "out", **changes)
    assert not any(tmp_path.iterdir())


def test_int8_is_fitted_to_training_photos_only(world, original, tmp_path):
    files = export._training_photos(
        original, export.read_folder(world / "photos", NAMES)
    )
    trained = [*(world / "photos").rglob("[0-3].jpg")]
    expected = {kt.load_image(path, SIZE).tobytes() for path in trained}
    assert {x.astype("float32").tobytes() for x in files} == expected
    for path in (world / "photos").rglob("[0-3].jpg"):
        other = tmp_path / "photos" / path.parent.name / path.name
        other.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(other, quality=50)
    with pytest.raises(ValueError, match=r"int8.*None of these photos.*Received: "):
        kt.export_classifier(
            original, tmp_path / "out", "onnx", "int8", tmp_path / "photos"
        )
    bare = dataclasses.replace(original, trained_on=None)
    with pytest.raises(ValueError, match=r"int8.*does not say which.*Received: "):
        kt.export_classifier(bare, tmp_path / "out", "onnx", "int8", world / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


# The client.


def test_the_client_is_short_and_needs_no_more_than_its_runtime():
    for kind, package in (
        ("onnx", "onnxruntime"),
        ("litert", "ai_edge_litert"),
        ("openvino", "openvino"),
        ("savedmodel", "tensorflow"),
    ):
        text = export.client_text(kind)
        assert len(text.splitlines()) < 80
        assert max(map(len, text.splitlines())) <= 88
        words = [line.split() for line in text.splitlines()]
        imported = {
            x[1].split(".")[0] for x in words if x[:1] in (["import"], ["from"])
        }
        standard = {*sys.stdlib_module_names}
        assert imported - standard == {"numpy", "PIL", package}


def test_the_client_predicts_by_itself(world, original, exported, tmp_path):
    photos = some_photos(world)
    # Isolated: neither this package nor its folder is where Python looks.
    words = [sys.executable, "-I", exported.path / "client.py", *photos]
    done = subprocess.run([*map(str, words)], capture_output=True, cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line, one in zip(lines, original.predict(photos), strict=True):
        assert (line["path"], line["class_name"]) == (str(one.path), one.class_name)
        assert line["probability"] == pytest.approx(one.probability, abs=1e-4)
        assert [*line["probabilities"]] == [*NAMES]
        assert line["unknown"] == one.unknown
        assert line["distance"] == pytest.approx(one.distance, abs=1e-4)


def encoded(image, name, **how):
    file = io.BytesIO()
    image.save(file, name, **how)
    return file.getvalue()


def images_of_all_kinds():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (13, 17, 3), "uint8")
    image = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 8
    for channels in (1, 2, 3, 4):
        wide = rng.integers(0, 65536, (13, 17, channels), "uint16")
        yield f"16-bit, {channels}", tf.io.encode_png(wide).numpy()
    wide = Image.fromarray(rng.integers(0, 65536, (13, 17), "uint16"))
    yield "16-bit, turned", encoded(wide, "PNG", exif=turned)
    yield "16-bit TIFF", encoded(wide, "TIFF")
    for mode in ("RGB", "L", "CMYK"):
        yield f"JPEG, {mode}", encoded(image.convert(mode), "JPEG", exif=turned)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"PNG, {mode}", encoded(image.convert(mode), "PNG", exif=turned)
    yield "transparent gray", encoded(image.convert("L"), "PNG", transparency=7)
    yield (
        "transparent colour",
        encoded(image, "PNG", transparency=tuple(map(int, pixels[3, 3]))),
    )
    yield "GIF", encoded(image, "GIF", transparency=3)
    yield "WebP", encoded(image, "WEBP", lossless=True)


@pytest.mark.parametrize(("kind", "data"), images_of_all_kinds())
def test_the_client_sees_what_this_package_sees(kind, data):
    assert np.array_equal(client.decode(data), decoding.decode(data))


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_the_client_refuses_numbers_that_are_no_colours(mode):
    data = encoded(Image.new(mode, (8, 8)), "TIFF")
    with pytest.raises(decoding.UnreadableImageError, match="no colours"):
        decoding.decode(data)
    with pytest.raises(AssertionError, match="no colours"):
        client.decode(data)


def test_resizing_adds_up_as_tensorflow_does():
    """To the last bit: of a sum that ends in one half, rounding tells."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1, 9), (13, 17, 13), (40, 52, 32), (192, 202, 160), (300, 4, 128)]
    sizes += [tuple(rng.integers(1, 300, 3)) for _ in range(25)]
    for height, width, size in sizes:
        image = rng.integers(0, 256, (height, width, 3), "uint8")
        expected = decoding.resize(image, int(size)).numpy()
        assert np.array_equal(client.resize(image, int(size)), expected)


# Loading.


def test_damaged_and_foreign_folders_are_named(world, exported, tmp_path):
    def changed(name, change):
        folder = tmp_path / name
        folder.mkdir()
        for path in exported.path.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        change(folder)
        with pytest.raises(ValueError) as error:
            kt.load_exported(folder)
        assert str(error.value).endswith(f"folder={folder}")
        return str(error.value)

    def described(**changes):
        def change(folder):
            path = folder / "classifier.json"
            found = json.loads(path.read_text("utf-8")) | changes
            path.write_text(json.dumps(found), encoding="utf-8")

        return change

    damaged = "damaged or of another kind"
    for number, change in enumerate(
        [
            lambda x: (x / "model.onnx").unlink(),
            lambda x: (x / "model.onnx").write_bytes(b"half a model"),
            lambda x: (x / "unknown.npy").unlink(),
            lambda x: (x / "unknown.npy").write_bytes(b"no numbers"),
            lambda x: (x / "classifier.json").write_text("{"),
            lambda x: (x / "classifier.json").write_text("[]"),
            lambda x: (x / "classifier.json").write_text("{}"),
            described(format="torch"),
            described(class_names=None),
            described(unknown={"neighbors": 2}),
        ]
    ):
        assert damaged in changed(f"damaged{number}", change), number
    assert "its own client.py" in changed("rule", described(resize_rule="nearest"))
    for nothing in (tmp_path / "nowhere", tmp_path, world / "model.keras"):
        with pytest.raises(FileNotFoundError, match=r"export MODEL.*Received: "):
            kt.load_exported(nothing)


def test_a_runtime_that_is_not_there_is_named(exported, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install onnxruntime.*Received: "):
        kt.load_exported(exported.path)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)


def test_files_that_cannot_be_read_have_an_error(exported, world, tmp_path):
    loaded = kt.load_exported(exported.path)
    (tmp_path / "notes.jpg").write_text("no photo")
    photo = some_photos(world)[0]
    paths = [tmp_path / "notes.jpg", photo, tmp_path / "nowhere.jpg"]
    bad, good, gone = loaded.predict(paths, errors="return")
    assert "this file is not one of the image formats" in bad.error
    assert (good.error, good.path) == (None, photo)
    assert "No such file" in gone.error
    with pytest.raises(kt.UnreadableImageError):
        loaded.predict(paths)
    assert [*loaded.predict_stream(iter([photo] * 70), batch_size=32)][69].path == photo
    with pytest.raises(kt.UnreadableImageError):
        loaded.decode(b"no photo")


# The commands.


def test_the_command_exports(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(world)
    words = ["export", "model.keras", "--output", str(tmp_path / "out")]
    assert command_line.main([*words, "--photos", "photos"]) == 0
    said = capsys.readouterr().out
    assert "onnx, float32" in said
    assert "of 12 photos 0 right by the first only" in said
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert command_line.main([*words, "--precision", "int8"]) == 2
    assert "pass their folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_predict_takes_an_export_with_all_its_options(
    world, exported, capsys, form, monkeypatch
):
    monkeypatch.chdir(world)
    options = ["photos", "--top", "2", "--unknown", "--format", form]
    assert command_line.main(["predict", str(exported.path), *options]) == 0
    found = capsys.readouterr().out
    assert command_line.main(["predict", "model.keras", *options]) == 0
    expected = capsys.readouterr().out
    assert len(found.splitlines()) == len(expected.splitlines())
    if form == "jsonl":
        for a, b in zip(found.splitlines(), expected.splitlines(), strict=True):
            a, b = json.loads(a), json.loads(b)
            for key in ("path", "class_name", "unknown"):
                assert a[key] == b[key]
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-4)
            assert [x["class_name"] for x in a["top"]] == [
                x["class_name"] for x in b["top"]
            ]


def test_predict_says_what_is_no_export(tmp_path, capsys):
    assert command_line.main(["predict", str(tmp_path), "photo.jpg"]) == 2
    assert "There is no model at this path" in capsys.readouterr().err


# Whatever imports one of the first ends with an error.
MEASURED = """
import os, sys
sys.modules.update(dict.fromkeys(
    ["tensorflow", "keras", "scipy", "sklearn", "matplotlib"]
))
from keras_transfer.cli.main import main
from keras_transfer.runtime.processes import peak_memory
status = main(["predict", *sys.argv[1:]])
print(sum(os.times()[:2]), peak_memory(), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("kind", ["onnx", "litert", "openvino"])
def test_predict_answers_without_tensorflow_in_2_seconds_and_500_mb(
    world, export_in, kind
):
    folder, photo = export_in(kind).path, some_photos(world)[0]
    words = [sys.executable, "-c", MEASURED, folder, photo]
    environment = child_environment()
    done = subprocess.run([*map(str, words)], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    (line,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert line["path"] == str(photo)
    # Of the processor: the clock also counts what other processes take.
    seconds, memory = done.stderr.split()[-2:]
    assert float(seconds) < 2
    assert memory == b"None" or int(memory) < 500e6

"""Every public function takes an odd argument or refuses it in one sentence.

Each argument in turn gets each of the odd values below, all others being valid. Either
the call works, or it raises a `ValueError` that says what it received, an `OSError`
about a file, or an error of this package. No error from inside may come out.
"""

import dataclasses
import inspect
import itertools
import pathlib
import types

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.classifier.saved import Classifier, Prediction
from keras_transfer.classifier.unknown import UnknownDetector
from keras_transfer.cluster import training
from keras_transfer.comparison import result, store
from keras_transfer.data import splits
from keras_transfer.deployment import export
from keras_transfer.deployment.exported import ExportedClassifier
from keras_transfer.diagnosis import findings
from keras_transfer.evaluation.evaluate import measure
from keras_transfer.evaluation.files import FilesEvaluation
from keras_transfer.evaluation.report import ClassificationReport
from keras_transfer.features.extraction import Features, LabeledFeatures
from keras_transfer.features.maps import FeatureMaps
from keras_transfer.fine_tuning.summary import TrainableSummary
from keras_transfer.runtime.profiles import Profile
from keras_transfer.verify import predictions
from keras_transfer.verify.data import SharedImage
from keras_transfer.workflow import learning
from keras_transfer.workflow.folder_check import FolderCheck
from tests.helpers.small_networks import small_backbone, small_classifier

NAMES = ["dark", "light"]
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95]])
LABELS = np.array([0, 1, 1, 0])

# By the name of a function, made anew for each call: a generator ends, a model changes.
ODD = {
    "None": lambda world: None,
    "True": lambda world: True,
    "0": lambda world: 0,
    "-1": lambda world: -1,
    "1.5": lambda world: 1.5,
    "2.0": lambda world: 2.0,
    "10**400": lambda world: 10**400,
    "nan": lambda world: float("nan"),
    "inf": lambda world: float("inf"),
    "np.int64(2)": lambda world: np.int64(2),
    "np.float32(0.5)": lambda world: np.float32(0.5),
    "np.array([1, 2])": lambda world: np.array([1, 2]),
    "images": lambda world: np.zeros((2, 8, 8, 3)),
    "tensor": lambda world: tf.constant([0.5, 0.5]),
    "symbolic": lambda world: world.backbone.output,
    "'64'": lambda world: "64",
    "''": lambda world: "",
    "bytes": lambda world: b"bytes",
    "path": lambda world: pathlib.Path("nowhere"),
    "null": lambda world: "a\0b",
    "(64, 64)": lambda world: (64, 64),
    "[]": lambda world: [],
    "[1]": lambda world: [1],
    "[None]": lambda world: [None],
    "['a', 'b']": lambda world: ["a", "b"],
    "ragged": lambda world: [[1], [1, 2]],
    "{}": lambda world: {},
    "{'a': 1}": lambda world: {"a": 1},
    "{1}": lambda world: {1},
    "generator": lambda world: (number for number in range(2)),
    "object": lambda world: object(),
    "class": lambda world: keras.callbacks.EarlyStopping,
    "lambda": lambda world: lambda *arguments: arguments,
    "module": lambda world: keras.callbacks,
    "dataset": lambda world: tf.data.Dataset.from_tensor_slices([1.0, 2.0]),
    "Splits": lambda world: world.splits,
    "layer": lambda world: keras.layers.RandomFlip(),
    "Dense": lambda world: keras.layers.Dense(2),
    "model": lambda world: world.other,
    "unbuilt": lambda world: keras.Sequential([keras.layers.Dense(2)]),
    "callback": lambda world: keras.callbacks.EarlyStopping(),
    "figure": lambda world: matplotlib.figure.Figure(),
}

# Nothing here can be meant by them: to take one is to pass over a mistake.
NEVER_RIGHT = ("nan", "inf", "symbolic", "bytes", "object", "module", "figure")
# Whatever it is, it is given back.
ANYTHING = {"Profile.pick": ("quick", "lesson", "full")}


class AcceptedError(Exception):
    """Says that all arguments were taken: what follows is training."""


def accepted(*arguments, **settings):
    """Stop a call before it trains, or starts a process: both cost seconds."""
    raise AcceptedError


class Accepted(keras.callbacks.Callback):
    """Stop a training before its first step, which costs most of a call."""

    def on_train_begin(self, logs=None):
        raise AcceptedError


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Make small valid things that the rows make their calls of."""
    matplotlib.use("Agg")
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for shift, name in enumerate(NAMES):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(0, 190, (8, 8, 3)) + 60 * shift
            file = folder / "photos" / name / f"{index}.png"
            Image.fromarray(pixels.astype("uint8")).save(file)
    found = kt.load_directory(folder / "photos", image_size=8, batch_size=4)
    model = small_classifier()
    inputs = keras.Input((5,))
    history = keras.callbacks.History()
    history.history = {"loss": [1.0, 0.5], "accuracy": [0.6, 0.8]}
    report = kt.evaluate_classifier(model, found.test, NAMES)
    finder = kt.callbacks.LearningRateFinder()
    finder.learning_rates = [10.0**n for n in range(-6, 1)]
    finder.losses = [1.0, 1.0, 0.9, 0.5, 0.4, 3.0, 9.0]
    recipe = kt.Recipe("frozen", "vgg16", epochs=1)
    # What is finished is read back: no process is started.
    run = store.Run(
        np.eye(2)[LABELS],
        LABELS,
        {"seconds": 1.0, "peak_memory": 10**9, "trained_parameters": 2},
    )
    store.save_run(store.run_path(recipe, found, 0), run)
    check = kt.check_directory(folder / "photos", labels=False)
    saved = kt.save_classifier(model, folder / "model.keras", NAMES)
    return types.SimpleNamespace(
        exported=kt.export_classifier(saved, folder / "exported").path,
        check=check,
        review=check.write(folder / "review"),
        weights=weights_of_two_convolutions(folder),
        onnx=onnx_of_one_number(folder),
        folder=folder / "photos",
        photo=folder / "photos" / "dark" / "0.png",
        saved=saved,
        splits=found,
        backbone=small_backbone(),
        other=keras.Model(inputs, keras.layers.Dense(3)(inputs)),
        images=found.arrays("train")[0].astype("float32"),
        own=rng.integers(0, 255, (24, 8, 8, 3), "uint8"),
        own_labels=np.arange(24) % 2,
        features=(np.eye(8, 2, dtype="float32"), np.arange(8) % 2),
        history=history,
        report=report,
        finder=finder,
        recipe=recipe,
        comparison=result.summarize({"a": [run]}, [0]),
        kept=model,
        before=kt.verify.snapshot(model),
    )


# A name can be registered once.
NUMBERS = itertools.count()


def two_convolutions(images):
    x = keras.layers.Conv2D(2, 3, name="first")(images)
    return keras.layers.Conv2D(2, 3, name="second")(x)


def weights_of_two_convolutions(folder):
    inputs = keras.Input((8, 8, 3))
    path = folder / "two_convolutions.weights.h5"
    keras.Model(inputs, two_convolutions(inputs)).save_weights(path)
    return path


def onnx_of_one_number(folder):
    path = folder / "one_number.onnx"
    number = b"\x08\x01\x10\x01\x42\x01a\x4a\x04" + np.float32(1).tobytes()
    path.write_bytes(b"\x3a\x0f\x2a\x0d" + number)
    return path


def registered(weights):
    """Return the name of a backbone, which goes with each test."""
    if "two_convolutions" not in ARCHITECTURES:
        settings = {"smallest_size": 8, "weights": weights}
        kt.register_backbone("two_convolutions", two_convolutions, **settings)
    return "two_convolutions"


def in_style(**changes):
    with kt.plots.style(**changes):
        pass


# For each function its valid arguments; those left out have their defaults, and are
# varied as well. In brackets, another way to call it.
ROWS = {
    "profile": lambda world: {"name": "quick"},
    "load_dataset": lambda world: {
        "name": "sample_cats_vs_dogs",
        "image_size": 32,
        "max_images": 12,
    },
    "load_directory": lambda world: {"path": world.folder, "image_size": 8},
    "practice_folder": lambda world: {},
    "load_image": lambda world: {"path": world.photo, "image_size": 8},
    "build_backbone": lambda world: {
        "name": "vgg16",
        "weights": None,
        "image_size": 32,
    },
    "backbones": lambda world: {},
    "register_backbone": lambda world: {
        "name": f"own_{next(NUMBERS)}",
        "network": two_convolutions,
        "blocks": {"block1": "first", "block2": "second"},
        "smallest_size": 8,
    },
    "weights_folder": lambda world: {"name": "speech_embedding"},
    "read_onnx_weights": lambda world: {"path": world.onnx},
    "block_names": lambda world: {"model": world.backbone},
    "extract_features": lambda world: {
        "backbone": world.backbone,
        "splits": world.splits,
    },
    "similar_images": lambda world: {
        "features": np.eye(8),
        "query": np.ones(8),
    },
    "split_at_block": lambda world: {"model": world.backbone, "block": "block1"},
    "extract_feature_maps": lambda world: {
        "network": world.backbone,
        "splits": world.splits,
    },
    "build_classifier": lambda world: {"backbone": world.backbone, "num_classes": 2},
    "compile_classifier": lambda world: {"model": world.model, "optimizer": "adam"},
    "fit_head": lambda world: {
        "model": world.model,
        "features": world.features,
        "callbacks": [Accepted()],
        "epochs": 1,
    },
    "build_augmentation": lambda world: {},
    "freeze": lambda world: {"model": world.model},
    "unfreeze": lambda world: {"model": world.model, "from_block": "block2"},
    "unfreeze (by number)": lambda world: {"model": world.model, "num_layers": 2},
    "trainable_summary": lambda world: {"model": world.model},
    "discriminative_learning_rates": lambda world: {
        "model": world.model,
        "learning_rate": 1e-3,
    },
    "find_learning_rate": lambda world: {
        "model": world.model,
        "dataset": world.splits.train,
        "min_learning_rate": 1e-5,
        "max_learning_rate": 1e-1,
        "num_steps": 10,
    },
    "fine_tune": lambda world: {
        "model": world.model,
        "splits": world.splits,
        "epochs": 1,
        "freeze_epochs": 0,
        "callbacks": [Accepted()],
        "verbose": 0,
    },
    "Recipe": lambda world: {"kind": "fine_tuned"},
    "compare": lambda world: {
        "experiments": {"a": world.recipe},
        "splits": world.splits,
        "seeds": [0],
    },
    "train_on_cluster": lambda world: {
        "recipe": world.recipe,
        "splits": world.splits,
    },
    "save_classifier": lambda world: {
        "model": world.model,
        "path": "model.keras",
        "class_names": NAMES,
    },
    "load_classifier": lambda world: {"path": world.saved},
    "fit_unknown_detector": lambda world: {
        "train_features": np.eye(8),
        "validation_features": np.eye(8),
    },
    "pooled_features_of": lambda world: {
        "model": world.kept,
        "dataset": world.splits.test,
    },
    "class_probabilities": lambda world: {
        "model": world.model,
        "outputs": PROBABILITIES,
    },
    "evaluate_classifier": lambda world: {
        "model": world.model,
        "dataset": world.splits.test,
        "class_names": NAMES,
    },
    "evaluate_files": lambda world: {"model": world.saved, "folder": world.folder},
    "accuracy_interval": lambda world: {"correct": 2, "count": 4},
    "paired_test": lambda world: {
        "correct_a": np.array([True, False, True]),
        "correct_b": np.array([True, True, False]),
    },
    "expected_calibration_error": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
    },
    "fit_temperature": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
    },
    "calibration_temperature": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
    },
    "kept_figures": lambda world: {
        "report": measure(np.array(LABELS), np.array(PROBABILITIES), NAMES),
        "temperature": 2.0,
    },
    "apply_temperature": lambda world: {
        "probabilities": PROBABILITIES,
        "temperature": 2.0,
    },
    "diagnose": lambda world: {
        "model": world.model,
        "splits": {"test": world.splits.test},
    },
    "train_classifier": lambda world: {
        "folder": world.folder,
        "backbone": registered(world.weights),
        "image_size": 8,
    },
    "grad_cam": lambda world: {"model": world.model, "images": world.images[:1]},
    "record": lambda world: {
        "lesson": "01_lesson",
        "test_accuracy": 0.9,
        "test_images": 10,
        "backbone": "vgg16",
        "loss": 0.3,
    },
    "data_dir": lambda world: {},
    "output_dir": lambda world: {},
    "callbacks.GradualUnfreezing": lambda world: {},
    "callbacks.LearningRateFinder": lambda world: {},
    "check_directory": lambda world: {
        "folder": world.folder,
        "image_size": 32,
        "labels": False,
    },
    "apply_review": lambda world: {
        "folder": world.folder,
        "review": world.review,
        "output": f"clean_{next(NUMBERS)}",
    },
    "FolderCheck.write": lambda world: {"output": "review"},
    "plots.show_accuracies": lambda world: {"right": {"a": [True, False]}},
    "plots.show_augmentation": lambda world: {
        "image": world.images[0],
        "layer": keras.layers.RandomFlip(),
        "count": 2,
    },
    "plots.show_class_balance": lambda world: {
        "labels": {"train": LABELS},
        "class_names": NAMES,
    },
    "plots.show_class_balance (Splits)": lambda world: {"labels": world.splits},
    "plots.show_comparison": lambda world: {"comparison": world.comparison},
    "plots.show_confusion_matrix": lambda world: {
        "labels": LABELS,
        "predicted": LABELS,
        "class_names": NAMES,
    },
    "plots.show_embedding": lambda world: {
        "features": np.eye(4),
        "labels": LABELS,
        "class_names": NAMES,
    },
    "plots.show_grad_cam": lambda world: {
        "images": world.images[:2],
        "maps": np.zeros((2, 8, 8)),
    },
    "plots.show_images": lambda world: {"images": world.images[:2]},
    "plots.show_learning_curve": lambda world: {
        "sizes": [10, 100],
        "accuracies": {"a": [[0.5, 0.6]]},
    },
    "plots.show_learning_rate_finder": lambda world: {"finder": world.finder},
    "plots.show_mistakes": lambda world: {
        "images": world.images[:4],
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
    },
    "plots.show_pairs": lambda world: {
        "first": world.images[:2],
        "second": world.images[:2],
    },
    "plots.show_precision_recall_curve": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
    },
    "plots.show_predictions": lambda world: {
        "images": world.images[:4],
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
    },
    "plots.show_reliability_diagram": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
    },
    "plots.show_roc_curve": lambda world: {
        "labels": LABELS,
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
    },
    "plots.show_training_history": lambda world: {"history": world.history},
    "plots.show_training_history (runs)": lambda world: {
        "history": {"a": world.history, "b": world.history.history}
    },
    "plots.show_unfreezing_schedule": lambda world: {
        "learning_rates": [{"block5": None, "head": 1e-3}]
    },
    "plots.style": lambda world: {"axes.grid": False, "figure.figsize": (2, 2)},
    "verify.assert_augmentation_rests": lambda world: {
        "augmentation": keras.layers.RandomFlip(),
        "images": world.images,
    },
    "verify.assert_augmentation_varies": lambda world: {
        "augmented": kt.build_augmentation("light", seed=0),
        "images": world.images,
    },
    "verify.assert_batch_normalization_still": lambda world: {
        "before": world.before,
        "model": world.kept,
    },
    "verify.assert_disjoint_splits": lambda world: {"splits": world.splits},
    "verify.assert_frozen": lambda world: {
        "before": world.before,
        "model": world.kept,
    },
    "verify.assert_label_order": lambda world: {
        "labels": LABELS,
        "predicted": LABELS,
        "class_names": NAMES,
    },
    "verify.assert_order_kept": lambda world: {"dataset": world.splits.test},
    "verify.assert_pixel_range": lambda world: {
        "dataset": world.splits.test,
        "model": world.model,
        "expected": (0, 255),
    },
    "verify.assert_reproducible": lambda world: {"function": lambda: 1},
    "verify.assert_same_predictions": lambda world: {
        "model": world.kept,
        "path": world.saved,
        # That the model tells apart, or the proof would prove nothing.
        "images": 255 * np.eye(64).reshape(64, 8, 8, 1).repeat(3, -1)[:4],
    },
    "verify.assert_updated": lambda world: {
        "before": world.before,
        "model": world.model,
    },
    "verify.snapshot": lambda world: {"model": world.model},
    "Splits.from_arrays": lambda world: {
        "train": (world.own, world.own_labels),
        "class_names": NAMES,
    },
    "Splits.from_datasets": lambda world: {
        "train": tf.data.Dataset.from_tensor_slices((world.own, world.own_labels)),
        "class_names": NAMES,
    },
    "Splits.ordered": lambda world: {"split": "train"},
    "Splits.arrays": lambda world: {"split": "test"},
    "FeatureMaps.arrays": lambda world: {"split": "test"},
    "Splits.annotations": lambda world: {"split": "test"},
    "Classifier.predict": lambda world: {"paths": [world.photo]},
    "Classifier.predict_stream": lambda world: {"paths": [world.photo]},
    "ExportedClassifier.decode": lambda world: {"data": world.photo.read_bytes()},
    "ExportedClassifier.answer": lambda world: {"images": world.images[:2]},
    "ExportedClassifier.predict": lambda world: {"paths": [world.photo]},
    "ExportedClassifier.predict_stream": lambda world: {"paths": [world.photo]},
    "export_classifier": lambda world: {"model": world.saved, "output": "exported"},
    "load_exported": lambda world: {"folder": world.exported},
    "UnknownDetector.distances": lambda world: {"features": np.eye(8)},
    "UnknownDetector.is_unknown": lambda world: {"features": np.eye(8)},
    "ClassificationReport.mistakes": lambda world: {},
    "GradualUnfreezing.trainable_blocks": lambda world: {
        "model": world.model,
        "epoch": 1,
    },
    "Profile.dataset_name": lambda world: {"name": "tf_flowers"},
    "Profile.pick": lambda world: {"quick": 1, "lesson": 2, "full": 3},
}
METHODS = {
    "FolderCheck": lambda world: world.check,
    # Those of a folder have no annotations.
    "Splits": lambda world: dataclasses.replace(
        world.splits, _annotations=lambda split: {"box": world.splits.counts[split]}
    ),
    "FeatureMaps": lambda world: kt.extract_feature_maps(
        world.backbone, world.splits, verbose=False
    ),
    "Classifier": lambda world: kt.load_classifier(world.saved),
    "ExportedClassifier": lambda world: kt.load_exported(world.exported),
    "UnknownDetector": lambda world: kt.fit_unknown_detector(np.eye(8), np.eye(8)),
    "ClassificationReport": lambda world: world.report,
    "GradualUnfreezing": lambda world: kt.callbacks.GradualUnfreezing(["block2"]),
    "Profile": lambda world: kt.profile("quick"),
}
# Why a value is not tried.
SKIPPED = {
    ("verify.assert_reproducible", "function", value): "its own error comes out"
    for value in ("layer", "Dense", "model", "unbuilt", "class")
} | {
    ("compare", "seeds", value): "right, and its process takes seconds to start"
    for value in ("[1]", "{1}", "np.array([1, 2])", "generator")
}
SKIPPED |= {
    ("train_on_cluster", "cluster", value): "looked at where the workers are started"
    for value in ODD
}

RETURNED = (
    FolderCheck,
    splits.Splits,
    FeatureMaps,
    Features,
    LabeledFeatures,
    Classifier,
    ExportedClassifier,
    Prediction,
    UnknownDetector,
    FilesEvaluation,
    ClassificationReport,
    result.Comparison,
    findings.Diagnosis,
    findings.Finding,
    Profile,
    SharedImage,
    TrainableSummary,
    kt.Recipe,
    kt.callbacks.GradualUnfreezing,
    kt.callbacks.LearningRateFinder,
)


def public_names():
    """Return every public function and class, and every method with arguments."""
    names = {name: getattr(kt, name) for name in kt.__all__}
    del names["Splits"]  # Made by functions and by methods of its class.
    for name in [name for name, value in names.items() if inspect.ismodule(value)]:
        # A folder that is a function, too, stays.
        module = names[name] if callable(names[name]) else names.pop(name)
        names |= {f"{name}.{each}": getattr(module, each) for each in module.__all__}
    for returned in RETURNED:
        for name, value in vars(returned).items():
            # What begins with on_ or set_ is called by Keras.
            public = not name.startswith(("_", "on_", "set_"))
            if public and isinstance(value, classmethod):
                names[f"{returned.__name__}.{name}"] = getattr(returned, name)
            if public and inspect.isfunction(value):
                takes = len(inspect.signature(value).parameters) > 1
                if takes:
                    names[f"{returned.__name__}.{name}"] = value
    return {
        name: value
        for name, value in names.items()
        if callable(value)
        and not (inspect.isclass(value) and issubclass(value, Exception))
    }


def test_every_public_function_is_in_the_table():
    missing = set(public_names()) ^ {name.split(" (")[0] for name in ROWS}
    assert not missing


def function_of(name, world):
    name = name.split(" (")[0]
    owner, _, method = name.rpartition(".")
    if owner in METHODS:
        return getattr(METHODS[owner](world), method)
    return in_style if name == "plots.style" else public_names()[name]


def outcome(name, function, arguments):
    """Return what a call did, in a word or as a failure."""
    try:
        function(**arguments)
    except AcceptedError:
        return "works"
    except AssertionError as error:
        if name.startswith("verify."):
            return "refused"
        return f"AssertionError: {error}"
    except (
        OSError,
        kt.DatasetUnavailableError,
        kt.WeightsUnavailableError,
        kt.UnreadableImageError,
    ):
        return "refused"
    except Exception as error:
        if isinstance(error, ValueError) and "Received" in str(error):
            return "refused"
        text = " ".join(str(error).split())[:120]
        return f"{type(error).__name__}: {text}"
    finally:
        plt.close("all")
    return "works"


def tried(name, world):
    """Yield each odd argument of a function, and what came of it."""
    # Of its own, because many functions change it.
    world.model = small_classifier()
    kt.compile_classifier(world.model, keras.optimizers.Adam(1e-3))
    function = function_of(name, world)
    parameters = inspect.signature(function).parameters.values()
    baseline = ROWS[name](world)
    unset = [
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and parameter.name not in baseline
        and parameter.default is parameter.empty
    ]
    assert not unset, f"no valid argument in the table for {unset}"
    yield "as it is", outcome(name, function, baseline)
    defaults = [
        parameter.name
        for parameter in parameters
        if parameter.default is not parameter.empty
    ]
    for argument in dict.fromkeys([*baseline, *defaults]):
        for value, make in ODD.items():
            if (name, argument, value) in SKIPPED:
                continue
            arguments = ROWS[name](world) | {argument: make(world)}
            done = outcome(name, function, arguments)
            never = value in NEVER_RIGHT and argument not in ANYTHING.get(name, ())
            if never and done == "works":
                done = "was taken in silence"
            yield f"{argument}={value}", done
    # Nor is anything left behind that the next call stumbles over.
    again = outcome(name, function, ROWS[name](world))
    yield "as it is, after all of these", again


@pytest.mark.parametrize("name", ROWS)
def test_odd_arguments_work_or_are_refused(name, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictions, "_predict_elsewhere", accepted)
    monkeypatch.setattr(learning, "train_head", accepted)
    monkeypatch.setattr(learning, "train_last_blocks", accepted)
    monkeypatch.setattr(export, "convert", accepted)
    monkeypatch.setattr(training, "learn_on_workers", accepted)
    failures = [
        f"{what}: {done}"
        for what, done in tried(name, world)
        if done not in ("works", "refused")
        or (done == "refused" and what.startswith("as it is"))
    ]
    assert not failures, f"{name}\n" + "\n".join(failures)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"epochs": np.int64(3)}, 3),
        ({"epochs": 3.0}, 3),
        ({"learning_rate": np.float32(0.5)}, 0.5),
        ({"learning_rate": 1}, 1.0),
        ({"layer_decay": np.array(0.25)}, 0.25),
        ({"freeze_epochs": tf.constant(2)}, 2),
    ],
)
def test_recipes_keep_python_s_own_numbers(changes, kept):
    recipe = dataclasses.replace(kt.Recipe("fine_tuned"), **changes)
    (value,) = (getattr(recipe, name) for name in changes)
    assert (type(value), value) == (type(kept), kept)
    # Whatever the number came as, it is the same recipe, with the same runs on disk.
    by_hand = kt.Recipe("fine_tuned", **dict.fromkeys(changes, kept))
    assert store.describe(recipe) == store.describe(by_hand)
    assert hash(recipe) == hash(by_hand)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": ["frozen"]},
        {"backbone": np.array(["vgg16"])},
        {"epochs": True},
        {"layer_decay": True},
        {"layer_decay": np.array([0.5, 0.5])},
        {"learning_rate": float("inf")},
        {"learning_rate": "1e-3"},
        {"from_block": 5},
        {"from_block": ""},
        {"augmentation": ["light"]},
        {"epochs_per_block": object()},
    ],
)
def test_recipes_are_checked_when_they_are_replaced_too(changes):
    for kind in ("fine_tuned", "gradual", "frozen", "from_scratch"):
        with pytest.raises(ValueError, match="Received: "):
            dataclasses.replace(kt.Recipe(kind), **changes)


@pytest.mark.parametrize("value", ["fast", "Quick", "quick ", "0"])
def test_profiles_of_the_environment_are_checked(monkeypatch, value):
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", value)
    for call in (kt.profile, kt.record):
        with pytest.raises(ValueError, match=r"KERAS_TRANSFER_PROFILE.*Received: "):
            call()
    monkeypatch.setenv("KERAS_TRANSFER_PROFILE", "")
    assert kt.profile().name == kt.record()["profile"] == "quick"


def test_bands_of_the_environment_are_checked(monkeypatch):
    for value in ("off", "0", "false", "nowhere/bands.json"):
        monkeypatch.setenv("KERAS_TRANSFER_BANDS", value)
        with pytest.raises(ValueError, match=r"KERAS_TRANSFER_BANDS.*Received: "):
            kt.record(test_accuracy=0.5)
    for value in ("", " ", "NONE", "none "):
        monkeypatch.setenv("KERAS_TRANSFER_BANDS", value)
        assert kt.record(test_accuracy=0.5)["test_accuracy"] == 0.5


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1}', '{"a": {"quick": {"vgg16": {"data": "b"}}}}']
)
def test_damaged_bands_are_named(monkeypatch, tmp_path, text):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("bands.json").write_text(text)
    with pytest.raises(ValueError, match=r"Repair.*Received: .*bands\.json"):
        kt.record(lesson="a", test_accuracy=0.5)


def test_the_output_folder_may_lie_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_TRANSFER_OUTPUT_DIR", "~/lessons")
    assert kt.output_dir() == tmp_path / "lessons"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_TRANSFER_OUTPUT_DIR", "~/file")
    with pytest.raises(OSError, match=r"KERAS_TRANSFER_OUTPUT_DIR.*Received: .*file"):
        kt.output_dir()


@pytest.mark.parametrize("value", [object(), kt.Recipe, np.float32, {1}, b"text", 1j])
def test_figures_that_are_no_plain_values_are_value_errors_too(value):
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match=r"`made` must be a number.*Received: "):
            kt.record(made=value)
        with pytest.raises(kind, match=r"`made\[0\]` must be a number"):
            kt.record(made=[value])
    with pytest.raises(ValueError, match="must be finite"):
        kt.record(loss=np.array([1.0, np.nan]))


def test_a_profile_may_be_named_in_a_record():
    assert kt.record(profile="full")["profile"] == "full"

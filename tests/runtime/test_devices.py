"""Two devices learn and compute what one does with the same batches."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.data.splits import build_splits
from keras_transfer.runtime.devices import device_count, on_all_devices, use_all_devices
from tests.helpers import fresh_process
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
)

# Devices can be divided only before TensorFlow starts, so in a process of its own.
RUN = """
import json, os, sys, tensorflow as tf
sys.path.insert(0, {root!r})
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
from keras_transfer.runtime.devices import use_all_devices
from tests.runtime.test_devices import results

found = []
for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
    use_all_devices(devices)
    # What one device computed is not to be read back by two.
    os.environ["KERAS_TRANSFER_DATA_DIR"] = str(len(devices))
    found.append(results())
with open("found.json", "w") as file:
    json.dump(found, file)
"""


def splits():
    images, labels = images_and_labels(32)
    # The last batch of the test photos is a single one, which only one device gets.
    parts = {"train": slice(16), "validation": slice(16, 24), "test": slice(24, 29)}

    def read(part):
        def rows(start=0, stop=None):
            chosen = images[part][start:stop], labels[part][start:stop]
            return tf.data.Dataset.from_tensor_slices(chosen)

        return rows

    return build_splits(
        {name: read(part) for name, part in parts.items()},
        lambda image: image,
        counts={"train": 16, "validation": 8, "test": 5},
        image_size=8,
        batch_size=4,
        seed=0,
        class_names=("a", "b"),
        name="random",
        source="random",
        fingerprint="random",
    )


def classifier():
    keras.utils.set_random_seed(0)
    return small_classifier(blocks=2, normalized=True)


def fit(model, optimizer, epochs, *callbacks):
    kt.compile_classifier(model, optimizer)
    history = model.fit(
        splits().train,
        epochs=epochs,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
    )
    return history.history


def plain():
    model = classifier()
    kt.unfreeze(model, "block2")
    return fit(model, keras.optimizers.AdamW(0.01, weight_decay=0.1), 2)


def gradual():
    model = classifier()
    rates = kt.discriminative_learning_rates(model, 0.01)
    return fit(model, rates, 2, kt.callbacks.GradualUnfreezing(["block2"]))


def fine_tune(**arguments):
    arguments |= {"from_block": "block2", "learning_rate": 0.01, "verbose": 0}
    history = kt.fine_tune(classifier(), splits(), 2, **arguments).history
    assert history.pop("stage") == ["head", "fine-tuning", "fine-tuning"]
    return history


def features():
    keras.utils.set_random_seed(0)
    backbone = small_backbone(normalized=True)
    found = kt.extract_features(backbone, splits(), dtype="float32", verbose=False)
    return {name: getattr(found, name).features.tolist() for name in splits().counts}


def saved_and_loaded():
    classifier().save("model.keras")
    return fit(keras.saving.load_model("model.keras"), "adam", 1)


def swept():
    model = classifier()
    kt.compile_classifier(model, "sgd")
    return {"loss": kt.find_learning_rate(model, splits().train, num_steps=10).losses}


def convolving_devices():
    """Return on which devices a feature is computed."""
    model = small_backbone(blocks=1)
    run = tf.function(on_all_devices(lambda images: model(images, training=False)))
    graph = run.get_concrete_function(tf.TensorSpec((None, 8, 8, 3))).graph
    return sorted({op.device for op in graph.get_operations() if op.type == "Conv2D"})


CASES = {
    "plain": plain,
    "gradual": gradual,
    # By itself, one device alone would keep the prefix.
    "fine-tuned": lambda: fine_tune(cache_prefix=False),
    "fine-tuned from kept maps": lambda: fine_tune(cache_prefix=True, dtype="float32"),
    "features": features,
    "saved and loaded": saved_and_loaded,
    "swept": swept,
}


def results():
    copies = classifier().weights[0].value
    copies = tf.distribute.get_strategy().experimental_local_results(copies)
    return {
        "copies": len(copies),
        "convolving": convolving_devices(),
        **{name: case() for name, case in CASES.items()},
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("devices")
    script = RUN.format(root=str(request.config.rootpath))
    run = fresh_process.run(script, cwd=folder)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_two_devices_do_what_one_does(found, case):
    one, two = (results[case] for results in found)
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert np.isfinite(values).all()
        assert np.allclose(two[name], values, rtol=1e-5, atol=1e-6), name


@pytest.mark.slow
def test_both_devices_hold_the_weights_and_compute(found):
    one, two = found
    assert (one["copies"], two["copies"]) == (1, 2)
    assert one["convolving"] == [""]
    assert [device[-5:] for device in two["convolving"]] == ["CPU:0", "CPU:1"]


def test_one_device_changes_nothing():
    build = keras.Model._maybe_symbolic_build
    use_all_devices(["CPU:0"])
    assert not tf.distribute.has_strategy()
    assert device_count() == 1
    assert keras.Model._maybe_symbolic_build is build

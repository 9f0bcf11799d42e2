"""Transfer learning as the guides of Keras and PyTorch teach it, with our weights.

Each function trains until the test accuracy that is needed, at most for a number of
epochs, and returns seconds and test accuracies up to the end of each epoch. The clock
stands still while test accuracy is measured.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_transfer.data.pipelines import encoded
from measuring import Clock


def guide_model(network: keras.Model, units: int) -> keras.Model:
    """Return the model that Keras's guide builds on a network."""
    inputs = keras.Input(network.input_shape[1:])
    x = keras.layers.RandomFlip("horizontal")(inputs)
    x = keras.layers.RandomRotation(0.1)(x)
    x = network(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(inputs, keras.layers.Dense(units)(x))


def keras_guide(network, splits, epochs: int, seed: int, needed: float):
    """Run Keras's guide, https://keras.io/guides/transfer_learning/.

    As there: photos decoded once and kept in memory, RandomFlip and RandomRotation(0.1)
    inside the model, the frozen network called with `training=False`, Dropout(0.2),
    Dense(1), binary cross-entropy of logits, Adam, validation after each epoch, 20
    epochs; then the same with all layers trainable and Adam(1e-5). Different: ResNet50
    with its preprocessing at the size of `splits` in place of Xception at 150 px, and
    the photos of `splits`, which are resized with antialiasing and shuffled.
    """
    keras.utils.set_random_seed(seed)
    clock = Clock(splits.test, needed)
    model = guide_model(network, 1)
    for trainable, optimizer, count in (
        (False, keras.optimizers.Adam(), min(epochs, 20)),
        (True, keras.optimizers.Adam(1e-5), max(epochs - 20, 0)),
    ):
        if clock.reached or not count:
            break
        network.trainable = trainable
        model.compile(
            optimizer,
            keras.losses.BinaryCrossentropy(from_logits=True),
            # The guide's metric cuts logits at 0.5.
            metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
        )
        model.fit(
            splits.train,
            validation_data=splits.validation,
            epochs=count,
            callbacks=[clock],
            shuffle=False,  # The data set shuffles itself.
            verbose=0,
        )
    return clock.seconds, clock.accuracies


def torch_tutorial(network, splits, epochs: int, seed: int, needed: float):
    """Run PyTorch's tutorial with a fixed network: see `torch_tutorial.py`."""
    import torch

    from torch_network import torch_network

    with tempfile.TemporaryDirectory() as folder:
        path, photos = (
            pathlib.Path(folder, "network.pt"),
            pathlib.Path(folder, "photos"),
        )
        torch.save(torch_network(network), path)
        for split in splits.counts:
            _write(splits, split, photos / split)
        script = pathlib.Path(__file__).with_name("torch_tutorial.py")
        options = {
            "--image-size": splits.image_size,
            "--epochs": epochs,
            "--needed": needed,
            "--seed": seed,
        }
        words = [str(each) for pair in options.items() for each in pair]
        done = subprocess.run(
            [sys.executable, str(script), str(path), str(photos), *words],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=True,
        )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    seconds, accuracies = zip(*rows, strict=True)
    return list(seconds), list(accuracies)


def _write(splits, split: str, folder: pathlib.Path) -> None:
    """Write the photos of a split as the files that they were."""
    count = splits.counts[split]
    labels = np.concatenate([labels for _, labels in splits.ordered(split)])
    for name in splits.class_names:
        (folder / name).mkdir(parents=True)
    data = encoded(splits.ordered(split), count)
    for index, (photo, label) in enumerate(zip(data, labels, strict=True)):
        (folder / splits.class_names[label] / f"{index:05}.jpg").write_bytes(photo)

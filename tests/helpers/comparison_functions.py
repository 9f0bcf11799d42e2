"""Recipes for test_comparison, which each process of `compare` imports."""

import os
import pathlib
import subprocess
import sys

import keras

import keras_transfer as kt


def good(splits, seed):
    """Train a tiny network, and note that it was called."""
    # Neither Python's nor another process's words are taken for the number of a run.
    print("7", file=sys.__stdout__, flush=True)
    subprocess.run([sys.executable, "-Sc", "print('99')"], check=True)
    with _notes().open("a") as notes:
        notes.write(f"good {seed}\n")
    return _train(splits)


def bad(splits, seed):
    """Do the same, but fail with the second seed until a file says otherwise."""
    with _notes().open("a") as notes:
        notes.write(f"bad {seed}\n")
    if seed == 1 and not _notes().with_name("repaired").exists():
        raise ValueError("wrong on purpose")
    return _train(splits)


def _notes():
    return pathlib.Path(os.environ["COMPARISON_NOTES"])


def _train(splits):
    size = splits.image_size
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(len(splits.class_names), activation="softmax"),
        ]
    )
    kt.compile_classifier(model, "adam")
    model.fit(splits.train, epochs=1, shuffle=False, verbose=0)
    return model

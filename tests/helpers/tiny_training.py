"""A folder of drawn photos and a tiny backbone, to train on within seconds.

Another part starts trainings, one after the other, and kills them. Beside the output it
saves what a training makes that nothing disturbs, `undisturbed.keras`.
"""

import os
import pathlib
import random
import signal
import sys
import time
import traceback
import typing
import unittest.mock
from collections.abc import Callable

import keras
import numpy as np
from PIL import Image

import keras_transfer as kt
from keras_transfer.workflow import recipe

SIZE = 32
NAMES = ("blue", "red")


def draw_photos(folder: pathlib.Path, count: int = 36) -> pathlib.Path:
    """Draw photos of noise with a tint that is hard to see."""
    rng = np.random.default_rng(0)
    for channel, name in zip((2, 0), NAMES, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 200, (SIZE, SIZE, 3))
            pixels[..., channel] += rng.integers(0, 12)
            image = Image.fromarray(pixels.astype("uint8"))
            image.save(folder / name / f"{number:02}.png")
    return folder


def network(images):
    layers = keras.layers
    x = layers.Conv2D(4, 3, activation="relu", name="first_conv")(images)
    x = layers.MaxPooling2D(name="first_pool")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="second_conv")(x)
    x = layers.SpatialDropout2D(0.1, name="second_dropout")(x)
    return layers.MaxPooling2D(name="second_pool")(x)


def register(weights: pathlib.Path) -> str:
    """Make the backbone known by its name, with weights of its own."""
    blocks = {"first": "first_pool", "second": "second_pool"}
    settings = {"blocks": blocks, "preprocess": lambda images: images / 255}
    if not weights.is_file():
        keras.utils.set_random_seed(0)
        kt.register_backbone("tiny", network, **settings, image_size=SIZE)
        made = kt.build_backbone("tiny", weights=None, image_size=SIZE)
        made.save_weights(weights)
    kt.register_backbone("tiny", network, **settings, image_size=SIZE, weights=weights)
    return "tiny"


def train(folder, output, **settings):
    """Train the last block of the backbone, which must be registered.

    The head gets fewer epochs before: of its 40, each is as the one before.
    """
    settings = {"fine_tune": True, "epochs": 4, "image_size": SIZE} | settings
    with unittest.mock.patch.object(recipe, "HEAD_EPOCHS", 10):
        return kt.train_classifier(folder, output, backbone="tiny", **settings)


# A training prints about so many lines, which tell how far it is on any machine.
LINES, AFTER = 18, 0.2


def killed_trainings(
    photos: pathlib.Path, weights: pathlib.Path, output: pathlib.Path, kills: int
) -> list[str]:
    """Train until it has been killed so often, each time at a random moment.

    What is imported costs most of a process and does nothing, so it is imported once:
    each training is a fork of this process, in which TensorFlow has not started yet.

    Args:
        photos: The folder.
        weights: Those of the backbone.
        output: Where the model is saved.
        kills: How often a training is killed, with SIGKILL.

    Returns:
        How each of the trainings ended, `"killed"`, `"finished"` or `"failed"`, with
        `"resumed-"` before it where it had gone on from what was kept. The last but one
        was left alone, and so was the last, which began anew in a data folder of its
        own.
    """

    def work():
        register(weights)
        train(photos, output)

    def undisturbed():
        os.environ["KERAS_TRANSFER_DATA_DIR"] = str(output.parent / "undisturbed")
        register(weights)
        train(photos, output.with_stem("undisturbed"))

    draw, ends = random.Random(2), []
    while sum(end.endswith("killed") for end in ends) < kills:
        ends.append(_forked(work, draw.randint(1, LINES), draw.uniform(0, AFTER)))
        if ends[-1].endswith("failed"):
            return ends
    return [*ends, _forked(work), _forked(undisturbed)]


def _forked(
    work: Callable[[], None], lines: int | None = None, seconds: float = 0.0
) -> str:
    """Do some work in a process that is killed so long after so many lines."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _do(work, writing)
    os.close(writing)
    resumed = False
    with os.fdopen(reading, "rb", buffering=0) as printed:
        for number, line in enumerate(printed, 1):
            resumed |= b"goes on after epoch" in line
            if number == lines:
                time.sleep(seconds)
                os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    end = "finished" if status == 0 else "failed"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        end = "killed"
    return f"resumed-{end}" if resumed else end


def _do(work: Callable[[], None], output: int) -> typing.NoReturn:
    os.dup2(output, sys.stdout.fileno())
    try:
        work()
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

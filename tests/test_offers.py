"""What an error offers is taken: each name and each call in it is tried."""

import pathlib
import re
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.classifier.members import MEMBER
from tests.helpers.small_networks import (
    images_and_labels,
    small_backbone,
    small_classifier,
)

IMAGES, LABELS = images_and_labels()
NAMES = ["cat", "dog"]


def pairs():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)


def nested():
    inputs = keras.Input((8, 8, 3))
    x = small_backbone(normalized=True)(inputs, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def nameless():
    """Return a nested model whose layers have automatic names."""
    base = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.ReLU()])
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 3, name="only"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )


def after(words):
    """Return a parser of names that are listed after some words."""

    def names(message):
        found = re.search(rf"{words}(.*?)\.? Received: ", message)[1]
        return [name.strip() for name in re.split(r",| and | or ", found) if name]

    return names


def frozen_until(block):
    model = small_classifier()
    kt.unfreeze(model, from_block=block)
    return model


def discriminative(name):
    mapping = {"head": 1e-3, name: 1e-3}
    return kt.discriminative_learning_rates(small_classifier(), mapping)


def build(name):
    # The others are built by tests/backbones/test_build.py, and take seconds.
    if name in ARCHITECTURES and name != "vgg16":
        return None
    return kt.build_backbone(name, weights=None, image_size=32)


def features(dtype):
    backbone = small_backbone(size=32)
    return kt.extract_features(backbone, splits(), dtype=dtype, verbose=False)


# What is tried: a wrong argument, where the names stand, and what takes each of them.
OFFERS = {
    "grad_cam": (
        lambda name: kt.grad_cam(small_classifier(), IMAGES, layer=name),
        after("example one of: "),
        2,
    ),
    "grad_cam, nested": (
        lambda name: kt.grad_cam(nested(), IMAGES, layer=name),
        after("example one of: "),
        2,
    ),
    "grad_cam, a nested sequence": (
        lambda name: kt.grad_cam(NAMELESS, IMAGES, layer=name),
        after("example one of: "),
        1,
    ),
    "grad_cam, Sequential": (
        lambda name: kt.grad_cam(sequential(), IMAGES, layer=name),
        after("example one of: "),
        1,
    ),
    "split_at_block": (
        lambda name: kt.split_at_block(small_classifier(), name),
        after("has the blocks "),
        2,
    ),
    "unfreeze": (frozen_until, after("has the blocks "), 2),
    "discriminative_learning_rates": (
        discriminative,
        lambda message: after("names blocks of ")(
            message.replace(", and head always", "")
        ),
        3,
    ),
    "build_backbone": (build, after("one of:? "), 3),
    "strength": (kt.build_augmentation, after("one of "), 2),
    "dtype": (
        features,
        lambda message: re.findall(
            r"\b\w*float\w*\b", message.partition(" Received: ")[0]
        ),
        2,
    ),
    "build_classifier": (
        lambda name: kt.build_classifier(
            small_backbone(), 2, activation=None if name == "None" else name
        ),
        after("must be one of "),
        3,
    ),
    "Splits.ordered": (lambda name: splits().ordered(name), after("one of "), 3),
    "optimizer": (
        lambda name: kt.discriminative_learning_rates(
            small_classifier(),
            1e-3,
            optimizer="adagrad" if name == "nothing_like_it" else name,
        ),
        lambda message: after("must be one of ")(
            message.partition(", by name")[0] + " Received: "
        ),
        5,
    ),
    "verify blocks": (
        lambda name: kt.verify.assert_frozen(
            kt.verify.snapshot(MODEL), MODEL, blocks=[name]
        ),
        lambda message: re.search(r"this model \((.*?)\)", message)[1].split(", "),
        3,
    ),
}
MODEL, NAMELESS = small_classifier(), nameless()


def splits():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=30)


@pytest.mark.parametrize("offer", OFFERS)
def test_each_name_that_is_offered_is_taken(offer):
    call, names, least = OFFERS[offer]
    with pytest.raises(ValueError, match="Received: ") as caught:
        call("nothing_like_it")
    offered = names(str(caught.value))
    assert len(offered) >= least, offered
    for name in offered:
        call(name)


def test_the_call_that_load_classifier_offers(tmp_path):
    path = tmp_path / "model.keras"
    model = small_classifier()
    kt.unfreeze(model, from_block="block1")
    kt.compile_classifier(model, kt.discriminative_learning_rates(model, 1e-3))
    model.save(path)
    with pytest.raises(ValueError, match="without its class names") as caught:
        kt.load_classifier(path)
    offered = re.search(
        r"(keras_transfer\.save_classifier\(.*class_names\))", str(caught.value)
    )
    known = {"keras_transfer": kt, "keras": keras, "class_names": NAMES}
    eval(offered[1], known)
    assert kt.load_classifier(path).class_names == ("cat", "dog")
    assert MEMBER in zipfile.ZipFile(path).namelist()


def test_the_argument_that_save_classifier_offers(tmp_path):
    model = kt.build_classifier(small_backbone(size=None), 2)
    with pytest.raises(ValueError, match=r"pass image_size=\d+") as caught:
        kt.save_classifier(model, tmp_path / "model.keras", NAMES)
    size = int(re.search(r"pass image_size=(\d+)", str(caught.value))[1])
    path = kt.save_classifier(model, tmp_path / "model.keras", NAMES, image_size=size)
    assert kt.load_classifier(path).image_size == size


def test_the_list_that_predict_offers(tmp_path):
    path = kt.save_classifier(small_classifier(), tmp_path / "model.keras", NAMES)
    folder = tmp_path / "photos"
    folder.mkdir()
    keras.utils.save_img(folder / "photo.png", 255 * IMAGES[0], scale=False)
    classifier = kt.load_classifier(path)
    with pytest.raises(ValueError, match="not their folder") as caught:
        classifier.predict(folder)
    offered = re.search(r"(sorted\(.*\)\.iterdir\(\)\))", str(caught.value))[1]
    assert len(classifier.predict(eval(offered, {"pathlib": pathlib}))) == 1
    with pytest.raises(ValueError, match="paths must be") as caught:
        classifier.predict(IMAGES)
    offered = re.search(r"(class_probabilities\(.*?\)\))", str(caught.value))[1]
    known = {"images": IMAGES, "model": classifier.model}
    assert len(eval(f"kt.{offered}", known | {"kt": kt})) == len(IMAGES)


def test_the_calls_that_evaluate_classifier_offers():
    model, evaluate = small_classifier(), kt.evaluate_classifier
    known = {"tf": tf, "images": IMAGES, "labels": LABELS}
    with pytest.raises(ValueError, match="from_tensor_slices") as caught:
        evaluate(model, (IMAGES, LABELS), NAMES)
    offered = re.search(
        r"(tf\.data\.Dataset\.from_.*\.batch\(32\))", str(caught.value)
    )[1]
    evaluate(model, eval(offered, known), NAMES)
    with pytest.raises(ValueError, match="Of Splits") as caught:
        evaluate(model, splits(), NAMES)
    offered = re.search(r"dataset=(splits\.test)", str(caught.value))[1]
    assert isinstance(eval(offered, {"splits": splits()}), tf.data.Dataset)
    with pytest.raises(ValueError, match="without weights") as caught:
        weighted = pairs().map(lambda x, y: (x, y, y))
        evaluate(model, weighted, NAMES)
    offered = re.search(r"(dataset\.map\(.*\(images, labels\)\))", str(caught.value))[1]
    evaluate(model, eval(offered, {"dataset": weighted}), NAMES)
    with pytest.raises(ValueError, match=r"needs \.batch\(32\)"):
        evaluate(model, pairs().unbatch(), NAMES)
    evaluate(model, pairs().unbatch().batch(32), NAMES)
    with pytest.raises(ValueError, match=r"add \.take\(steps\)"):
        evaluate(model, pairs().repeat(), NAMES)
    evaluate(model, pairs().repeat().take(2), NAMES)


def test_the_last_layers_that_class_probabilities_offers():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda x: x)(keras.layers.Flatten()(inputs))
    x = keras.layers.Lambda(lambda x: x)(keras.layers.Dense(2)(x))
    model = keras.Model(inputs, x)
    with pytest.raises(ValueError, match="End it with") as caught:
        kt.class_probabilities(model, model(IMAGES))
    offered = re.findall(
        r"(Dense\(.*?\)|keras\.layers\.Softmax\(\))", str(caught.value)
    )
    assert len(offered) == 2
    known = {"keras": keras, "Dense": keras.layers.Dense, "classes": 2}
    for code in offered:
        ended = keras.Model(inputs, eval(code, known)(x))
        found = kt.class_probabilities(ended, ended(IMAGES))
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_the_model_that_is_offered_in_place_of_what_load_classifier_returns(tmp_path):
    path = kt.save_classifier(small_classifier(), tmp_path / "model.keras", NAMES)
    classifier = kt.load_classifier(path)
    for call in (
        lambda model: kt.evaluate_classifier(model, pairs(), NAMES),
        lambda model: kt.grad_cam(model, IMAGES),
        lambda model: kt.class_probabilities(model, np.full((1, 2), 0.5)),
        lambda model: kt.save_classifier(model, path, NAMES),
    ):
        with pytest.raises(ValueError, match=r"classifier\.model.*Received: model="):
            call(classifier)
        call(eval("classifier.model"))

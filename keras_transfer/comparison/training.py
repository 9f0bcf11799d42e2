"""Train a classifier by a `Recipe`."""

import typing
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_transfer.backbones.blocks import block_names, split_at_block
from keras_transfer.backbones.build import build_backbone
from keras_transfer.classifier.head import (
    POOLING_NAME,
    backbone_of,
    build_classifier,
    fit_head,
)
from keras_transfer.comparison.recipe import SMALL, Recipe
from keras_transfer.data.augmentation import augmented, build_augmentation
from keras_transfer.data.splits import Splits
from keras_transfer.features.extraction import extract_features
from keras_transfer.features.maps import extract_feature_maps
from keras_transfer.fine_tuning.fine_tune import fine_tune
from keras_transfer.fine_tuning.freezing import freeze, unfreeze
from keras_transfer.fine_tuning.gradual_unfreezing import GradualUnfreezing
from keras_transfer.fine_tuning.learning_rates import discriminative_learning_rates
from keras_transfer.models.best_weights import BestWeights
from keras_transfer.models.compiling import compile_classifier
from keras_transfer.models.learner import give_back, learner_of


class Trained(typing.NamedTuple):
    """Hold what a recipe made.

    Attributes:
        model: Classifier of images; its trainable variables are what was trained.
        network: The part of it that makes predictions of `test`.
        test: The test photos, or what the part before `network` makes of them.
    """

    model: keras.Model
    network: keras.Model
    test: tf.data.Dataset


def train(
    recipe: Recipe,
    splits: Splits,
    seed: int,
    engine: str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Trained:
    """Train a new classifier on the training photos of `splits`.

    Args:
        recipe: The `Recipe`.
        splits: `Splits` of photos.
        seed: Seed of what is drawn here. The caller sets that of Keras.
        engine: As in `extract_features`. Defaults to `"auto"`.
        callbacks: For the passes over photos or feature maps. A frozen backbone has
            none. Defaults to none.
    """
    ways = {
        "from_scratch": _from_scratch,
        "frozen": _frozen,
        "fine_tuned": _fine_tuned,
        "gradual": _gradual,
    }
    return ways[recipe.kind](recipe, splits, seed, engine, [*callbacks])


def _from_scratch(recipe, splits, seed, _, callbacks) -> Trained:
    classes = len(splits.class_names)
    if recipe.backbone == SMALL:
        model = _small_convnet(splits.image_size, classes)
    else:
        backbone = build_backbone(recipe.backbone, None, splits.image_size)
        model = build_classifier(backbone, classes, share_backbone=True)
        unfreeze(model, block_names(model)[0], train_batch_normalization=True)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                # Keras's 0.99 takes some hundred steps to know the photos, and the
                # model would be judged by statistics that are still the first guess.
                layer.momentum = 0.9
    compile_classifier(model, keras.optimizers.Adam(recipe.learning_rate))
    _fit(
        model,
        augmented(splits.train, _augmentation(recipe, seed)),
        splits.validation,
        recipe,
        callbacks,
    )
    return Trained(model, model, splits.test)


def _frozen(recipe, splits, _, engine, __) -> Trained:
    model = _pretrained(recipe, splits)
    features = extract_features(
        backbone_of(model), splits, verbose=False, engine=engine
    )
    fit_head(model, features, epochs=recipe.epochs, learning_rate=recipe.learning_rate)
    head = keras.Model(model.get_layer(POOLING_NAME).output, model.output)
    test = tf.data.Dataset.from_tensor_slices(tuple(features.test)).batch(256)
    return Trained(model, head, test)


def _fine_tuned(recipe, splits, seed, engine, callbacks) -> Trained:
    model = _pretrained(recipe, splits)
    before = _block_before(recipe, model)
    fine_tune(
        model,
        splits,
        recipe.epochs,
        freeze_epochs=recipe.freeze_epochs,
        from_block=recipe.from_block,
        learning_rate=recipe.learning_rate,
        layer_decay=recipe.layer_decay,
        augmentation=_augmentation(recipe, 0 if before else seed),
        cache_prefix=before is not None,
        engine=engine,
        callbacks=callbacks,
        verbose=0,
    )
    if before is None:
        return Trained(model, model, splits.test)
    first, last = split_at_block(model, before)
    maps = extract_feature_maps(first, splits, verbose=False, engine=engine)
    return Trained(model, last, maps.test)


def _gradual(recipe, splits, seed, engine, callbacks) -> Trained:
    model = _pretrained(recipe, splits)
    before = _block_before(recipe, model)
    names = block_names(model)
    blocks = names[names.index(recipe.from_block or names[0]) :]
    network = learner = model
    if before is None:
        data, train = splits, augmented(splits.train, _augmentation(recipe, seed))
    else:
        first, network = split_at_block(model, before)
        # The copies are the same for every seed, so that they are kept but once.
        augmentation = _augmentation(recipe, 0)
        data = extract_feature_maps(
            first,
            splits,
            augmentation=augmentation,
            seed=seed,
            verbose=False,
            engine=engine,
        )
        train = data.train
        learner = learner_of(network)
    # With Adam's usual 0.999, the first steps of a block that joins late are too long.
    optimizer = discriminative_learning_rates(
        learner,
        recipe.learning_rate,
        recipe.layer_decay,
        keras.optimizers.AdamW(beta_2=0.99),
    )
    compile_classifier(learner, optimizer)
    schedule = GradualUnfreezing(blocks, recipe.epochs_per_block)
    _fit(learner, train, data.validation, recipe, callbacks, schedule)
    give_back(learner, network)
    joined = schedule.trainable_blocks(learner, recipe.epochs - 1)
    if joined:
        unfreeze(model, joined[0])
    else:
        freeze(model)
    return Trained(model, network, data.test)


def _pretrained(recipe, splits) -> keras.Model:
    backbone = build_backbone(recipe.backbone, image_size=splits.image_size)
    # Nobody else has this backbone, so there is nothing to copy.
    return build_classifier(backbone, len(splits.class_names), share_backbone=True)


def _block_before(recipe, model) -> str | None:
    """Return the last block whose output is kept, or `None` if all are trained."""
    names = block_names(model)
    if recipe.from_block in (None, names[0]):
        return None
    if recipe.from_block not in names:
        raise ValueError(
            f"{recipe.backbone} has the blocks {', '.join(names)}. "
            f"Received: from_block={recipe.from_block!r}"
        )
    return names[names.index(recipe.from_block) - 1]


def _small_convnet(image_size, classes) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3)),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(4),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax", dtype="float32"),
        ],
        name=SMALL,
    )


def _augmentation(recipe, seed):
    strength = recipe.augmentation
    return build_augmentation(strength, seed) if strength else None


def _fit(model, train, validation, recipe, callbacks, *schedules) -> None:
    # Also over a restart, where one of the callbacks sees to that.
    best = BestWeights(float("inf"), model.get_weights(), callbacks)
    model.fit(
        train,
        validation_data=validation,
        epochs=recipe.epochs,
        callbacks=[*schedules, best, *callbacks],
        shuffle=False,  # The data set shuffles itself.
        verbose=0,
    )
    if best.trained:
        model.set_weights(best.weights)

"""How a classifier learns: its head alone, or the last blocks as well."""

import dataclasses
import hashlib
import pathlib
import sys
import typing
from collections.abc import Mapping

import keras

from keras_transfer.backbones.blocks import block_layers, block_names, split_at_block
from keras_transfer.classifier.head import backbone_of, build_classifier, fit_head
from keras_transfer.classifier.saved import versions
from keras_transfer.data.augmentation import build_augmentation
from keras_transfer.data.passes import Passes
from keras_transfer.data.photo_files import shuffled_photos
from keras_transfer.data.splits import Splits
from keras_transfer.features import cache
from keras_transfer.features.extraction import Features, extract_features
from keras_transfer.features.maps import extract_feature_maps
from keras_transfer.fine_tuning.fine_tune import fine_tune
from keras_transfer.fine_tuning.prefix import room_for
from keras_transfer.models.precision import fast_dtype
from keras_transfer.models.training_state import TrainingState
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.workflow import recipe


class Learnt(typing.NamedTuple):
    """Hold what was learnt.

    Attributes:
        model: The classifier of images.
        features: What its backbone makes of all photos now.
        history: Dict of lists, one entry an epoch.
        notes: What was done in another way than asked for, and why.
        state: File that keeps the training, to be deleted when all is done; or `None`.
    """

    model: keras.Model
    features: Features
    history: dict[str, list]
    notes: tuple[str, ...] = ()
    state: pathlib.Path | None = None


def train_head(
    network: keras.Model,
    splits: Splits,
    *,
    epochs: int | None,
    class_weight: typing.Any,
    seed: int,
) -> Learnt:
    """Train a head on the features of a frozen backbone.

    It starts from its seed, so after an interruption it is trained anew, and the same.
    """
    features = extract_features(network, splits)
    model = _with_head(network, splits, seed)
    fit_head(
        model,
        features,
        epochs=epochs or recipe.HEAD_EPOCHS,
        learning_rate=recipe.HEAD_LEARNING_RATE,
        class_weight=class_weight,
    )
    history = model.history.history
    stages = {"stage": ["head"] * len(history["loss"])}
    return Learnt(model, features, stages | history)


def train_last_blocks(
    network: keras.Model,
    splits: Splits,
    *,
    epochs: int | None,
    class_weight: typing.Any,
    seed: int,
) -> Learnt:
    """Train the head, then the last blocks with it.

    Args:
        network: The backbone, which learns.
        splits: `Splits` of a folder of photos.
        epochs: Passes over the photos, or `None` for the usual number.
        class_weight: As in `fine_tune`.
        seed: Seed of all that is drawn.
    """
    before, first = _where_to_begin(network)
    augmentation = build_augmentation(recipe.AUGMENTATION, seed)
    frozen = split_at_block(network, before)[0] if before else None
    data, cached, notes = splits, False, ()
    if frozen is not None:
        cached, notes = _has_room(frozen, splits, augmentation)
    if not cached:
        data = _photos_in_order(splits, seed)
    settings = {"epochs": epochs, "class_weight": class_weight, "seed": seed}
    state = state_path(network, splits, settings | {"cached": cached})
    model = _with_head(network, splits, seed)
    keeping = TrainingState(state, seed)
    history = fine_tune(
        model,
        data,
        epochs or recipe.EPOCHS,
        freeze_epochs=recipe.HEAD_EPOCHS,
        from_block=first,
        learning_rate=recipe.LEARNING_RATE,
        head_learning_rate=recipe.HEAD_LEARNING_RATE,
        augmentation=augmentation,
        class_weight=class_weight,
        cache_prefix=cached,
        augmented_copies=recipe.COPIES,
        callbacks=[keeping],
        verbose="auto" if sys.stdout.isatty() else 2,
    )
    if not keeping.gained:
        notes += (
            "Fine-tuning did not pay: no epoch had a lower validation loss than the "
            "head on the frozen backbone, which is what is kept.",
        )
    features = _features(backbone_of(model), data, before if cached else None)
    return Learnt(model, features, history.history, notes, state)


def state_path(
    network: keras.Model, splits: Splits, settings: Mapping[str, typing.Any]
) -> pathlib.Path:
    """Return the file that keeps such a training: of these photos, weights, settings.

    What another version, another recipe or another precision has begun is not gone on
    with: the result would be that of neither.

    Args:
        network: The backbone, before it learns.
        splits: The photos.
        settings: How it is trained, but for the recipe.
    """
    parts = (
        sorted(settings.items()),
        sorted((name, x) for name, x in vars(recipe).items() if name.isupper()),
        [fast_dtype(network, frozen=frozen) for frozen in (True, False)],
        sorted(versions().items()),
    )
    key = cache.key(network, splits, hashlib.sha256(repr(parts).encode()).hexdigest())
    return _states() / f"{key}.npz"


def remove_outdated_states() -> None:
    """Remove what trainings have left that nobody has gone on with for long."""
    atomic_files.remove_outdated(_states())


def _states() -> pathlib.Path:
    return paths.data_dir() / "training"


def _with_head(network, splits, seed) -> keras.Model:
    # What was drawn until here depends on what was found on disk.
    keras.utils.set_random_seed(seed)
    classes = len(splits.class_names)
    return build_classifier(
        network, classes, dropout=recipe.DROPOUT, share_backbone=True
    )


def _where_to_begin(network: keras.Model) -> tuple[str | None, str]:
    """Return the last block that stays frozen, if there is one, and the next one."""
    names, layers = block_names(network), block_layers(network)
    sizes = [sum(layer.count_params() for layer in layers[name]) for name in names]
    start = len(names) - 1
    while start and sum(sizes[start:]) < recipe.SHARE * sum(sizes):
        start -= 1
    return (names[start - 1] if start else None), names[start]


def _has_room(frozen, splits, augmentation) -> tuple[bool, tuple[str, ...]]:
    """Return whether kept feature maps leave enough room, and a note if not."""
    room = room_for(frozen, splits, augmentation, recipe.COPIES)
    if room.enough:
        return True, ()
    needed, free = (f"{size / 1e9:,.1f} GB" for size in room)
    return False, (
        f"The feature maps of the frozen blocks would take {needed}, more than half of "
        f"the {free} that are free, so each epoch ran through all blocks. "
        "KERAS_TRANSFER_DATA_DIR names a folder with more room.",
    )


def _photos_in_order(splits: Splits, seed: int) -> Splits:
    """Return splits whose training data have an order that can be had again."""
    passes = Passes(seed)
    train = shuffled_photos(splits.photos["train"], splits.image_size, passes)
    return dataclasses.replace(splits, train=train, passes=passes)


def _features(backbone, data, before: str | None) -> Features:
    if before is None:
        return extract_features(backbone, data)
    frozen, rest = split_at_block(backbone, before)
    return extract_features(rest, extract_feature_maps(frozen, data, verbose=False))

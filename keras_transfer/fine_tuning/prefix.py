"""Decide whether frozen blocks are run once, and their output kept on disk."""

import shutil
import typing
from collections.abc import Iterator

import keras

from keras_transfer.backbones.blocks import block_names, split_at_block
from keras_transfer.classifier.head import split_at_head
from keras_transfer.data.splits import Splits
from keras_transfer.features.maps import missing_bytes
from keras_transfer.models.graph import layers_of, own_parts
from keras_transfer.models.training_state import random_states
from keras_transfer.runtime import paths
from keras_transfer.runtime.arguments import reason
from keras_transfer.runtime.keras_internals import is_distributed
from keras_transfer.runtime.status_lines import say

# Kept feature maps may take this part of the room that is free.
ROOM = 0.5
# These do the same whether their model is a whole one or the end of it. None keeps a
# file that a later run, which may decide otherwise, goes on from.
WITHOUT_A_VIEW = (
    keras.callbacks.CSVLogger,
    keras.callbacks.EarlyStopping,
    keras.callbacks.History,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TerminateOnNaN,
)


class Plan(typing.NamedTuple):
    """Hold what of the arguments of `fine_tune` decides.

    Attributes:
        from_block: First block to train.
        epochs: Passes over the photos with that block.
        freeze_epochs: Passes with the head alone before.
        callbacks: List of callbacks.
        dtype: As in `extract_feature_maps`.
        draws: What changes the photos anew in each epoch, in words, or nothing.
        engine: As in `extract_feature_maps`.
    """

    from_block: str
    epochs: int
    freeze_epochs: int
    callbacks: list
    dtype: typing.Any
    draws: str = ""
    engine: str = "auto"


class Room(typing.NamedTuple):
    """Hold the bytes that feature maps need on disk, and those that are free there."""

    needed: int
    free: int

    @property
    def enough(self) -> bool:
        """Whether as much stays free as is taken."""
        return self.needed <= ROOM * self.free


def room_for(
    frozen, splits, augmentation=None, copies=0, dtype=None, engine="auto"
) -> Room:
    """Return the room that the feature maps of `frozen` need, as far as missing."""
    needed = missing_bytes(frozen, splits, augmentation, copies, dtype, engine)
    folder = paths.existing_parent(paths.data_dir())
    return Room(needed, shutil.disk_usage(folder).free)


def decide(model: keras.Model, splits: Splits, plan: Plan, verbose: bool) -> bool:
    """Return whether keeping the output of the frozen blocks saves time alone.

    Where it might change what is learnt, or what a callback sees, it is not kept.

    Args:
        model: The whole model.
        splits: The photos.
        plan: How it is to be trained.
        verbose: Whether to print in one line what was decided, and why.
    """
    obstacle = next(_obstacles(model, splits, plan), None)
    room = None
    if obstacle is None:
        room, obstacle = _room(model, splits, plan)
    if verbose and obstacle is not None:
        say(
            f'Fine-tuning: each epoch runs all blocks (cache_prefix="auto"): {obstacle}'
        )
    elif verbose:
        size = f"{room.needed / 1e6:,.0f} of {room.free / 1e6:,.0f} MB that are free"
        why = (
            f"their output takes {size}"
            if room.needed
            else "their output is there already"
        )
        say(
            f"Fine-tuning: the blocks before {plan.from_block} run once "
            f'(cache_prefix="auto"): {why}'
        )
    return obstacle is None


def _obstacles(model, splits, plan) -> Iterator[str]:
    """Yield what speaks against it and is known without looking at the disk."""
    if plan.from_block == block_names(model)[0]:
        yield f"no block comes before {plan.from_block}, the first one to train"
    if not plan.epochs:
        yield "epochs=0 trains the head alone"
    if plan.draws:
        yield plan.draws
    for callback in plan.callbacks:
        if type(callback) not in WITHOUT_A_VIEW:
            yield f"{type(callback).__name__} may look at the whole model or save it"
    if is_distributed(model):
        yield "the model was made for several devices"
    if not splits.trains_as_stored:
        yield "splits.train is a pipeline of your own, which may draw anew"


def _room(model, splits, plan) -> tuple[Room | None, str | None]:
    """Return the room that it takes, and what still speaks against it."""
    blocks = block_names(model)
    last = blocks[blocks.index(plan.from_block) - 1]
    try:
        split_at_block(model, last)
        frozen, _ = split_at_block(split_at_head(model)[0], last)
        room = room_for(frozen, splits, dtype=plan.dtype, engine=plan.engine)
    except ValueError as error:
        return None, f"the model cannot be cut behind {last} ({reason(error)})"
    return room, _at_a_cut(frozen, splits, plan, room)


def _at_a_cut(frozen, splits, plan, room) -> str | None:
    random = [layer.name for layer in layers_of(frozen) if random_states(layer)]
    if random:
        return f"{random[0]} before {plan.from_block} draws anew at each step"
    if own := own_parts(frozen):
        return f"{own[0]} before {plan.from_block} may do something else in training"
    if room.needed and not _pays(splits.counts, plan):
        return "so few epochs take less time than the pass that would be kept"
    if not room.enough:
        return (
            f"their output would take {room.needed / 1e6:,.0f} MB, more than half of "
            f"the {room.free / 1e6:,.0f} MB that are free"
        )
    try:
        paths.make_folder(paths.data_dir())
    except OSError as error:
        return reason(error)
    return None


def _pays(counts, plan) -> bool:
    """Tell whether fewer photos go through the frozen blocks where they run once."""
    once = sum(counts.values())
    # The validation photos are also seen before the first epoch.
    each = plan.epochs * (counts["train"] + counts["validation"]) + counts["validation"]
    # The head learns from a pass over all photos, which it has either way.
    return once < each + (once if plan.freeze_epochs else 0)

"""Unfreeze a backbone block by block, inside one `fit`."""

from collections.abc import Sequence

import keras

from keras_transfer.backbones.blocks import block_layers, block_names, check_block
from keras_transfer.fine_tuning.freezing import let_layers_decide, train
from keras_transfer.models.compiling import ModelState, build_optimizer, check_loss
from keras_transfer.models.graph import HEAD
from keras_transfer.runtime.arguments import (
    flag,
    keras_model,
    shown,
    texts,
    whole_number,
)


class GradualUnfreezing(keras.callbacks.Callback):
    """Train the head first, then one more block every few epochs, from the top down.

    The model is not compiled again, so the optimizer keeps its state, and a learning
    rate schedule goes on. A block that is still frozen stays bit-identical, also under
    weight decay, and costs no gradients. What is trainable follows from the number of
    the epoch alone, so `initial_epoch` and `keras.callbacks.BackupAndRestore` go on
    where they were; dropout and shuffling draw new random numbers after a restart,
    because Keras keeps neither in the backup.

    Adam corrects its moments by the number of steps since the start, so in a block that
    is unfrozen late its first steps are up to seven times as long as later ones;
    `beta_2=0.99` limits that to about two.

    Args:
        blocks: Names of the blocks to unfreeze, in any order; the others stay frozen.
            Defaults to all blocks of the backbone.
        epochs_per_block: Epochs of the head alone, and then of each further block
            until the next one joins, at least 1. Defaults to `1`.
        train_batch_normalization: Whether BatchNormalization is trained too. Defaults
            to `False`, which also keeps it in inference mode.
        restore_trainable: Whether all layers are trainable or frozen again at the end
            as they were before. Keras tells a callback of no interruption: after one,
            call `restore()`, which the next `fit` with this callback does by itself.
            Defaults to `False`: a later `fit` goes on with what was trained last.

    Raises:
        ValueError: If `epochs_per_block` or `blocks` is out of its range, or at the
            start of `fit` if the model has no such block or no loss.

    Example:

    >>> import keras_transfer as kt
    >>> backbone = kt.build_backbone("vgg16", weights=None, image_size=64)
    >>> model = kt.build_classifier(backbone, num_classes=2)
    >>> schedule = kt.callbacks.GradualUnfreezing(["block4", "block5"])
    >>> schedule.trainable_blocks(model, epoch=1)
    ['block5']

    Reference:

    - [Howard and Ruder, 2018](https://arxiv.org/abs/1801.06146)
    """

    def __init__(
        self,
        blocks: Sequence[str] | None = None,
        epochs_per_block: int = 1,
        *,
        train_batch_normalization: bool = False,
        restore_trainable: bool = False,
    ):
        super().__init__()
        try:
            self.blocks = None if blocks is None else texts("blocks", blocks, 1)
        except ValueError as error:
            received = repr(blocks) if isinstance(blocks, str) else shown(blocks)
            raise ValueError(
                "blocks must be a list of at least one block name, or None for all. "
                f"Received: blocks={received}"
            ) from error
        try:
            epochs_per_block = whole_number("epochs_per_block", epochs_per_block, 1)
        except ValueError as error:
            raise ValueError(
                "epochs_per_block must be a whole number of at least 1. "
                f"Received: epochs_per_block={shown(epochs_per_block)}"
            ) from error
        self.epochs_per_block = epochs_per_block
        self.train_batch_normalization = flag(
            "train_batch_normalization", train_batch_normalization
        )
        self.restore_trainable = flag("restore_trainable", restore_trainable)
        self._before = self._current = None

    def trainable_blocks(self, model: keras.Model, epoch: int) -> list[str]:
        """Return the blocks that are trained in an epoch, beside the head.

        Args:
            model: The model that is or will be trained.
            epoch: Number of the epoch, from 0.
        """
        keras_model("model", model)
        epoch = whole_number("epoch", epoch, 0)
        for block in self.blocks or ():
            check_block(model, block, "blocks")
        names = block_names(model)
        chosen = [
            block for block in names if self.blocks is None or block in self.blocks
        ]
        count = min(epoch // self.epochs_per_block, len(chosen))
        return chosen[len(chosen) - count :]

    def set_model(self, model: keras.Model) -> None:
        """Let the optimizer know all that will be trained, before anything is frozen.

        Keras calls this before `on_train_begin`, so `BackupAndRestore` finds a complete
        optimizer to restore, in whatever order the callbacks are given.
        """
        self.restore()
        super().set_model(model)
        check_loss(model, "GradualUnfreezing")
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        if optimizer.use_ema:
            raise ValueError(
                "GradualUnfreezing cannot be used with an optimizer that averages the "
                "weights, because Keras averages frozen ones too. Received: "
                f"use_ema=True in {optimizer.name}"
            )
        before = ModelState(model)
        try:
            let_layers_decide(model)
            self._freeze_except(self.trainable_blocks(model, epoch=10**9))
            build_optimizer(model, model.trainable_variables)
        finally:
            before.put_back_trainable()
        if self.restore_trainable:
            self._before = before
        self._current = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Let each layer say whether it is trained."""
        let_layers_decide(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set what is trainable in this epoch; trace the step anew if it changed."""
        blocks = self.trainable_blocks(self.model, epoch)
        if blocks != self._current:
            self._current = blocks
            self._freeze_except(blocks)
            self.model.make_train_function(force=True)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Put back what was trainable, with `restore_trainable`."""
        self.restore()

    def restore(self) -> None:
        """Put back what was trainable before, with `restore_trainable`."""
        if self._before is not None:
            self._before.put_back_trainable()
            # The step that was traced trains what is now frozen; `fit` makes another.
            self.model.train_function = None
        self._before = None

    def _freeze_except(self, blocks: list[str]) -> None:
        for block, layers in block_layers(self.model).items():
            if block == HEAD:
                continue
            for layer in layers:
                layer.trainable = False
                if block in blocks:
                    train(layer, self.train_batch_normalization)

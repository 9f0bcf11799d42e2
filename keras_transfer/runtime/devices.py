"""Several devices: each batch is shared out among them, with nothing to change."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_transfer.runtime import keras_internals, workers


def use_all_devices(devices: list[str] | None = None) -> None:
    """Make models from here on live, and learn, on all devices at once.

    With a single device nothing changes, nor where a strategy was chosen before.
    Models that were built before stay on one device and cannot be trained further.
    Where `TF_CONFIG` names several workers, models learn on all of these, and this call
    waits until each of them is there.

    Args:
        devices: Names of the devices. Defaults to all GPUs that TensorFlow sees. A
            worker learns on all of its own.

    Raises:
        RuntimeError: In a worker, if TensorFlow has computed something before.
    """
    several_workers = workers.worker_count() > 1
    several = len(devices or tf.config.get_visible_devices("GPU")) > 1
    if tf.distribute.has_strategy() or not (several_workers or several):
        return
    if several_workers:
        strategy = workers.begin()
        keras_internals.replace_reduction(workers.reduce_logs)
    else:
        strategy = tf.distribute.MirroredStrategy(devices)
    keras_internals.replace_symbolic_build(_build_without_data)
    # For the whole process, so that no lesson needs `with strategy.scope()`.
    tf.distribute.experimental_set_strategy(strategy)


def device_count() -> int:
    """Return among how many devices a batch is shared out that is not learnt from.

    A worker of several computes it by itself: whoever asks has the whole of it.
    """
    if workers.this_worker() is not None:
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def on_all_devices(run: Callable) -> Callable:
    """Return `run`, a function of a batch of images, with the batch shared out.

    Called while a graph is traced; its outputs come in the order of the images.
    """
    strategy, count = tf.distribute.get_strategy(), device_count()
    if count == 1:
        return run

    def run_part(images):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Cut before it is sent, so that a device gets no more than its part. A device
        # for which none is left repeats the last image: some kernels refuse no image.
        with tf.device("CPU:0"):
            # A model of several inputs has as many batches.
            total = tf.shape(tf.nest.flatten(images)[0])[0]
            size = -(-total // count)
            start = tf.minimum(replica * size, total - 1)
            part = tf.nest.map_structure(lambda x: x[start : start + size], images)
        return run(part)

    def run_all(images):
        parts = strategy.run(run_part, args=(images,))
        outputs = tf.concat(strategy.experimental_local_results(parts), axis=0)
        return outputs[: tf.shape(tf.nest.flatten(images)[0])[0]]

    return run_all


def _build_without_data(model: keras.Model, iterator=None, data_batch=None) -> None:
    """Stand in for the Keras method that builds metrics and loss before a `fit`.

    Keras takes a batch out of the data set for it and averages the devices' parts. That
    fails where they differ in size, and the pass over the data that it begins and drops
    uses up an order of shuffling. The specification of the data says as much.
    """
    if not keras_internals.is_distributed(model):
        return
    if iterator is not None:
        data_batch = keras.tree.map_structure(
            # `fit` wraps a part that was not given in an optional.
            lambda spec: spec if isinstance(spec, tf.TensorSpec) else None,
            keras_internals.element_spec(iterator),
        )
    with model.distribute_strategy.scope():
        keras_internals.symbolic_build(model, data_batch)

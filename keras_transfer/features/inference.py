"""Frozen networks, run by the engine that is the fastest here.

On a processor that is OpenVINO, where it is installed, else TensorFlow, for which each
BatchNormalization is folded into its convolution. OpenVINO folds by itself.
"""

import collections
import contextlib
import hashlib
import io
import math
import os
import pathlib
import platform
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.features import cache
from keras_transfer.models.folding import fold_batch_normalization
from keras_transfer.models.graph import (
    as_graph,
    input_shape,
    own_parts,
    single_output,
)
from keras_transfer.models.precision import compute_dtype, fast_copy, own_dtype
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.runtime.arguments import one_of, reason
from keras_transfer.runtime.devices import device_count, on_all_devices
from keras_transfer.runtime.openvino import is_installed, openvino

ENGINES = ("auto", "tensorflow", "openvino")
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# How far outputs may be from those of the model itself, as a part of the largest one.
LARGEST_DIFFERENCE = {"f32": 1e-4, "bf16": 0.25}
# Images that OpenVINO is given at once, at most: for one fixed number it plans ahead,
# and gains up to an eighth.
BATCH = 32
# Bytes of one channel of these images together. A layer's outputs then are still near
# the processor when the next layer reads them: EfficientNet-Lite0 gained a quarter in
# float32 and a tenth in bfloat16 over batches of 32, ResNet50 and VGG16 lost nothing.
_CHANNEL_BYTES = 400_000
# Networks that stay on disk; those that were not used for longest go first.
KEPT = 12
_FOLDER = "networks"
# Bytes of the checksum before a kept network.
_DIGEST = 32
# Name of what a traced graph returns.
_OUTPUT = "openvino_output"

# A batch of images, or what is made of it, and what came along with it.
Item = tuple[typing.Any, typing.Any]


class Network(typing.Protocol):
    """Run a network on batches of images, of any number each.

    Attributes:
        engine: What it is run by: `"openvino"` or `"tensorflow"`.
    """

    engine: str

    def __call__(self, images) -> np.ndarray:
        """Return what the network makes of one batch."""

    def stream(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield what it makes of each batch, with what came with it, in order.

        Of a batch without images nothing is made, and it comes through.
        """


class UnsupportedError(ValueError):
    """Says that an engine does not take a model."""


def engines(model: keras.Model, engine: typing.Any = "auto") -> tuple[str, ...]:
    """Return the engines that may run `model` frozen, the fastest one first.

    Raises:
        ValueError: As `engine_here`, or if the one that is named does not take such a
            model.
    """
    if engine_here(engine) == "tensorflow":
        return ("tensorflow",)
    graph = as_graph(model)
    takes = graph is not None and not own_dtype(model)
    takes = takes and len(graph.inputs) == len(graph.outputs) == 1
    if engine == "openvino":
        if not takes:
            raise ValueError(
                "engine='openvino' takes a functional or Sequential network of "
                "float32, whose precision it changes itself, with one input and one "
                "output. Build it under keras.config.set_dtype_policy('float32'), or "
                "leave engine out. "
                f"Received: engine=openvino, {model.name} of {compute_dtype(model)}"
            )
        return (engine,)
    # Code of one's own may do what no constant graph holds.
    if not takes or own_parts(model):
        return ("tensorflow",)
    return ("openvino", "tensorflow")


def engine_here(engine: typing.Any = "auto") -> str:
    """Return the engine that an argument stands for on this machine.

    Raises:
        ValueError: If it does not exist or is not installed.
    """
    one_of("engine", engine, ENGINES)
    if engine == "openvino" and not is_installed():
        raise ValueError(
            "OpenVINO is not installed: python -m pip install openvino. Or leave "
            "engine out: TensorFlow computes the same. Received: engine=openvino"
        )
    if engine != "auto":
        return engine
    return "openvino" if is_installed() and _on_processor() else "tensorflow"


def described_engine(engine: typing.Any = "auto") -> str:
    """Return the engine that an argument stands for here, with its version."""
    name = engine_here(engine)
    library = openvino() if name == "openvino" else tf
    return f"{name} {library.__version__}"


def frozen_network(
    model: keras.Model,
    image_shape: tuple,
    dtype: str,
    engine: str = "auto",
    *,
    pooled: bool = False,
) -> Network:
    """Return a frozen `model` ready to run, by the first engine that takes it.

    Args:
        model: Network with one input and one output. It stays as it is.
        image_shape: Shape of an image.
        dtype: Precision of the computation, as `fast_dtype` names it.
        engine: `"auto"`, `"openvino"` or `"tensorflow"`. Defaults to `"auto"`.
        pooled: Whether to average over height and width. Defaults to `False`.
    """
    pooling = keras.layers.GlobalAveragePooling2D(dtype="float32")

    def answer(network):
        def run(images):
            outputs = single_output(network, images)
            return tf.cast(pooling(outputs) if pooled else outputs, tf.float32)

        return run

    shape = (None, *(image_shape or input_shape(model)[1:]))
    signature = tf.TensorSpec(shape, tf.float32)

    def by_tensorflow():
        copy = fold_batch_normalization(fast_copy(model, dtype, frozen=True))
        return TensorFlowNetwork(answer(copy), signature)

    def by_openvino():
        use = Use("pooled" if pooled else "maps")
        return openvino_network(model, answer(model), signature, dtype, use)

    return first_taken(model, engine, by_openvino, by_tensorflow)


def first_taken(
    model: keras.Model,
    engine: str,
    by_openvino: Callable[[], Network],
    by_tensorflow: Callable[[], Network],
) -> Network:
    """Return the network of the first of the engines that takes the model."""
    for name in engines(model, engine):
        if name == "tensorflow":
            break
        try:
            return by_openvino()
        except UnsupportedError:
            if engine == name:
                raise
    return by_tensorflow()


class TensorFlowNetwork:
    """Run a function of images as one graph of TensorFlow, for every batch size.

    The weights stay variables: as constants of the graph they gained nothing beyond
    noise, and cost ResNet50 1 GB of memory and 4 s of tracing.
    """

    engine = "tensorflow"

    def __init__(self, run: Callable, signature: tf.TensorSpec):
        self.graph = tf.function(on_all_devices(run), input_signature=[signature])
        self.graph.get_concrete_function()  # Traced here, not while photos wait.

    def __call__(self, images) -> np.ndarray:
        return np.asarray(self.graph(images))

    def stream(self, items: Iterable[Item]) -> Iterator[Item]:
        for images, along in items:
            yield (self(images) if len(images) else np.empty(0)), along


class OpenVINONetwork:
    """Run a network that OpenVINO has compiled for batches of one size.

    Several batches are worked on at once, so that none waits for the other's slowest
    core, and meanwhile the next one is read. Others are cut or put together.
    """

    engine = "openvino"

    def __init__(self, compiled, signature: tf.TensorSpec, batch: int):
        self._dtype, self._batch = signature.dtype.as_numpy_dtype, batch
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(count)]

    def __call__(self, images) -> np.ndarray:
        parts = [values for values, _ in self.stream([(images, None)])]
        return np.concatenate(parts)

    def stream(self, items: Iterable[Item]) -> Iterator[Item]:
        waiting, made = collections.deque(), _Rows()

        def ready():
            while waiting and len(made) >= waiting[0][0]:
                count, along = waiting.popleft()
                yield made.take(count), along

        for values in self._computed(_full(self._noted(items, waiting), self._batch)):
            made.append(values)
            yield from ready()
        yield from ready()

    def _noted(self, items, waiting) -> Iterator[np.ndarray]:
        for images, along in items:
            images = np.asarray(images, self._dtype)
            waiting.append((len(images), along))
            yield images

    def _computed(self, batches: Iterable) -> Iterator[np.ndarray]:
        """Yield what the network makes of full batches, in order."""
        free, busy = collections.deque(self._requests), collections.deque()

        def finished():
            request, count, _ = busy.popleft()
            request.wait()
            free.append(request)
            return request.get_output_tensor().data[:count].copy()

        failure, batches = None, iter(batches)
        try:
            while True:
                try:
                    images, count = next(batches)
                except StopIteration:
                    break
                except Exception as error:  # Behind what came before it.
                    failure = error
                    break
                done = None if free else finished()
                request = free.popleft()
                request.start_async({0: images}, share_inputs=True)
                busy.append((request, count, images))  # Its images must stay.
                if done is not None:
                    yield done
            while busy:
                yield finished()
        finally:
            for request, *_ in busy:  # Somebody has ended the pass.
                request.wait()
        if failure is not None:
            raise failure


class _Rows:
    """Hold rows that come and go in other numbers."""

    def __init__(self):
        self._parts, self._count = collections.deque(), 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: np.ndarray) -> None:
        if len(rows):
            self._parts.append(rows)
            self._count += len(rows)

    def take(self, count: int) -> np.ndarray:
        self._count -= count
        taken = []
        while count:
            first = self._parts.popleft()
            taken.append(first[:count])
            if count < len(first):
                self._parts.appendleft(first[count:])
            count -= len(taken[-1])
        if len(taken) == 1:
            return taken[0]
        return np.concatenate(taken) if taken else np.empty(0)


def _full(batches: Iterable[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield full batches of images, the last one filled up, and how many count."""
    rows = _Rows()
    for images in batches:
        rows.append(images)
        while len(rows) >= size:
            yield np.ascontiguousarray(rows.take(size)), size
    if count := len(rows):
        images = rows.take(count)
        yield np.concatenate([images, *[images[:1]] * (size - count)]), count


class Use(typing.NamedTuple):
    """Say what a network is compiled for.

    Attributes:
        kind: What is done with the model, as a part of the key.
        batch: Images that it is given at once, at most. Defaults to `None`: as many
            as are fastest.
        keep: Whether to keep it on disk for the next process.
        parts: Columns at which the outputs are cut into what is compared by itself.
    """

    kind: str
    batch: int | None = None
    keep: bool = True
    parts: tuple[int, ...] = ()


def openvino_network(
    model: keras.Model,
    run: Callable,
    signature: tf.TensorSpec,
    dtype: str,
    use: Use,
) -> OpenVINONetwork:
    """Return a function of images that uses the layers of `model`, run by OpenVINO.

    What it was compiled to is kept on disk, under the checksums of the weights.

    Args:
        model: The network whose layers `run` calls.
        run: Function of a batch of images.
        signature: What it is called with.
        dtype: Precision of the computation.
        use: What `run` does with the model, and how it is to be run.

    Raises:
        UnsupportedError: If OpenVINO does not take it.
    """
    if None in signature.shape[1:]:
        raise _unsupported(model, "images of one size are needed")
    try:
        return _compiled(model, run, signature, dtype, use)
    except UnsupportedError:
        raise
    except Exception as error:  # A broken installation, an operation, over 2 GB.
        raise _unsupported(model, reason(error)) from error


def _compiled(model, run, signature, dtype: str, use: Use) -> OpenVINONetwork:
    library = openvino()
    core, shape = library.Core(), tuple(signature.shape[1:])
    batch = min(use.batch or BATCH, _batch(shape, PRECISIONS[dtype]))
    properties = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "PERFORMANCE_HINT": "THROUGHPUT",
        # More at once would take more memory and gain nothing on batches as large.
        "NUM_STREAMS": min(2, os.cpu_count() or 1),
    }
    key = cache.key_of(
        model,
        "openvino",
        library.__version__,
        shape,
        (use.kind, signature.dtype.name, batch, sorted(properties.items())),
        # What is compiled for one processor may not run on another.
        (platform.machine(), core.get_property("CPU", "FULL_DEVICE_NAME")),
    )
    path = paths.data_dir() / _FOLDER / f"{key}.blob"
    compiled = _kept(core, path, properties)
    if compiled is not None:
        return OpenVINONetwork(compiled, signature, batch)
    converted = _converted(core, model, run, signature)
    converted.reshape([batch, *shape])
    compiled = core.compile_model(converted, "CPU", properties)
    network = OpenVINONetwork(compiled, signature, batch)
    expected, found = _both(network, run, signature)
    _check(model, expected, found, properties, use.parts)
    if use.keep:
        _keep(path, compiled)
    return network


def _batch(shape: tuple, precision: str) -> int:
    """Return how many images are best computed at once, a power of two."""
    count = _CHANNEL_BYTES / (math.prod(shape[:-1]) * (4 if precision == "f32" else 2))
    return min(BATCH, 2 ** max(0, round(math.log2(count))))


def _converted(core, model: keras.Model, run: Callable, signature: tf.TensorSpec):
    """Return a network of OpenVINO that computes `run` with the weights of now.

    The graph is traced with constants in place of variables, and read from a file:
    that takes a third of the time of an export by Keras.
    """
    weights = [(each, keras.ops.convert_to_numpy(each)) for each in model.weights]

    def with_constants(images):
        values = [(variable, tf.constant(value)) for variable, value in weights]
        with keras.StatelessScope(state_mapping=values):
            return tf.identity(run(images), name=_OUTPUT)

    function = tf.function(with_constants, input_signature=[signature], autograph=False)
    graph = function.get_concrete_function().graph.as_graph_def()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.pb")
        path.write_bytes(graph.SerializeToString())
        # Read whole, for the folder goes.
        network = core.read_model(path, config={"ENABLE_MMAP": False})
    # What nothing reads, such as a mask, would be an output as well.
    (output,) = (
        output
        for output in network.outputs
        if any(name.partition(":")[0] == _OUTPUT for name in output.names)
    )
    return openvino().Model([output.node], network.get_parameters())


def _both(network, run, signature) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model itself makes of two images of noise, and OpenVINO."""
    shape = (2, *signature.shape[1:])
    noise = np.random.default_rng(0).uniform(0, 255, shape)
    noise = noise.round().astype(signature.dtype.as_numpy_dtype)
    return np.asarray(run(tf.constant(noise)), "float32"), network(noise)


def _check(model, expected, found, properties: dict, parts: tuple[int, ...]) -> None:
    """Raise an error if any part of the outputs is not what the model makes."""
    most = LARGEST_DIFFERENCE[properties["INFERENCE_PRECISION_HINT"]]
    split = (np.split(each, parts, axis=-1) for each in (expected, found))
    for right, made in zip(*split, strict=True):
        largest = max(np.abs(right).max(initial=0), np.finfo("float32").tiny)
        far = np.abs(made - right).max(initial=0) / largest
        if not far <= most:
            raise _unsupported(model, f"its outputs are {far:.2g} of the largest away")


def _unsupported(model: keras.Model, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"OpenVINO does not take this network ({why}). Leave engine out: TensorFlow "
        f"computes it. Received: engine=openvino, {model.name}"
    )


def _kept(core, path: pathlib.Path, properties: dict):
    try:
        kept = path.read_bytes()
        digest, data = kept[:_DIGEST], kept[_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            return None
        compiled = core.import_model(data, "CPU", properties)
    except (OSError, RuntimeError):  # Not there, or of another version.
        return None
    with contextlib.suppress(OSError):  # Of a folder that is only read.
        path.touch()
    return compiled


def _keep(path: pathlib.Path, compiled) -> None:
    """Keep a network for the next process, if there is room, and few of them."""
    try:
        stream = io.BytesIO()
        compiled.export_model(stream)
        data = stream.getvalue()
        paths.make_folder(path.parent)
        paths.check_room(path.parent, 2 * len(data))
        with atomic_files.written_whole(path) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
        kept = [each for each in path.parent.glob("*.blob") if each.name[0] != "."]
        kept.sort(key=lambda each: each.stat().st_mtime)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, RuntimeError):  # Then the next process compiles it again.
        return


def _on_processor() -> bool:
    return device_count() == 1 and not tf.config.get_visible_devices("GPU")

"""What is to be computed, as this process and the workers of a cluster are told."""

import typing

from keras_transfer.runtime.clusters import Surroundings


class Range(typing.NamedTuple):
    """Name images of a split that follow each other."""

    split: str
    start: int
    stop: int


class Settings(typing.NamedTuple):
    """Say how a network is run.

    Attributes:
        dtype: Precision of the computation.
        engine: `"openvino"` or `"tensorflow"`.
        pooled: Whether to average over height and width.
        kept: Name of the type that outputs are kept as.
    """

    dtype: str
    engine: str
    pooled: bool
    kept: str


class Job(typing.NamedTuple):
    """Hold all that a worker needs beside its rows.

    Attributes:
        network: Bytes of its `.keras` file.
        modules: Names of those in which its own layers and functions are registered.
        checksums: Those of its weights.
        image_shape: Shape of an image.
        loader: How splits are loaded again, or `None` where the rows name files.
        fingerprint: That of the splits.
        image_size: Side of the square images, in pixels.
        batch_size: Images in a batch.
        settings: `dtype`, `engine`, `pooled` and `kept`, as `Settings`.
        surroundings: Those of whoever asks.
    """

    network: bytes
    modules: tuple[str, ...]
    checksums: tuple[str, ...]
    image_shape: tuple
    loader: dict | None
    fingerprint: str
    image_size: int
    batch_size: int
    settings: dict
    surroundings: Surroundings

"""What is to be computed, as this process and the workers of a cluster are told."""

import typing


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

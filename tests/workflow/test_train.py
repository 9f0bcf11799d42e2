"""One call from a folder to a saved classifier, which goes on where it was killed."""

import ast
import contextlib
import dataclasses
import os
import pathlib
import random
import shlex
import shutil
import signal
import time
import types

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main as command_line
from keras_transfer.data.passes import Passes
from keras_transfer.evaluation.evaluate import measure
from keras_transfer.fine_tuning import prefix
from keras_transfer.models.best_weights import BestWeights
from keras_transfer.models.compiling import compile_classifier
from keras_transfer.models.training_state import TrainingState
from keras_transfer.runtime import atomic_files, paths
from keras_transfer.workflow import again, learning, recipe
from keras_transfer.workflow import train as workflow_train
from keras_transfer.workflow.again import command_again
from tests.helpers import fresh_process
from tests.helpers.small_networks import images_and_labels, small_classifier
from tests.helpers.tiny_training import SIZE, draw_photos, register, train

ROOT = pathlib.Path(kt.__file__).parent.parent
INTERRUPTED, KILLED = 3, 10


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a folder with photos and the weights of the tiny backbone."""
    folder = tmp_path_factory.mktemp("train")
    draw_photos(folder / "photos")
    register(folder / "tiny.weights.h5")
    return folder


@pytest.fixture(autouse=True)
def own_data(place, monkeypatch):
    """Let all tests of this module, and their children, share a data folder."""
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(place / "data"))
    register(place / "tiny.weights.h5")


@pytest.fixture(scope="module")
def whole(place):
    """Train once, without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_DATA_DIR", str(place / "data"))
        register(place / "tiny.weights.h5")
        return train(place / "photos", place / "whole.keras")


def weights(model):
    return [np.array(value) for value in model.get_weights()]


def assert_same(model, history, whole):
    expected = weights(whole.classifier.model)
    assert all(map(np.array_equal, weights(model), expected))
    assert history == whole.history


def assert_nothing_left(place):
    assert not [path for path in place.rglob("*") if path.name.startswith(".kt-")]
    assert not list((place / "data" / "training").iterdir())


def test_what_is_saved_is_what_was_measured(place, whole):
    loaded = kt.load_classifier(place / "whole.keras")
    photos = whole.splits.photos
    found = loaded.predict([photo.path for photo in photos["test"]])
    probabilities = np.array([each.probabilities for each in found])
    assert np.allclose(probabilities, whole.test.probabilities, atol=1e-4)
    assert [photo.label for photo in photos["test"]] == whole.test.labels.tolist()
    assert loaded.temperature == whole.temperature
    assert loaded.unknown.threshold == whole.classifier.unknown.threshold
    tested = {photo.sha256 for photo in photos["test"]}
    seen = {x for split in ("train", "validation") for x in loaded.trained_on[split]}
    assert len(seen) == whole.splits.counts["train"] + whole.splits.counts["validation"]
    assert not seen & tested
    assert loaded.details["backbone"] == "tiny"
    assert loaded.details["test"]["accuracy"] == whole.test.accuracy
    assert loaded.details["command"] == whole.command.replace(f"{place}/", "")
    assert str(place) in whole.command
    assert str(place) not in str(loaded.details)
    assert "--fine-tune" in whole.command and "--epochs 4" in whole.command
    assert whole.history["stage"][-5:] == ["head", *["fine-tuning"] * 4]
    assert whole.path == place / "whole.keras"
    for told in (f"{whole.test.accuracy:.1%}", "no choice saw", str(whole.path)):
        assert told in str(whole)


def test_the_same_folder_gives_the_same_figures_again(place, tmp_path):
    photos = tmp_path / "photos"
    for path in sorted((place / "photos").rglob("*.png")):
        number = int(path.stem)
        split = "training" if number < 20 else "valid" if number < 28 else "TEST"
        target = photos / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # With coarse structure, by which near copies are known.
        noise, pixels = np.random.default_rng([number, len(path.parent.name)]), 128
        for cells in (4, 16, 32):
            part = noise.normal(0, 120 / cells**0.5, (cells, cells, 3))
            pixels = pixels + np.kron(part, np.ones((64 // cells, 64 // cells, 1)))
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(target)
    for name in ("blue", "red"):
        tested = sorted((photos / "TEST" / name).iterdir())
        near = photos / "training" / name / "near.png"
        Image.open(tested[0]).resize((48, 48)).save(near)
        shutil.copy(tested[1], near.with_name("same.png"))
    with pytest.warns(UserWarning, match="which is in test"):
        trained = train(photos, tmp_path / "model.keras", fine_tune=False, epochs=2)
    assert len(trained.classifier.trained_on["left out"]) == 2
    found = kt.evaluate_files(tmp_path / "model.keras", photos)
    assert found.report.to_dict()["images"] == found.saved_test["images"] == 16
    assert found.report.accuracy == found.saved_test["accuracy"]
    assert found.left_out == {
        "trained on": 40,
        "validated on": 16,
        "nearly the same as a photo of the test, or of its group": 2,
        "unreadable, copied or in two classes": 2,
    }


def test_the_last_blocks_learn_and_the_others_do_not(place, whole):
    backbone = kt.build_backbone("tiny", image_size=SIZE)
    first, second = (
        np.array_equal(
            backbone.get_layer(name).kernel,
            whole.classifier.model.get_layer(name).kernel,
        )
        for name in ("first_conv", "second_conv")
    )
    assert first and not second


def test_a_finished_run_leaves_nothing(place, whole):
    assert_nothing_left(place)


class Interrupting(TrainingState):
    """Interrupt the training after some batches."""

    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        Interrupting.batches -= 1
        if Interrupting.batches == 0:
            raise KeyboardInterrupt


def test_interrupted_at_batches_it_ends_with_the_same_weights(
    place, whole, monkeypatch
):
    monkeypatch.setattr(learning, "TrainingState", Interrupting)
    draw = random.Random(0)
    for _ in range(INTERRUPTED):
        Interrupting.batches = draw.randint(1, 6)
        with pytest.raises(KeyboardInterrupt):
            train(place / "photos", place / "again.keras")
        assert not (place / "again.keras").exists()
    resumed = train(place / "photos", place / "again.keras")
    assert_same(resumed.classifier.model, resumed.history, whole)
    assert_nothing_left(place)


@contextlib.contextmanager
def interrupted_after(seconds):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        # What TensorFlow makes of one that comes inside of its C++.
        if "KeyboardInterrupt" not in str(error):
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs Unix signals")
def test_interrupted_anywhere_it_ends_with_the_same_weights(place, whole):
    seconds, draw = sum(whole.seconds.values()), random.Random(1)
    shutil.rmtree(place / "data")
    for _ in range(INTERRUPTED):
        with interrupted_after(draw.uniform(0.1, 0.9) * seconds):
            train(place / "photos", place / "anywhere.keras")
    resumed = train(place / "photos", place / "anywhere.keras")
    assert_same(resumed.classifier.model, resumed.history, whole)
    assert_nothing_left(place)


KILLS = """
import pathlib, sys
from tests.helpers.tiny_training import killed_trainings

sys.stdout.reconfigure(write_through=True)
*places, kills = sys.argv[1:]
print(*killed_trainings(*map(pathlib.Path, places), int(kills)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that fork")
def test_killed_at_any_moment_it_ends_with_the_same_weights(place, whole):
    target = place / "killed.keras"
    shutil.rmtree(place / "data")
    words = [place / "photos", place / "tiny.weights.h5", target, KILLED]
    ended = fresh_process.run(KILLS, *words, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    ends = ended.stdout.split()
    assert sum(end.endswith("killed") for end in ends) == KILLED
    assert ends[-2].endswith("finished")
    assert ends[-1] == "finished"
    assert any(end.startswith("resumed") for end in ends)
    # Against a whole run of the same command, in a process as fresh as theirs.
    expected = kt.load_classifier(place / "undisturbed.keras").model
    found = kt.load_classifier(target).model
    assert all(map(np.array_equal, weights(found), weights(expected)))
    shutil.rmtree(place / "undisturbed")
    (place / "undisturbed.keras").unlink()
    assert_nothing_left(place)


def test_without_room_for_feature_maps_it_goes_on_as_well(place, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(prefix, "ROOM", 0.0)
    expected = train(place / "photos", None, epochs=2)
    assert "would take" in expected.notes[0]
    monkeypatch.setattr(learning, "TrainingState", Interrupting)
    Interrupting.batches = 4
    with pytest.raises(KeyboardInterrupt):
        train(place / "photos", None, epochs=2)
    resumed = train(place / "photos", None, epochs=2)
    assert_same(resumed.classifier.model, resumed.history, expected)


def test_another_setting_begins_anew(place, monkeypatch):
    splits = kt.load_directory(place / "photos", image_size=SIZE)
    backbone = kt.build_backbone("tiny", image_size=SIZE)
    settings = {"epochs": 4, "class_weight": None, "seed": 0}
    others = [{"epochs": 5}, {"seed": 1}, {"class_weight": {0: 2.0}}]
    others += [{"cached": False}, {"cached": True}]
    found = {
        learning.state_path(backbone, splits, settings | more) for more in [{}, *others]
    }
    for module, name, value in (
        (recipe, "LEARNING_RATE", 2e-4),
        (recipe, "HEAD_EPOCHS", 30),
        (learning, "versions", lambda: {"keras-transfer": "0.0.0"}),
        (learning, "fast_dtype", lambda *_, **__: "float64"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            found.add(learning.state_path(backbone, splits, settings))
    fewer = kt.load_directory(place / "photos", image_size=SIZE, max_images=40)
    found.add(learning.state_path(backbone, fewer, settings))
    backbone.get_layer("first_conv").kernel.assign_add(
        keras.ops.ones_like(backbone.get_layer("first_conv").kernel)
    )
    found.add(learning.state_path(backbone, splits, settings))
    assert len(found) == 12
    assert learning.state_path(backbone, splits, settings) in found


def test_another_run_that_is_further_is_not_set_back(tmp_path):
    images, labels = images_and_labels()

    def run(path, epochs):
        keras.utils.set_random_seed(0)
        model = small_classifier(dropout=0.5)
        compile_classifier(model, "adam")
        best = BestWeights(np.inf, model.get_weights(), [])
        state = TrainingState(path, seed=0)
        first = state.begin(model, best, Passes(0))
        model.fit(
            images,
            labels,
            validation_data=(images, labels),
            shuffle=False,
            initial_epoch=first or 0,
            epochs=epochs,
            callbacks=[best, state],
            verbose=0,
        )
        return first, weights(model), state

    path = tmp_path / "state.npz"
    first, once, _ = run(path, 5)
    assert first is None
    before = path.read_bytes()
    other = tmp_path / "other.npz"
    run(other, 2)
    model, behind = small_classifier(dropout=0.5), TrainingState(path, seed=0)
    compile_classifier(model, "adam")
    behind.set_model(model)
    path.unlink()
    behind.begin(model, BestWeights(0.0, model.get_weights(), []))
    path.write_bytes(before)
    behind.on_epoch_end(1, {"val_loss": 0.0})
    assert path.read_bytes() == before
    first, twice, state = run(other, 5)
    assert first == 2
    assert all(map(np.array_equal, once, twice))
    assert state.model.history.epoch == [0, 1, 2, 3, 4]
    # What is torn is as good as none.
    path.write_bytes(before[: len(before) // 2])
    first, again, _ = run(path, 5)
    assert first is None
    assert all(map(np.array_equal, once, again))


def test_what_is_of_another_network_holds_nothing_up(tmp_path):
    path = tmp_path / "state.npz"
    for model in (small_classifier(), small_classifier(blocks=3)):
        compile_classifier(model, "adam")
        best = BestWeights(np.inf, model.get_weights(), [])
        state = TrainingState(path, seed=0)
        state.set_model(model)
        assert state.begin(model, best) is None
        state.on_epoch_end(0, {"val_loss": 1.0})
        assert TrainingState(path, seed=0).begin(model, best) == 1


def test_what_mixes_photos_cannot_be_gone_on_with(place, tmp_path):
    splits = kt.load_directory(place / "photos", image_size=SIZE)
    network = kt.build_backbone("tiny", image_size=SIZE)
    model = kt.build_classifier(network, num_classes=2)
    state = TrainingState(tmp_path / "state.npz", seed=0)
    for mixed in ({"mixup": 0.2}, {"cutmix": 0.5}):
        with pytest.raises(ValueError, match="With a TrainingState"):
            kt.fine_tune(model, splits, 1, callbacks=[state], **mixed)


def test_what_was_left_long_ago_goes(place):
    states = place / "data" / "training"
    states.mkdir(parents=True, exist_ok=True)
    old, new = states / "old.npz", states / "new.npz"
    for path, days in ((old, 8), (new, 6)):
        path.write_bytes(b"weights")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    learning.remove_outdated_states()
    assert [*states.iterdir()] == [new]
    atomic_files.remove_outdated(place / "none")
    new.unlink()


def test_two_runs_of_a_frozen_backbone_are_the_same(place, capsys):
    settings = {"fine_tune": False, "class_weight": "auto", "epochs": 3}
    one = train(place / "photos", place / "one.keras", **settings)
    printed = capsys.readouterr().out
    two = train(place / "photos", place / "two.keras", **settings)
    assert_same(two.classifier.model, two.history, one)
    assert set(one.history["stage"]) == {"head"}
    assert "--class-weights auto" in one.command
    for told in ("Device: ", "Data: photos", "Features: ", "Accuracy: ", "Saved: "):
        assert told in printed


def test_without_a_mistake_there_is_nothing_to_calibrate_on(whole):
    validation = whole.validation
    rows = np.eye(2)[validation.labels] * 0.2 + 0.4
    right = measure(validation.labels, rows, validation.class_names)
    found, (note,) = workflow_train._temperature(right)
    assert found is None
    told = dataclasses.replace(whole, temperature=None)
    assert "on average, not calibrated" in str(told)
    assert "temperature" not in str(told)
    assert "nothing tells how sure is too sure" in note
    found, (note,) = workflow_train._temperature(validation)
    assert found != 1
    assert f"{len(validation.labels)} validation photos only" in note
    index = np.arange(200) % len(validation.labels)
    many = measure(
        validation.labels[index],
        validation.probabilities[index],
        whole.splits.class_names,
    )
    assert workflow_train._temperature(many) == (pytest.approx(found), ())


SETTINGS = {
    "folder": pathlib.Path("my photos"),
    "output": pathlib.Path("/home/ann/model.keras"),
    "backbone": "tiny",
    "image_size": 64,
    "fine_tune": True,
    "epochs": None,
    "class_weight": "auto",
    "groups": "patient-[0-9]+",
    "report": None,
    "seed": 0,
}


@pytest.mark.skipif(os.name == "nt", reason="quotes of another shell")
def test_what_makes_it_again_can_be_typed():
    command = command_again(SETTINGS)
    words = shlex.split(command)
    assert "'my photos'" in command
    assert words[4] == "my photos"
    assert words[words.index("--groups") + 1] == "patient-[0-9]+"
    assert "--class-weights auto" in command
    without = command_again(SETTINGS, whole_paths=False)
    assert "--output model.keras" in without
    assert "ann" not in without
    table = SETTINGS | {"groups": "/home/ann/groups.csv"}
    assert "ann" not in command_again(table, whole_paths=False)


@pytest.mark.skipif(os.name == "nt", reason="quotes of another shell")
@pytest.mark.parametrize("whole_paths", [True, False])
def test_what_begins_with_a_dash_can_be_typed_again(whole_paths):
    dashed = {
        "folder": pathlib.Path("-my photos"),
        "output": pathlib.Path("-m.keras"),
        "report": pathlib.Path("-m.html"),
        "groups": "-?[0-9]+",
    }
    command = command_again(SETTINGS | dashed, whole_paths=whole_paths)
    options = command_line.parse(shlex.split(command)[3:])
    assert {name: getattr(options, name) for name in dashed} == dashed


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"class_weight": {"ant": 2.0}}, "class_weight={'ant': 2.0}"),
        ({"class_weight": [1.0, 2.0]}, "class_weight=[1.0, 2.0]"),
        ({"groups": {"ant/1.jpg": "Tom"}}, "groups={'ant/1.jpg': 'Tom'}"),
        ({"groups": {f"ant/{i}.jpg": "Tom" for i in range(99)}}, "groups=...,"),
        ({"output": None}, "backbone='tiny'"),
    ],
)
def test_what_the_command_line_has_no_words_for_is_python(changed, told):
    called = command_again(SETTINGS | changed)
    assert called.startswith("kt.train_classifier('my photos', ")
    assert told in called
    ast.parse(called)
    kept = command_again(SETTINGS | changed, whole_paths=False)
    assert "Tom" not in kept
    assert "home" not in kept
    ast.parse(kept)


@pytest.mark.skipif(os.name == "nt", reason="its own quotes")
def test_quotes_are_those_of_the_system(monkeypatch):
    monkeypatch.setattr(again, "os", types.SimpleNamespace(name="nt"))
    settings = SETTINGS | {"output": "model.keras"}
    assert 'train "my photos" --output' in command_again(settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "model.h5"}, "output must be the path of a file that ends in"),
        ({"output": "model.KERAS"}, "in small letters"),
        ({"report": "photos"}, "report must be the path of a file that ends in .html"),
        ({"report": "model.keras"}, "ends in .html or .htm"),
        ({"report": "photos/a.html"}, "must lie outside of the folder of photos"),
        ({"output": "photos/model.keras"}, "must lie outside of the folder of photos"),
        ({"groups": "(a"}, "groups"),
        ({"backbone": "resnet51"}, "resnet51"),
        ({"epochs": 0}, "epochs must be a whole number, at least 1"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"class_weight": "many"}, "Received: class_weight=many"),
        ({"image_size": 8}, "image_size"),
    ],
)
def test_a_mistake_is_told_before_the_work(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    monkeypatch.setattr(learning, "extract_features", None)
    given = {"folder": "photos", "output": "model.keras", "backbone": "tiny"}
    given |= {"image_size": SIZE}
    with pytest.raises(ValueError, match=message):
        kt.train_classifier(**(given | arguments))
    assert not list(place.glob("model*"))


def test_weights_that_cannot_be_had_are_told_before_the_photos_are_read(place):
    with pytest.raises(kt.WeightsUnavailableError, match="ImageNet weights"):
        kt.train_classifier(place / "photos", backbone="vgg16")


@pytest.mark.skipif(not pathlib.Path("/sys").is_dir(), reason="nobody may write there")
def test_a_folder_that_cannot_be_written_is_told_at_once(place):
    with pytest.raises(OSError, match="Nothing can be written in this folder"):
        train(place / "photos", "/sys/none/model.keras")
    with pytest.raises(NotADirectoryError, match="no folder of photos here"):
        train(place / "nowhere", "model.keras")


def test_the_command(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = ["train", "photos", "--output", "typed.keras", "--backbone", "tiny"]
    words += ["--image-size", str(SIZE), "--epochs", "2", "--seed", "3"]
    assert command_line.main(words) == 0
    saved = kt.load_classifier("typed.keras")
    assert saved.class_names == ("blue", "red")
    command = saved.details["command"].split()
    assert command[:3] == ["python", "-m", "keras_transfer"]
    assert sorted(command[3:]) == sorted(words)
    capsys.readouterr()
    for wrong in (["train", "photso", *words[2:]], [*words, "--epochs", "0"]):
        assert command_line.main(wrong) == 2
        assert "Received: " in capsys.readouterr().err
    assert paths.data_dir() == place / "data"
    assert_nothing_left(place)

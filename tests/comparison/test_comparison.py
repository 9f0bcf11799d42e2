"""Recipes run apart, what is finished stays, and the verdict says what data support."""

import dataclasses
import json
import shutil
import sys

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import stats

import keras_transfer as kt
from keras_transfer.backbones.registry import ARCHITECTURES
from keras_transfer.comparison import runner, store, training, worker
from keras_transfer.comparison.result import summarize
from keras_transfer.comparison.store import (
    Run,
    computed_here,
    read_run,
    run_path,
    save_run,
)
from keras_transfer.evaluation.statistics import (
    bootstrap_interval,
    compare_pairs,
    paired_p_value,
)
from keras_transfer.features import cache
from keras_transfer.features.inference import engine_here

FUNCTIONS = "tests.helpers.comparison_functions"


def answers(photos, *accuracies, seed=0):
    """Return for each accuracy which photos a recipe got right with three seeds.

    Some photos are hard for all: what both get wrong tells them apart as little as
    what both get right.
    """
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(size=photos)
    return [
        hardness < accuracy + rng.normal(0, 0.05, (3, photos))
        for accuracy in accuracies
    ]


def run(right, seconds=1.0, parameters=10, memory=10**9):
    """Return a run that is right about the photos named."""
    right = np.asarray(right)
    labels = np.arange(len(right)) % 2
    named = np.where(right, labels, 1 - labels)
    figures = {
        "seconds": seconds,
        "peak_memory": memory,
        "trained_parameters": parameters,
    }
    return Run(np.eye(2)[named], labels, figures)


def made_up(seeds=3, photos=200):
    way = {"frozen": 0.85, "fine-tuned": 0.95, "gradual": 0.945}
    right = dict(zip(way, answers(photos, *way.values()), strict=True))
    runs = {
        name: [run(by_seed, seconds=s + 1.0) for s, by_seed in enumerate(of[:seeds])]
        for name, of in right.items()
    }
    return summarize(runs, range(seeds))


def test_one_seed_is_mcnemar_s_exact_test():
    a = np.array([[True] * 9 + [False] * 2 + [True] * 20])
    b = np.array([[False] * 9 + [True] * 2 + [True] * 20])
    assert paired_p_value(a, b) == pytest.approx(stats.binomtest(9, 11).pvalue)
    assert paired_p_value(a, a) == 1
    # Equal seeds change nothing, so the test for several agrees with that for one.
    several = paired_p_value(np.repeat(a, 3, 0), np.repeat(b, 3, 0))
    assert several == pytest.approx(stats.binomtest(9, 11).pvalue)


@pytest.mark.parametrize("photos", [1, 2, 15])
@pytest.mark.parametrize("differ", [0, 1, 2])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_recipes_that_differ_on_a_photo_or_two_are_not_told_apart(
    photos, differ, seeds
):
    a = np.ones((seeds, photos), bool)
    b = a.copy()
    b[-1, :differ] = False
    (pair,) = compare_pairs({"a": a, "b": b})
    # All of one sign: of the 2^n ways to change places two are as far apart.
    assert pair["p_value"] == min(1, 2 / 2 ** min(differ, photos))
    assert not pair["clear"]


def test_the_interval_of_several_seeds_is_that_of_their_mean():
    one, none = [True], [False]
    (row,) = summarize({"a": [run(one), run(none)]}, [0, 1]).rows
    low, high = row["interval"]
    # Half of one photo is no photo as little as it is a whole one.
    assert low + high == pytest.approx(1)
    sixths = [
        summarize({"a": [run([True] * k + [False] * (3 - k)) for k in of]}, [0, 1])
        for of in ((1, 2), (2, 2), (2, 3))
    ]
    lows, highs = zip(*(each.rows[0]["interval"] for each in sixths), strict=True)
    assert lows[0] < lows[1] < lows[2] and highs[0] < highs[1] < highs[2]
    assert (lows[1], highs[1]) == pytest.approx(kt.accuracy_interval(2, 3))


@pytest.mark.parametrize(("photos", "points"), [(1, 95.0), (2, 77.6), (1000, 0.3)])
def test_differences_that_cannot_be_told_apart_are_at_most_all_photos(photos, points):
    same = [run([True] * photos)]
    verdict = summarize({"a": same, "b": same}, [0]).verdict
    assert f"differences below about {points} points" in verdict


def test_interval_of_one_seed_is_that_of_a_bootstrap_over_photos():
    a, b = (x[:1] for x in answers(300, 0.9, 0.8))
    difference = (a.astype(float) - b)[0]
    expected = stats.bootstrap((difference,), np.mean, method="percentile", rng=0)
    low, high = expected.confidence_interval
    assert bootstrap_interval(a, b) == pytest.approx((low, high), abs=0.01)


def test_seeds_that_differ_widen_the_interval():
    a, b = answers(300, 0.9, 0.8)
    same = bootstrap_interval(a[:1], b[:1])
    lucky = np.concatenate([a[:1], b[:1]])
    mixed = bootstrap_interval(lucky, b[:1])
    assert np.ptp(mixed) > 1.3 * np.ptp(same)


def test_equal_recipes_are_seldom_told_apart_and_others_are():
    def found(*accuracies):
        clear = []
        for seed in range(10):
            right = dict(enumerate(answers(150, *accuracies, seed=seed)))
            clear.append(any(pair["clear"] for pair in compare_pairs(right)))
        return np.mean(clear)

    assert found(0.8, 0.8, 0.8) <= 0.1
    assert found(0.9, 0.8) >= 0.9


def test_p_values_are_corrected_for_the_number_of_pairs():
    right = dict(zip("abc", answers(200, 0.9, 0.85, 0.8), strict=True))
    pairs = compare_pairs(right)
    for pair in pairs:
        alone = paired_p_value(right[pair["better"]], right[pair["worse"]])
        assert alone <= pair["p_value"] <= min(1, 3 * alone)
    smallest = min(pairs, key=lambda pair: pair["p_value"])
    alone = paired_p_value(right[smallest["better"]], right[smallest["worse"]])
    assert smallest["p_value"] == pytest.approx(3 * alone)


def test_verdict_claims_no_more_than_the_data_support():
    comparison = made_up()
    first, second, *rest = comparison.verdict.splitlines()
    better = comparison.rows[1]["accuracy"] - comparison.rows[0]["accuracy"]
    assert "is no more than noise" in first
    assert "cannot be told apart" in first
    assert second.startswith(f"fine-tuned beats frozen by {100 * better:.1f} points")
    assert "3 comparisons" in rest[0]
    assert "3 seeds" in rest[1]
    assert "One training" in made_up(seeds=1).verdict


def test_no_photo_tells_them_apart():
    comparison = summarize({"a": [run([True] * 30)], "b": [run([True] * 30)]}, [0])
    assert "below about 9.5 points" in comparison.verdict
    assert comparison.pairs[0]["p_value"] == 1


def test_figures_of_a_comparison():
    comparison = made_up()
    row = comparison.rows[0]
    assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
    assert row["interval"][0] < row["accuracy"] < row["interval"][1]
    assert row["seconds"] == 2
    assert len(comparison.pairs) == 3
    assert json.loads(json.dumps(comparison.to_dict())) == comparison.to_dict()
    assert "1.0 GB" in str(comparison)
    assert comparison._repr_html_().count("<tr>") == 4
    unknown = summarize({"<a>": [run([True], memory=None)]}, [0])
    assert unknown.pairs == ()
    assert "unknown" in str(unknown)
    assert "<a>" not in unknown._repr_html_()


def test_figure():
    matplotlib.use("Agg")
    comparison = made_up()
    axes = kt.plots.show_comparison(comparison)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    names = [label.split(":")[0] for label in labels]
    assert names == ["frozen", "fine-tuned", "gradual"]
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"kind": "tuned"}, "kind='tuned'"),
        ({"kind": "frozen", "backbone": "resnet"}, "backbone='resnet'"),
        ({"kind": "frozen", "backbone": "small_convnet"}, "backbone='small_convnet'"),
        ({"kind": "frozen", "from_block": "top"}, "from_block='top'"),
        ({"kind": "gradual", "freeze_epochs": 3}, "freeze_epochs=3"),
        ({"kind": "gradual", "epochs": 0}, "epochs=0"),
        ({"kind": "gradual", "learning_rate": 0}, "learning_rate=0"),
        ({"kind": "gradual", "layer_decay": 1.5}, "layer_decay=1.5"),
        ({"kind": "gradual", "augmentation": "much"}, "augmentation='much'"),
    ],
)
def test_recipes_refuse(arguments, received):
    with pytest.raises(ValueError, match=received):
        kt.Recipe(**arguments)


@pytest.fixture(scope="module")
def drawn():
    return kt.load_dataset("sample_cats_vs_dogs", image_size=32, max_images=36)


@pytest.mark.parametrize(
    ("kind", "trained", "arguments"),
    [
        ("from_scratch", "all", {"backbone": "small_convnet"}),
        ("frozen", "head", {}),
        ("fine_tuned", "top", {"from_block": "top"}),
        ("gradual", "top", {"from_block": "block7", "augmentation": "light"}),
    ],
)
def test_each_kind_trains_what_it_says(drawn, kind, trained, arguments):
    recipe = kt.Recipe(
        kind, **({"backbone": "efficientnet_lite0", "epochs": 2} | arguments)
    )
    keras.utils.set_random_seed(0)
    made = training.train(recipe, drawn, seed=0)
    names = {v.path.split("_")[0].split("/")[0] for v in made.model.trainable_variables}
    if trained != "all":
        # Gradual: two epochs are the head's and that of the last block.
        assert names == {"head"} | ({trained} - {"head"})
    images, _ = drawn.arrays("test")
    expected = made.model(images.astype("float32"), training=False)
    outputs = np.concatenate([made.network(x, training=False) for x, _ in made.test])
    # Kept maps are float16.
    np.testing.assert_allclose(outputs, expected, atol=0.02)


def test_unknown_block_names_the_known_ones(drawn):
    recipe = kt.Recipe("gradual", "efficientnet_lite0", from_block="conv5")
    with pytest.raises(ValueError, match=r"block7, top.*from_block='conv5'"):
        training.train(recipe, drawn, seed=0)


def test_what_is_read_back_counts_with_what_it_cost(drawn, tmp_path):
    backbone = kt.build_backbone("efficientnet_lite0", image_size=32)
    spared = []
    for _ in range(2):
        with cache.spared_seconds() as seconds:
            for _ in range(2):
                kt.extract_features(backbone, drawn, tmp_path)
        spared.append([*seconds.values()])
    assert spared[0] == [0]
    assert len(spared[1]) == 1
    assert spared[1][0] > 0.1


@pytest.fixture
def photos(tmp_path):
    """Make a folder of photos that differ by colour, and load it."""
    rng = np.random.default_rng(0)
    for name, shift in {"dark": 0, "light": 60}.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 190, (16, 16, 3)) + shift
            Image.fromarray(pixels.astype("uint8")).save(folder / f"{index}.png")
    return kt.load_directory(tmp_path / "photos", image_size=16, batch_size=8)


@pytest.mark.parametrize(
    ("experiments", "seeds", "received"),
    [
        ({}, [0], "experiments={}"),
        ({"a": "tests.no_such_module:f"}, [0], "no_such_module"),
        ({"a": "frozen"}, [0], "'frozen'"),
        ({"a": kt.Recipe("frozen")}, [], r"seeds=\[\]"),
        ({"a": kt.Recipe("frozen")}, [0, 0], r"seeds=\[0, 0\]"),
        ({"a": kt.Recipe("frozen")}, [-1], r"seeds=\[-1\]"),
        ([kt.Recipe("frozen")], [0], r"experiments=\[Recipe"),
        (kt.Recipe("frozen"), [0], "experiments=Recipe"),
        (None, [0], "experiments=None"),
        ({1: kt.Recipe("frozen")}, [0], "Received: 1 as the name"),
        ({"a": kt.Recipe}, [0], r"experiments\['a'\]=<class"),
        ({"a": 3}, [0], r"experiments\['a'\]=3"),
        ({"a": "sys:exit"}, [0], "'sys:exit'"),
        ({"a": "sys.path:append"}, [0], "'sys.path:append'"),
        (
            {"a": "tests.helpers.comparison_functions:"},
            [0],
            "'tests.helpers.comparison_functions:'",
        ),
        ({"a": kt.Recipe("frozen")}, 3, "seeds=3"),
        ({"a": kt.Recipe("frozen")}, np.array(3), r"seeds=array\(3\)"),
        ({"a": kt.Recipe("frozen")}, None, "seeds=None"),
        ({"a": kt.Recipe("frozen")}, "012", "seeds='012'"),
        ({"a": kt.Recipe("frozen")}, [0.5], r"seeds=\[0.5\]"),
        ({"a": kt.Recipe("frozen")}, [True], r"seeds=\[True\]"),
        ({"a": kt.Recipe("frozen")}, [2**32], r"seeds=\[4294967296\]"),
        ({"a": kt.Recipe("frozen")}, [[0, 1]], r"seeds=\[\[0, 1\]\]"),
        ({"a": kt.Recipe("frozen")}, [0, 0.0], r"seeds=\[0, 0.0\]"),
    ],
)
def test_compare_refuses(photos, experiments, seeds, received):
    with pytest.raises(ValueError, match=received):
        kt.compare(experiments, photos, seeds)


@pytest.mark.parametrize("splits", [None, "photos", {"train": 1}, np.zeros(3), []])
def test_compare_refuses_what_is_no_splits(splits):
    with pytest.raises(ValueError, match="Received: splits="):
        kt.compare({"a": kt.Recipe("frozen")}, splits)


@pytest.mark.parametrize(
    "seeds", [range(2), np.arange(2), (0.0, 1.0), iter([0, 1]), [np.int8(0), 1]]
)
def test_seeds_in_every_form_that_has_one_meaning(seeds):
    assert runner._seeds(seeds) == [0, 1]


def test_splits_must_be_loadable_again(photos, tmp_path):
    by_hand = dataclasses.replace(photos, loader=None)
    with pytest.raises(ValueError, match=r"Received: splits=Splits\(photos"):
        kt.compare({"a": kt.Recipe("frozen")}, by_hand)
    again = worker.load_again(photos.loader, photos.fingerprint)
    assert again.fingerprint == photos.fingerprint
    (tmp_path / "photos" / "dark" / "0.png").unlink()
    with pytest.raises(ValueError, match="data changed"):
        worker.load_again(photos.loader, photos.fingerprint)


def test_a_function_that_is_another_one_where_it_runs_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name, file = "only_there:train", tmp_path / "only_there.py"
    file.write_text("import beside_it\n\ndef train(splits, seed):\n    return 1\n")
    beside = tmp_path / "beside_it.py"
    beside.write_text("")
    asked = store.source_of(name)
    beside.write_text("# of last week")
    with pytest.raises(RuntimeError, match=r"Received: only_there:train .*beside_it"):
        store.imported(name, asked)
    del sys.modules["only_there"]
    # Where it is installed, what lies beside it is not counted.
    function = store.imported(name, [each for each in asked if "only" in each])
    assert function(None, 0) == 1
    file.write_text("# changed while it runs")
    assert store.imported(name, asked) is function
    del sys.modules["only_there"], sys.modules["beside_it"]


def test_runs_are_kept_by_all_that_they_depend_on(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    recipe = kt.Recipe("frozen")
    larger = kt.load_directory(tmp_path / "photos", image_size=24, batch_size=8)
    fuller = kt.load_directory(tmp_path / "photos", image_size=16, batch_size=4)
    paths = [
        run_path(recipe, photos, 0),
        run_path(recipe, photos, 1),
        run_path(recipe, larger, 0),
        run_path(recipe, fuller, 0),
        run_path(dataclasses.replace(recipe, epochs=5), photos, 0),
        run_path(f"{FUNCTIONS}:good", photos, 0),
        run_path(recipe, photos, 0, computed_here("tensorflow")),
    ]
    assert len({*paths}) == len(paths)
    default = engine_here()
    assert run_path(recipe, photos, 0, computed_here(default)) in paths
    assert run_path(kt.Recipe("frozen", epochs=30), photos, 0) == paths[0]
    save_run(paths[0], run([True, False]))
    assert read_run(paths[0]).right.tolist() == [True, False]
    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    assert read_run(paths[0]) is None


def test_a_run_is_not_read_back_once_weights_have_changed(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_TRANSFER_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    frozen, scratch = kt.Recipe("frozen", "vgg16"), kt.Recipe("from_scratch", "vgg16")
    (tmp_path / "mine.py").write_text("NAME = 'vgg16'")
    monkeypatch.syspath_prepend(tmp_path)

    def paths():
        return [run_path(each, photos, 0) for each in (frozen, "mine:make", scratch)]

    def assert_changed(before):
        after = paths()
        assert after == paths(), "the same gives the same"
        assert after[0] != before[0]
        assert after[1] != before[1], "a function that names the backbone"
        assert after[2] == before[2], "random weights come from no file"
        return after

    before = paths()
    cached = tmp_path / "keras" / "models" / ARCHITECTURES["vgg16"].keras_file.name
    for file in (cached, tmp_path / "weights" / "vgg16.weights.h5"):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"one")
        before = assert_changed(before)
        file.write_bytes(b"two")  # Of the same size.
        before = assert_changed(before)
        again = file.with_name("copy")
        again.write_bytes(b"two")
        again.replace(file)
        assert paths() == before, "a copy has the same weights"
    lite0 = kt.Recipe("frozen", "efficientnet_lite0")
    known = run_path(lite0, photos, 0)
    (tmp_path / "weights" / "efficientnet_lite0.weights.h5").touch()
    assert run_path(lite0, photos, 0) != known


def test_a_run_is_not_read_back_once_the_source_has_changed(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    recipe, seen = kt.Recipe("from_scratch"), set()

    def changed(recipe):
        path = run_path(recipe, photos, 0)
        assert path == run_path(recipe, photos, 0)
        before = len(seen)
        seen.add(path)
        return len(seen) > before

    assert changed(recipe)
    package = shutil.copytree(
        store.PACKAGE,
        tmp_path / "package",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    monkeypatch.setattr(store, "PACKAGE", package)
    assert not changed(recipe), "a copy of the package is the same package"
    with (package / "comparison" / "training.py").open("a") as file:
        file.write("# Trains in another way.\n")
    assert changed(recipe)
    for library in (keras, tf):
        monkeypatch.setattr(library, "__version__", "9.9.9")
        assert changed(recipe)

    own = tmp_path / "own"
    (own / "nets" / "deep").mkdir(parents=True)
    files = {
        "mine.py": "import helper\nfrom nets import small\ndef make(): ...",
        "helper.py": "import keras, json, mine",
        "nets/__init__.py": "",
        "nets/small.py": "from .deep.blocks import block\nfrom . import shared",
        "nets/shared.py": "",
        "nets/deep/__init__.py": "",
        "nets/deep/blocks.py": "def block(): ...",
        "unused.py": "",
    }
    for name, text in files.items():
        (own / name).write_text(text)
    monkeypatch.syspath_prepend(own)
    assert changed("mine:make")
    for name in files:
        with (own / name).open("a") as file:
            file.write("\n# Another line")
        assert changed("mine:make") == (name != "unused.py"), name
    (own / "helper.py").write_text("def broken(")
    assert changed("mine:make")


def test_recipes_of_other_numbers_are_other_runs(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    paths = {
        run_path(kt.Recipe("frozen", learning_rate=kind(rate)), photos, 0)
        for kind in (float, np.float64)
        for rate in (0.25, 0.5)
    }
    assert len(paths) == 2
    paths |= {
        run_path(kt.Recipe("frozen", learning_rate=np.float32(rate)), photos, 0)
        for rate in (0.25, 0.5)
    }
    assert len(paths) == 2


@pytest.mark.slow
def test_interrupted_comparison_goes_on(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_TRANSFER_DATA_DIR", str(tmp_path))
    notes = tmp_path / "notes.txt"
    monkeypatch.setenv("COMPARISON_NOTES", str(notes))
    # Names that the console of the processes cannot show end none of them.
    folder = (tmp_path / "photos").rename(tmp_path / "Фото 写真")
    photos = kt.load_directory(folder, image_size=16, batch_size=8)
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    experiments = {name: f"{FUNCTIONS}:{name}" for name in ("good", "bad")}
    with pytest.raises(RuntimeError, match="wrong on purpose") as raised:
        kt.compare(experiments, photos, seeds=(0, 1))
    assert "Received: experiments['bad']=" in str(raised.value)
    notes.with_name("repaired").touch()
    comparison = kt.compare(experiments, photos, seeds=(0, 1))
    called = ["good 0", "good 1", "bad 0", "bad 1", "bad 1"]
    assert notes.read_text().splitlines() == called
    assert "good, seed 1" in capsys.readouterr().out
    good, bad = (
        [read_run(run_path(recipe, photos, seed)) for seed in (0, 1)]
        for recipe in experiments.values()
    )
    # A seed begins as if it were the first, also after an interruption.
    for one, other in zip(good, bad, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
    assert not np.array_equal(good[0].probabilities, good[1].probabilities)
    row = comparison.rows[0]
    assert row["trained_parameters"] == 4 * 4 * 3 * 2 + 2
    assert row["peak_memory"] > 10**8
    assert 0 < row["seconds"] < 60

"""The package is thin to import, and its public names are the ones it lists."""

import pathlib
import subprocess
import sys

import keras
import matplotlib
import numpy as np
import pytest

import keras_transfer as kt

PACKAGE = pathlib.Path(kt.__file__).parent


def test_import_alone_brings_in_no_framework():
    script = (
        "import sys, keras_transfer\n"
        "heavy = {'keras', 'tensorflow', 'tensorflow_datasets', 'matplotlib',"
        " 'sklearn', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'build_backbone' in dir(keras_transfer)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_public_names_exist():
    for name in kt.__all__:
        assert getattr(kt, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        kt.no_such_name  # noqa: B018


def test_lessons_use_public_names_and_spell_one_backbone():
    import nbformat

    from keras_transfer.backbones.registry import ARCHITECTURES

    notebooks = sorted((PACKAGE.parent / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        cells = [
            cell.source
            for cell in nbformat.read(path, 4).cells
            if cell.cell_type == "code"
        ]
        code = "\n".join(cells)
        assert "from keras_transfer" not in code
        assert not [c for c in cells if len(c.splitlines()) > 25]
        spelled = [n for n in ARCHITECTURES for _ in range(code.count(f'"{n}"'))]
        # Who wants another backbone changes one place; lesson 6 has two of them.
        assert len(spelled) == len({*spelled}) <= 2, f"{path.name} spells {spelled}"


def test_plots_draw():
    matplotlib.use("Agg")
    figure = kt.plots.show_images(np.full((7, 8, 8, 3), 300.0), list("abcdefg"))
    assert len(figure.axes) == 12
    assert "none found" in kt.plots.show_images([]).axes[0].texts[0].get_text()
    axes = kt.plots.show_confusion_matrix([0, 0, 1], [0, 1, 1], ["cat", "dog"])
    assert [text.get_text() for text in axes.texts] == ["1", "1", "0", "1"]
    curve = np.array([[0.5, 0.7], [0.6, 0.9]])
    axes = kt.plots.show_learning_curve([10, 100], {"a": curve, "b": curve - 0.1})
    assert np.allclose(axes.lines[0].get_ydata(), [55, 80])
    assert axes.get_xlabel()
    assert axes.get_ylabel().endswith("(%)")
    axes = kt.plots.show_accuracies({"a": np.array([True] * 3 + [False]), "b": [True]})
    assert axes.get_yticklabels()[0].get_text() == "a"
    assert np.allclose(axes.containers[0].lines[0].get_xdata(), [75])


def test_training_plots_draw():
    matplotlib.use("Agg")
    history = keras.callbacks.History()
    history.history = {
        "stage": ["head", "head", "fine-tuning"],
        "loss": [3.0, 2.0, 1.0],
        "accuracy": [0.5, 0.6, 0.7],
        "val_loss": [3.0, 2.5, 2.0],
        "val_accuracy": [0.4, 0.5, 0.6],
    }
    left, right = kt.plots.show_training_history(history).axes
    assert [text.get_text().strip() for text in left.texts] == ["fine-tuning"]
    assert np.allclose(right.lines[1].get_ydata(), [40, 50, 60])
    finder = kt.callbacks.LearningRateFinder()
    finder.learning_rates = [10.0**n for n in range(-6, 1)]
    finder.losses = [1.0, 1.0, 0.9, 0.5, 0.4, 3.0, float("nan")]
    assert finder.suggestion == pytest.approx(1e-3)
    axes = kt.plots.show_learning_rate_finder(finder)
    assert axes.get_legend().get_texts()[0].get_text() == "0.001"
    assert axes.get_ylim()[1] < 3
    rates = [{"block5": None, "head": 1e-3}, {"block5": 5e-4, "head": 1e-3}]
    axes = kt.plots.show_unfreezing_schedule(rates)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["head", "block5"]
    cells = axes.collections[0].get_array()
    assert cells.mask.ravel().tolist() == [False, False, True, False]

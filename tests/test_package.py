"""The package is thin to import, and its public names are the ones it lists."""

import pathlib
import subprocess
import sys

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

"""The example in every public docstring runs."""

import doctest

import pytest

import keras_transfer as kt


class LastLines(doctest.OutputChecker):
    """Compare values, but let pass what an example prints before."""

    def check_output(self, want, got, optionflags):
        wanted = want.splitlines()
        return not wanted or got.splitlines()[-len(wanted) :] == wanted


def examples():
    found = []
    public = {name: getattr(kt, name) for name in kt.__all__}
    for module in [public.pop(name) for name in ("plots", "callbacks", "verify")]:
        public |= {name: getattr(module, name) for name in module.__all__}
    for name, value in public.items():
        if not name.endswith("Error"):
            found += doctest.DocTestFinder(recurse=False).find(value, name)
    return found


@pytest.mark.parametrize(
    ("got", "is_right"),
    [
        ("0.0\n", True),
        ("Data: 60 images\n0.0\n", True),
        ("10.0\n", False),
        ("Data: 0.0\n", False),
        ("0.0\nData: 60 images\n", False),
        ("0.01\n", False),
        ("", False),
    ],
)
def test_the_last_lines_are_compared_whole(got, is_right):
    assert LastLines().check_output("0.0\n", got, 0) is is_right


def test_there_are_examples():
    # Without any, the test of each would pass without a word.
    assert sum(bool(example.examples) for example in examples()) > 50


def marked(example):
    slow = example.name in ("compare", "assert_same_predictions")
    marks = [pytest.mark.slow] if slow else []
    return pytest.param(example, marks=marks, id=example.name)


@pytest.mark.parametrize("example", map(marked, examples()))
def test_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(LastLines(), verbose=False)
    report = []
    result = runner.run(example, out=report.append)
    assert result.failed == 0, "".join(report)

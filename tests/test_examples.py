"""The example in every public docstring runs."""

import doctest

import pytest

import keras_transfer as kt


class AnyOutput(doctest.OutputChecker):
    """Compare values, but let pass what an example prints besides."""

    def check_output(self, want, got, optionflags):
        return got.endswith(want)


def examples():
    found = []
    public = {name: getattr(kt, name) for name in kt.__all__}
    for module in [public.pop(name) for name in ("plots", "callbacks", "verify")]:
        public |= {name: getattr(module, name) for name in module.__all__}
    for name, value in public.items():
        if not name.endswith("Error"):
            found += doctest.DocTestFinder(recurse=False).find(value, name)
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(AnyOutput(), verbose=False)
    report = []
    result = runner.run(example, out=report.append)
    assert result.failed == 0, "".join(report)

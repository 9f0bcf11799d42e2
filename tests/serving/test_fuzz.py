"""Whatever is sent, the service does not fail, and goes on as before."""

import httpx
import hypothesis
import jsonschema
import pytest
from hypothesis import strategies as st

import keras_transfer as kt
from tests.helpers.fuzzing import MORE, fuzz, settled_memory
from tests.helpers.malformed import KINDS
from tests.helpers.services import PATIENCE, photo, serving
from tests.helpers.small_networks import small_classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Serve an export, which starts in a second; all but the network is the same."""
    folder = tmp_path_factory.mktemp("fuzz")
    model = kt.save_classifier(
        small_classifier(size=32), folder / "model.keras", ["cat", "dog"]
    )
    kt.export_classifier(model, folder / "onnx", format="onnx")
    with serving(folder / "onnx", "--read", "1") as running:
        yield running


@pytest.fixture(scope="module")
def document(service):
    return httpx.get(f"{service.url}/openapi.json").json()


def test_what_no_honest_client_sends_does_no_harm(service):
    """Every kind at least once; `python -m tests.helpers.fuzzing` sends thousands."""
    before = service.memory()
    found = fuzz(service, 100)
    assert {kind for kind, _ in found} == {*KINDS}
    assert settled_memory(service, before + MORE) <= before + MORE
    assert not [line for line in service.lines if "Traceback" in line]


def files():
    """Return lists of files, of which some are photos and some nearly so."""
    whole = photo()
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    data = st.one_of(st.just(whole), cut, st.binary(max_size=200))
    name = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
    key = st.sampled_from(["images", "images", "images", "image", ""])
    return st.lists(st.tuples(key, st.tuples(name, data)), max_size=4)


@hypothesis.settings(max_examples=60, derandomize=True, deadline=None, database=None)
@hypothesis.given(
    method=st.sampled_from(["get", "post", "put", "head"]),
    path=st.sampled_from(["/predict", "/predict", "/model", "/readyz", "/metrics"]),
    query=st.dictionaries(
        st.sampled_from(["heat_map", "x"]),
        st.sampled_from(["true", "false", "1", "", "perhaps", "\x00"]),
        max_size=2,
    ),
    files=files(),
)
def test_each_answer_is_as_the_document_says(
    service, document, method, path, query, files
):
    method = "post" if path == "/predict" and method != "put" else method
    answer = httpx.request(
        method,
        f"{service.url}{path}",
        params=query,
        files=files if method == "post" else None,
        timeout=PATIENCE,
    )
    said = document["paths"][path].get(method)
    if said is None:
        assert answer.status_code == 405
        return
    content = said["responses"][str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind == "application/json":
        schema = content[kind]["schema"] | {"components": document["components"]}
        jsonschema.validate(answer.json(), schema)

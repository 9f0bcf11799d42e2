"""A service in a process of its own answers as `predict` does, and says plainly no."""

import base64
import concurrent.futures
import io

import httpx
import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.classifier.saved import Classifier
from keras_transfer.serving.heat_maps import overlay
from keras_transfer.serving.keras_model import KerasServed
from tests.helpers.malformed import png_bomb
from tests.helpers.services import detail, form, number, photo, serving
from tests.helpers.small_networks import small_classifier

pytestmark = pytest.mark.slow
NAMES = ("cat", "dog")
SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Save a small classifier with a detector for what is none of its classes."""
    folder = tmp_path_factory.mktemp("served")
    model = small_classifier(size=SIZE)
    head = model.get_layer("head_predictions")
    head.set_weights([w / 50 for w in head.get_weights()])  # Never quite sure.
    for seed in range(8):
        (folder / f"{seed}.jpg").write_bytes(photo(seed))
    photos = [kt.load_image(folder / f"{seed}.jpg", SIZE) for seed in range(8)]
    backbone = kt.split_at_block(model, "block2")[0]
    features = np.mean(backbone(np.stack(photos)), axis=(1, 2))
    kt.save_classifier(
        model,
        folder / "model.keras",
        NAMES,
        temperature=1.5,
        unknown=kt.fit_unknown_detector(features, features, neighbors=2),
        details={"backbone": "small", "test": {"accuracy": 0.9, "images": 10}},
    )
    return folder


@pytest.fixture(scope="module")
def service(folder):
    with serving(folder / "model.keras") as running:
        yield running


@pytest.fixture(scope="module")
def expected(folder):
    classifier = kt.load_classifier(folder / "model.keras")
    return classifier.predict([folder / f"{seed}.jpg" for seed in range(8)])


def test_the_first_line_says_what_is_served_and_where(service):
    assert service.lines[0] == f"Serving model.keras on http://127.0.0.1:{service.port}"
    assert "Ready: cat, dog. Ctrl+C ends it." in service.lines


def test_photos_are_answered_as_predict_answers(service, folder, expected):
    files = form(*((folder / f"{seed}.jpg").read_bytes() for seed in range(8)))
    answer = httpx.post(f"{service.url}/predict", files=files)
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    assert [each["file"] for each in found] == [f"{i}.jpg" for i in range(8)]
    for one, right in zip(found, expected, strict=True):
        assert one["class_name"] == right.class_name
        assert one["probability"] == max(one["probabilities"].values())
        assert [*one["probabilities"]] == [*NAMES]
        np.testing.assert_allclose(
            [*one["probabilities"].values()], right.probabilities, atol=1e-4
        )
        assert one["unknown"] is right.unknown
        assert one["heat_map"] is None


def test_many_clients_at_once_get_their_own_answers(service, folder, expected):
    data = [(folder / f"{seed}.jpg").read_bytes() for seed in range(8)]
    batches = number(service, "batch_photos_count")
    photos = number(service, "batch_photos_sum")

    def client(number):
        with httpx.Client(timeout=60) as session:
            for turn in range(4):
                seed = (number + turn) % 8
                answer = session.post(f"{service.url}/predict", files=form(data[seed]))
                (found,) = answer.json()["predictions"]
                far = np.subtract(
                    [*found["probabilities"].values()], expected[seed].probabilities
                )
                assert np.abs(far).max() < 1e-4

    with concurrent.futures.ThreadPoolExecutor(32) as clients:
        [*clients.map(client, range(32))]
    # Several at a time while the network was busy.
    assert number(service, "batch_photos_sum") - photos == 32 * 4
    assert number(service, "batch_photos_count") - batches < 32 * 4


def test_a_heat_map_is_a_transparent_picture_of_the_networks_size(service):
    answer = httpx.post(
        f"{service.url}/predict", files=form(photo()), params={"heat_map": "true"}
    )
    (found,) = answer.json()["predictions"]
    kind, _, data = found["heat_map"].partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (picture.mode, picture.size) == ("RGBA", (SIZE, SIZE))


def test_where_nothing_speaks_for_a_class_the_photo_is_seen():
    drawn = overlay(np.array([[0.0, 0.5, 1.0]]))
    data = base64.b64decode(drawn.partition(",")[2])
    nothing, some, most = np.asarray(Image.open(io.BytesIO(data)))[0].astype(int)
    assert nothing[3] == 0 < some[3] < most[3] < 255
    assert most[:3].sum() > some[:3].sum()


def test_a_model_without_a_feature_map_is_served_without_heat_maps():
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")])
    served = KerasServed(Classifier(model, NAMES, 8))
    assert not served.explains
    images = np.random.default_rng(0).integers(0, 2, (3, 8, 8, 3), "uint8")
    found = [each.probabilities for each in served.answer(images)]
    right = kt.class_probabilities(model, model.predict(images, verbose=0))
    np.testing.assert_allclose(found, right, atol=1e-5)


def test_the_model_is_described(service):
    found = httpx.get(f"{service.url}/model").json()
    versions = found.pop("versions")
    assert {"keras", "tensorflow"} <= {*versions}
    assert found == {
        "class_names": [*NAMES],
        "image_size": SIZE,
        "backbone": "small",
        "format": "keras",
        "precision": "float32",
        "temperature": 1.5,
        "explains": True,
        "unknown": True,
        "test": {"accuracy": 0.9, "images": 10},
    }


def test_the_page_may_load_nothing_from_elsewhere(service):
    answer = httpx.get(service.url)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_what_is_no_photo_is_refused_in_one_sentence(service, tmp_path):
    url = f"{service.url}/predict"
    said = detail(httpx.post(url, files=form(b"This is a text.")), 415)
    assert "0.jpg is not one of the image formats that are read here" in said
    assert "truncated" in detail(httpx.post(url, files=form(photo()[:500])), 422)
    assert "empty" in detail(httpx.post(url, files=form(b"")), 422)
    # One of several is enough.
    assert "1.jpg" in detail(httpx.post(url, files=form(photo(), b"text")), 415)
    assert "images" in detail(httpx.post(url, files={"photo": photo()}), 422)
    assert "multipart" in detail(httpx.post(url, content=photo()), 415)
    assert "multipart" in detail(httpx.post(url, json={}), 415)
    wrong = httpx.post(url, files=form(photo()), params={"heat_map": "perhaps"})
    assert "heat_map" in detail(wrong, 422)
    packed = httpx.post(url, files=form(photo()), headers={"content-encoding": "gzip"})
    assert "compressed" in detail(packed, 415)


def test_too_many_bytes_pixels_or_files_are_refused(service):
    url = f"{service.url}/predict"
    assert "32 photos" in detail(httpx.post(url, files=form(*[photo()] * 33)), 413)
    bomb = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(bomb, "PNG")
    said = detail(httpx.post(url, files=form(bomb.getvalue())), 413)
    assert "50,000,000 pixels" in said
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert "pixels" in detail(httpx.post(url, files=form(bomb.getvalue())), 413)
    for kind in ("wide", "tall"):
        said = detail(httpx.post(url, files=form(png_bomb(kind))), 413)
        assert "20,000 pixels long" in said
    # By its own account, and by what comes.
    large = b"\0" * 65 * 2**20
    assert "64 MB" in detail(httpx.post(url, files=form(large), timeout=60), 413)

    def chunks():
        for _ in range(65 * 16):
            yield b"\0" * 2**16

    headers = {"content-type": "multipart/form-data; boundary=x"}
    named = b'Content-Disposition: form-data; name="images"; filename="a"'
    start = b"--x\r\n" + named + b"\r\n\r\n"
    answer = httpx.post(
        url,
        content=(each for part in ([start], chunks()) for each in part),
        headers=headers,
        timeout=60,
    )
    assert "64 MB" in detail(answer, 413)


def test_the_document_names_every_address_and_status(service):
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    assert {*paths} == {"/predict", "/model", "/metrics", "/livez", "/readyz"}
    assert {*paths["/predict"]["post"]["responses"]} == {
        *("200", "401", "408", "413", "415", "422", "429", "503", "504")
    }


def test_a_page_of_somebody_else_does_not_reach_a_local_service(service):
    found = httpx.get(f"{service.url}/model", headers={"host": "evil.example"})
    assert found.status_code == 400
    assert httpx.get(f"http://localhost:{service.port}/model").status_code == 200


def test_what_happens_is_counted(service):
    before = {
        name: number(service, name)
        for name in (
            "predict_seconds_count",
            "batch_photos_sum",
            'refusals_total{reason="no image"}',
        )
    }
    httpx.post(f"{service.url}/predict", files=form(photo(), photo(1)))
    httpx.post(f"{service.url}/predict", files=form(b"text"))
    more = {name: number(service, name) - count for name, count in before.items()}
    assert [*more.values()] == [1, 2, 1]
    assert number(service, "queue_photos") == 0

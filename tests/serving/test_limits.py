"""A service with little room and little patience: who gets no answer, and why."""

import contextlib
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main as command_line
from keras_transfer.runtime.processes import peak_memory
from tests.helpers.services import as_sent, detail, form, number, photo, serving
from tests.helpers.small_networks import small_classifier

pytestmark = pytest.mark.slow
TOKEN = "an-open-secret"
READ = 3
SENT = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("limits") / "model.keras"
    return kt.save_classifier(small_classifier(size=32), path, ["cat", "dog"])


@pytest.fixture(scope="module")
def export(model):
    """Export it: a service of that starts in a second."""
    path = model.with_name("onnx")
    kt.export_classifier(model, path, format="onnx")
    return path


@pytest.fixture(scope="module")
def service(export):
    options = ["--queue", "4", "--wait", "1", "--read", str(READ)]
    # With the end of line that `echo` writes into a secret.
    with serving(export, *options, KERAS_TRANSFER_TOKEN=f" {TOKEN}\n") as running:
        yield running


@pytest.fixture(scope="module")
def slow():
    """Return a photo that takes much longer to decode than to send."""
    file = io.BytesIO()
    Image.new("RGB", (7_000, 7_000)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def good(service):
    answer = httpx.post(
        f"{service.url}/predict", files=form(photo()), headers=SENT, timeout=30
    )
    assert answer.status_code == 200, answer.text


def eventually(found, seconds=20):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextlib.contextmanager
def connected(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as sent:
        yield sent


def rest(connection):
    """Return all that comes until the other side closes the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            found += part
    return found


def test_only_who_knows_the_token_is_answered(service):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
        for path in ("model", "metrics", "openapi.json"):
            answer = httpx.get(f"{service.url}/{path}", headers=headers)
            assert "Bearer" in detail(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        files = form(photo())
        detail(httpx.post(f"{service.url}/predict", files=files, headers=headers), 401)
    for path in ("", "livez", "readyz"):
        assert httpx.get(f"{service.url}/{path}").status_code == 200
    good(service)


def test_a_full_queue_says_when_to_come_again_and_long_waits_end(service, slow):
    with connected(service) as first:
        first.sendall(as_sent(service, *[slow] * 4, token=TOKEN))
        eventually(lambda: number(service, "queue_photos", SENT) == 4)
        answer = httpx.post(f"{service.url}/predict", files=form(photo()), headers=SENT)
        assert "4 photos are waiting" in detail(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1
        assert first.recv(2**16).startswith(b"HTTP/1.1 504")
    eventually(lambda: number(service, "queue_photos", SENT) == 0)
    # What nobody waits for any more is not decoded.
    good(service)
    files = form(*[photo()] * 5)
    answer = httpx.post(f"{service.url}/predict", files=files, headers=SENT)
    assert "4 photos" in detail(answer, 413)


def test_a_client_that_goes_leaves_the_queue(service, slow):
    gone = 'refusals_total{reason="client gone"}'
    before, seconds = number(service, gone, SENT), []
    for _ in range(3):
        with connected(service) as first:
            first.sendall(as_sent(service, *[slow] * 4, token=TOKEN))
            eventually(lambda: number(service, "queue_photos", SENT) == 4)
        started = time.monotonic()
        eventually(lambda: number(service, "queue_photos", SENT) == 0)
        seconds.append(time.monotonic() - started)
    with connected(service) as second:  # In the middle of its upload.
        second.sendall(as_sent(service, slow, token=TOKEN)[:5_000])
    eventually(lambda: number(service, gone, SENT) == before + 4)
    # At once, and not when their time is up.
    assert min(seconds) < 0.5
    good(service)


def test_slow_clients_hold_nothing_up(service):
    """Some say nothing, some half of what they want, some send byte after byte."""
    whole = as_sent(service, photo(), token=TOKEN)
    with contextlib.ExitStack() as stack:
        silent, half, late, dripping = (
            stack.enter_context(connected(service)) for _ in range(4)
        )
        more = [stack.enter_context(connected(service)) for _ in range(60)]
        half.sendall(whole[:30])
        late.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /livez")
        dripping.sendall(whole[:-50])
        for each in more:
            each.sendall(whole[:-1])
        started = time.monotonic()
        good(service)
        answer = b""
        for position in range(len(whole) - 50, len(whole)):
            with contextlib.suppress(OSError):
                dripping.sendall(whole[position : position + 1])
            dripping.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                answer = dripping.recv(2**16)
                break
        answer += rest(dripping)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"longer than 3 s" in answer
        assert time.monotonic() - started < 2 * READ + 3
        for each in (silent, half, late):
            rest(each)  # Is closed from the other side.
    good(service)


def test_memory_stays_flat(service):
    """Of 900 requests, the last 600 leave nothing behind."""
    sent = [as_sent(service, photo(seed, 200), token=TOKEN) for seed in range(8)]
    bodies = [each.partition(b"\r\n\r\n") for each in sent]
    kinds = [
        {**SENT, "content-type": re.search(rb"multipart[^\r]*", head)[0].decode()}
        for head, _, _ in bodies
    ]

    def ask(count):
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        for turn in range(count):
            body, headers = bodies[turn % 8][2], kinds[turn % 8]
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    ask(300)
    before = service.memory()
    ask(600)
    assert service.memory() - before < 8 * 2**20


def test_each_mistake_on_the_command_line_is_one_sentence(model, capsys, monkeypatch):
    def said(*words, status=2):
        assert command_line.main(["serve", *map(str, words)]) == status
        return capsys.readouterr().err

    monkeypatch.delenv("KERAS_TRANSFER_TOKEN", raising=False)
    assert "needs a token" in said(model, "--host", "0.0.0.0")
    assert "token" in said(model, "--token", " ")
    for text in ("a\tb", "a\x7fb", "schlüssel"):  # Refused before the address is.
        words = ("--token", text, "--host", "no such host.invalid")
        assert "The token must be" in said(model, *words)
    assert "There is no model" in said(model.with_name("other.keras"))
    assert "host must be" in said(model, "--host", "no such host.invalid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "--port 0" in said(model, "--port", port)
    with pytest.raises(SystemExit):
        said(model, "--wait", "0")


def test_a_model_that_cannot_be_loaded_ends_the_service(tmp_path, capsys):
    path = tmp_path / "model.keras"
    path.write_bytes(b"no model")
    assert command_line.main(["serve", str(path), "--port", "0"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("Serving model.keras on http://127.0.0.1:")
    assert "error: " in captured.err and "Traceback" not in captured.err


def test_without_the_extra_the_package_to_install_is_named(tmp_path):
    """Packages that hide those of the extra stand before them."""
    for name in ("fastapi", "uvicorn", "prometheus_client"):
        code = f"raise ModuleNotFoundError('No module', name={name!r})"
        (tmp_path / f"{name}.py").write_text(code)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from keras_transfer.cli.main import main\n"
        "sys.exit(main(['serve', sys.argv[1]]))"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "keras-transfer[serve]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_told_to_end_while_it_loads_it_ends(model):
    with serving(model, ready=False) as running:
        answer = httpx.get(f"{running.url}/readyz")
        assert "still being loaded" in detail(answer, 503)
        assert answer.headers["retry-after"]
        refused = httpx.post(f"{running.url}/predict", files=form(photo()))
        detail(refused, 503)
        assert httpx.get(f"{running.url}/livez").status_code == 200
        assert running.stop(signal.SIGINT) == 0  # As Ctrl+C tells it.


@pytest.mark.skipif(os.name == "nt", reason="reads /proc")
def test_an_export_is_served_without_keras(model, export, tmp_path):
    started = time.monotonic()
    with serving(export) as running:
        seconds = time.monotonic() - started
        answer = httpx.post(f"{running.url}/predict", files=form(photo()))
        (found,) = answer.json()["predictions"]
        maps = running.file("maps").read_text("utf-8")
        peak = peak_memory(running.process.pid)
        answered = httpx.post(
            f"{running.url}/predict",
            files=form(photo()),
            params={"heat_map": "true"},
        )
    assert "tensorflow" not in maps
    assert peak < 500 * 2**20
    # 2 s on a quiet machine: the benchmark of exports says it.
    assert seconds < 10
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())
    (right,) = kt.load_classifier(model).predict(path)
    far = np.subtract([*found["probabilities"].values()], right.probabilities)
    assert np.abs(far).max() < 1e-3
    assert answered.json()["predictions"][0]["heat_map"] is None


def test_told_to_end_it_answers_what_it_has_taken(export):
    with serving(export) as running:
        whole = as_sent(running, photo())
        with socket.create_connection(("127.0.0.1", running.port)) as open_one:
            open_one.sendall(whole[:-100])
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert "end" in detail(httpx.get(f"{running.url}/readyz"), 503)
            refused = httpx.post(f"{running.url}/predict", files=form(photo()))
            assert "end" in detail(refused, 503)
            assert httpx.get(f"{running.url}/livez").status_code == 200
            open_one.sendall(whole[-100:])
            answer = rest(open_one)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b'"class_name"' in answer
        assert running.process.wait(20) == 0


def test_one_client_waits_for_nothing_but_the_network(service):
    """Not for the end of an answer, which systems hold back for 40 ms unless told."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    request = httpx.Request("POST", service.url, files=form(photo()))
    request.headers.update(SENT)
    body, headers = request.read(), dict(request.headers)
    seconds = []
    for _ in range(40):
        started = time.perf_counter()
        connection.request("POST", "/predict", body, headers)
        assert connection.getresponse().read().startswith(b'{"predictions"')
        seconds.append(time.perf_counter() - started)
    connection.close()
    # The first ones are not held back.
    assert min(seconds[20:]) < 0.03

"""The page of the service, in a real browser, against a real service.

Screenshots of what a person would see are put into build/test/page.
"""

import base64
import io
import pathlib
import re
import shutil
import threading
import urllib.request

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from tests.helpers.coloured_discs import (
    NAMES,
    SIZE,
    draw_disc,
    jpeg,
    save_disc_classifier,
)
from tests.helpers.services import serving

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# As root, without a graphics card, and without what it does by itself in a network. Its
# camera is a film that it draws.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking"),
    *("--disable-component-update", "--use-fake-device-for-media-stream"),
    "--use-fake-ui-for-media-stream",
]
SCHEMES = ("light", "dark")
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PICTURES = pathlib.Path(__file__).parents[2] / "build" / "test" / "page"
# As a browser gives a page the files that are dropped on it.
DROPPED = """(files) => {
    const made = new DataTransfer();
    for (const [name, type, data] of files) {
        const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
        made.items.add(new File([bytes], name, {type}));
    }
    return made;
}"""


@pytest.fixture(scope="module")
def browser():
    reason = "Chromium or Playwright is not installed: the page is not tried in it."
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip(reason)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def model(browser, tmp_path_factory):
    return save_disc_classifier(tmp_path_factory.mktemp("page") / "discs.keras")


@pytest.fixture(scope="module")
def address(model):
    with serving(model) as running:
        yield running.url


@pytest.fixture
def open_page(browser, address):
    """Return what opens the page; in the end hold that it asked nobody else."""
    requests, faults, contexts = [], [], []

    def open_page(where=address, **settings):
        settings = {"viewport": WIDE, "reduced_motion": "reduce"} | settings
        contexts.append(browser.new_context(**settings))
        contexts[-1].set_default_timeout(20_000)
        page = contexts[-1].new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text))
        page.goto(where)
        return page

    yield open_page
    for context in contexts:
        context.close()
    elsewhere = [
        url
        for url in requests
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:"))
    ]
    assert requests and not elsewhere, elsewhere
    # The browser notes each refusal; the page's own policy must stop nothing of it.
    refused = re.compile(r"Failed to load resource: .*(status of 4|ERR_CONNECTION_REF)")
    assert not [fault for fault in faults if not refused.match(fault)], faults


def drop(page, *files):
    """Drop files, each a name, a kind and its bytes, as if with the mouse."""
    encoded = [
        (name, kind, base64.b64encode(data).decode()) for name, kind, data in files
    ]
    dropped = page.evaluate_handle(DROPPED, encoded)
    page.dispatch_event("#zone", "drop", {"dataTransfer": dropped})


def photo(colour, name=None, **where):
    name = name or f"{colour}.jpg"
    return (name, "image/jpeg", jpeg(draw_disc(colour, seed=500, **where)))


def card(page, name):
    return page.locator(".card", has=page.get_by_text(name, exact=True))


def percent(text):
    return int(re.search(r"(\d+)\s*%", text)[1])


def has_words(locator, words):
    # It waits, as long as the timeout allows, for what a text in a page cannot.
    locator.filter(has_text=words).wait_for()


# What people do with it.


def test_a_dropped_photo_is_named_as_the_classifier_names_it(
    open_page, model, tmp_path
):
    page = open_page()
    red = photo("red")
    drop(page, red)
    heading = card(page, "red.jpg").get_by_role("heading", name="red")
    heading.wait_for()

    (tmp_path / "red.jpg").write_bytes(red[2])
    [expected] = kt.load_classifier(model).predict([tmp_path / "red.jpg"])
    assert expected.class_name == "red"
    rows = card(page, "red.jpg").locator("tr").all()
    shown = {row.locator("th").inner_text(): row for row in rows}
    assert [*shown] == ["red", "blue"]  # The most probable comes first.
    for name, share in zip(NAMES, expected.probabilities, strict=True):
        number = percent(shown[name].locator(".number").inner_text())
        assert number == pytest.approx(100 * share, abs=0.6)
        track, bar = (shown[name].locator(f".{each}") for each in ("track", "bar"))
        drawn = bar.bounding_box()["width"] / track.bounding_box()["width"]
        assert drawn == pytest.approx(share, abs=0.02)
    assert percent(heading.inner_text()) == percent(
        shown["red"].locator(".number").inner_text()
    )


def test_several_photos_are_answered_each_and_the_newest_come_first(open_page):
    page = open_page()
    files = [
        photo(("red", "blue")[number % 2], f"{number}.jpg", at=(number / 8 + 0.1, 0.5))
        for number in range(7)
    ]
    drop(page, *files[:5])
    drop(page, *files[5:])
    page.locator(".card h3").nth(6).wait_for()
    names = page.locator(".card .file").all_inner_texts()
    assert names == [f"{number}.jpg" for number in (5, 6, 0, 1, 2, 3, 4)]
    for number in range(7):
        expected = ("red", "blue")[number % 2]
        assert card(page, f"{number}.jpg").get_by_role("heading", name=expected).count()
    page.get_by_role("button", name="Clear").click()
    assert not page.locator(".card").count()
    assert not page.get_by_role("heading", name="Answers").is_visible()


def test_the_heat_map_lies_over_the_photo_and_the_slider_fades_it(open_page):
    page = open_page()
    drop(page, photo("red", at=(0.25, 0.5)))
    heat = card(page, "red.jpg").locator(".heat")
    heat.wait_for()

    data = base64.b64decode(heat.get_attribute("src").partition(",")[2])
    opacity = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3]
    assert opacity.shape == (SIZE, SIZE)
    # The disc is red, and it is on the left.
    assert opacity[:, : SIZE // 2].mean() > 5 * opacity[:, SIZE // 2 :].mean()

    picture = card(page, "red.jpg").locator(".picture")
    assert heat.bounding_box() == picture.bounding_box()
    stack, slider = card(page, "red.jpg").locator(".stack"), page.get_by_role("slider")
    shown, seen = page.locator(".slider .value"), {}
    for value in (0, 50, 100):
        slider.fill(str(value))
        assert shown.inner_text() == f"{value}\N{NO-BREAK SPACE}%"
        png = stack.screenshot()
        seen[value] = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), "float32")
    faint, strong = (np.abs(seen[value] - seen[0]) for value in (50, 100))
    assert 5 < faint.mean() < strong.mean()
    width = strong.shape[1]
    assert strong[:, : width // 2].mean() > 5 * strong[:, width // 2 :].mean()


def test_none_of_these_is_said_plainly(open_page):
    page = open_page()
    drop(page, photo("green"), photo("blue"))
    card(page, "green.jpg").get_by_role("heading", name="None of these").wait_for()
    card(page, "blue.jpg").get_by_role("heading", name="blue").wait_for()
    assert not page.locator("h3 .share", has_text="%").nth(1).count()


def test_what_is_no_photo_gets_a_sentence_and_spoils_no_other(open_page):
    page = open_page()
    whole = photo("red")[2]
    drop(
        page,
        ("notes.txt", "text/plain", b"no photo at all"),
        ("cut.jpg", "image/jpeg", whole[: len(whole) // 2]),
        ("empty.png", "image/png", b""),
        photo("red"),
    )
    card(page, "red.jpg").get_by_role("heading", name="red").wait_for()
    for name in ("notes.txt", "cut.jpg", "empty.png"):
        wrong = card(page, name).locator(".wrong")
        wrong.wait_for()
        text = wrong.inner_text()
        assert re.fullmatch(r"[^{}]{15,200}\.", text), text
        # And whoever cannot see the page hears it.
        has_words(page.get_by_role("log").locator("p"), f"{name}: {text}")


def test_a_drop_without_a_file_is_explained(open_page):
    page = open_page()
    drop(page)
    has_words(page.get_by_role("alert"), "no file in what you dropped")
    assert not page.locator(".card").count()


def test_a_copied_picture_is_pasted(open_page):
    page = open_page()
    name, kind, data = photo("blue", "copied.jpg")
    encoded = [[name, kind, base64.b64encode(data).decode()]]
    copied = page.evaluate_handle(DROPPED, encoded)
    page.evaluate(
        "(data) => dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}))",
        copied,
    )
    card(page, "copied.jpg").get_by_role("heading", name="blue").wait_for()


def test_a_photo_that_the_browser_cannot_show_is_answered_all_the_same(open_page):
    page = open_page()
    with io.BytesIO() as file:
        draw_disc("red").save(file, "TIFF")
        drop(page, ("red.tif", "image/tiff", file.getvalue()))
    shown = card(page, "red.tif")
    shown.get_by_role("row", name="red").wait_for()
    has_words(shown.locator(".photo"), "This browser cannot show this file.")
    assert not shown.get_by_role("slider").is_visible()


def test_names_are_shown_as_text_never_run(open_page):
    page = open_page()
    name = "<img src=x onerror=alert(1)> <b>קוֹבֶץ</b>.jpg"
    drop(page, photo("red", name))
    card(page, name).get_by_role("heading", name="red").wait_for()
    assert not page.locator(".file b, .file img").count()


def test_more_photos_than_the_queue_has_places_are_all_answered(open_page, in_process):
    page = open_page(in_process(queue=1))
    answers = []
    page.on("response", lambda answer: answers.append((answer.url[-4:], answer.status)))
    # So large that several are on their way at any time.
    large = jpeg(draw_disc("blue").resize((3200, 2400)))
    drop(page, *((f"{number}.jpg", "image/jpeg", large) for number in range(6)))
    page.locator(".card h3").nth(5).wait_for()
    assert ("true", 429) in answers and answers.count(("true", 200)) == 6


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page()
    # From here on choosers are caught: to ask for it takes a moment.
    page.on("filechooser", lambda _: None)
    page.locator(".big").wait_for()

    def press(key, role, name):
        page.keyboard.press(key)
        focused = page.locator(":focus")
        assert page.get_by_role(role, name=name).and_(focused).count(), name
        outline = focused.evaluate("(each) => getComputedStyle(each).outline")
        assert "solid 3px" in outline, outline

    press("Tab", "button", "Choose photos")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    name, kind, data = photo("red")
    chooser.value.set_files([{"name": name, "mimeType": kind, "buffer": data}])
    has_words(page.get_by_role("log").locator("p"), re.compile(r"red.jpg: red, \d+"))
    press("Tab", "button", "Use the camera")
    press("Tab", "button", "Clear")
    press("Tab", "slider", "Heat map")
    before = percent(page.locator(".slider .value").inner_text())
    page.keyboard.press("ArrowLeft")
    assert percent(page.locator(".slider .value").inner_text()) < before
    press("Shift+Tab", "button", "Clear")
    page.keyboard.press("Enter")
    # What had the focus is gone: it goes on where the next photo is chosen.
    assert (
        page.get_by_role("button", name="Choose").and_(page.locator(":focus")).count()
    )


def test_a_photo_is_taken_with_the_camera(open_page):
    page = open_page(permissions=["camera"])
    page.get_by_role("button", name="Use the camera").click()
    film = page.locator("#camera video")
    page.wait_for_timeout(500)
    assert film.evaluate("(each) => each.videoWidth") > 300
    page.get_by_role("button", name="Take the photo").click()
    # The browser's film is green.
    page.get_by_role("heading", name="None of these").wait_for()
    assert page.locator(".card .picture").evaluate("(each) => each.naturalWidth") > 300
    assert not page.locator("#camera").is_visible()
    # Its light goes out.
    assert film.evaluate("(each) => each.srcObject") is None


@pytest.mark.parametrize(
    ("left", "words"),
    [
        # As for a page that came over plain http from another machine.
        ("delete Navigator.prototype.mediaDevices", "localhost"),
        (
            "MediaDevices.prototype.getUserMedia = () =>"
            " Promise.reject(new DOMException('', 'NotFoundError'))",
            "No camera was found",
        ),
    ],
)
def test_without_a_camera_there_is_a_plain_message(open_page, left, words):
    page = open_page()
    page.add_init_script(left)
    page.reload()
    page.get_by_role("button", name="Use the camera").click()
    has_words(page.get_by_role("alert"), words)


# What it tells of the model.


def test_accuracy_and_interval_are_told_in_words(open_page, model):
    page = open_page()
    test = kt.load_classifier(model).details["test"]
    trust = page.locator("#trust")
    has_words(trust, f"Of {test['images']} photos that it had never seen")
    low, high = (round(100 * each) for each in test["accuracy_interval"])
    assert f"{low} to {high}" in trust.inner_text()
    assert page.locator(".classes li").all_inner_texts() == [*NAMES]
    assert "discs" in page.locator("#about").inner_text()


def test_what_a_model_does_not_have_is_not_shown(open_page, in_process, tmp_path):
    names = [f"kind {number}" for number in range(7)]
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
    layers.append(keras.layers.Dense(7, "softmax", kernel_initializer="zeros"))
    # Without a feature map there is no heat map.
    path = kt.save_classifier(keras.Sequential(layers), tmp_path / "m.keras", names)
    page = open_page(in_process(path))
    has_words(page.locator("#trust"), "Not known: no test was kept")
    has_words(page.locator("#about"), "get one of its names, too")
    drop(page, photo("red"))
    page.get_by_role("heading", name="kind").wait_for()
    assert not page.get_by_role("slider").is_visible()
    assert page.locator(".said > table tr").count() == 5
    more = page.get_by_text("2 more classes")
    assert not page.get_by_role("row", name="kind 6").is_visible()
    more.click()
    assert page.get_by_role("row", name="kind 6").is_visible()


@pytest.fixture(scope="module")
def in_process(model):
    """Return what serves a model from this process, until `stop` is called."""
    import uvicorn

    from keras_transfer.serving.app import make_app
    from keras_transfer.serving.limits import Limits
    from keras_transfer.serving.served import load_served
    from keras_transfer.serving.service import Service

    servers = []

    def start(path=model, token=None, **limits):
        ready = threading.Event()
        service = Service(lambda: load_served(path), Limits(**limits))
        app = make_app(service, token=token, ready=ready.set, failed=ready.set)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        assert ready.wait(60) and service.failure is None
        servers.append((server, thread))
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop():
        while servers:
            server, thread = servers.pop()
            server.should_exit = True
            thread.join(30)

    start.stop = stop
    yield start
    stop()


def test_a_service_that_asks_for_a_token_gets_it(open_page, in_process):
    page = open_page(in_process(token="open sesame"))
    dialog = page.get_by_role("dialog", name="This service asks for a token")
    dialog.get_by_label("Token").fill("a wrong one")
    page.keyboard.press("Enter")
    has_words(dialog.get_by_role("alert"), "did not take this token")
    dialog.get_by_label("Token").fill("open sesame")
    page.keyboard.press("Enter")
    page.locator(".big").wait_for()
    drop(page, photo("red"))
    card(page, "red.jpg").get_by_role("heading", name="red").wait_for()
    # For this tab only, and until it is closed.
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    page.locator(".big").wait_for()
    assert not dialog.is_visible()


def test_a_token_that_is_not_given_leaves_a_sentence(open_page, in_process):
    page = open_page(in_process(token="open sesame"))
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    has_words(page.locator("#trust"), "only to those who have its token")


def test_a_service_that_has_ended_is_said_to_be_gone(open_page, in_process):
    page = open_page(in_process())
    page.locator(".big").wait_for()
    in_process.stop()
    drop(page, photo("red"))
    has_words(card(page, "red.jpg").locator(".wrong"), "does not answer")
    assert card(page, "red.jpg").get_by_role("button", name="Try again").is_visible()


# How it is to look at.


def filled(page):
    """Show all that the page can show: an answer, none of these, and an error."""
    drop(
        page,
        photo("red", "a_photo_with_a_name_that_is_much_too_long_for_any_phone.jpg"),
        photo("green"),
        ("notes.txt", "text/plain", b"no photo"),
    )
    page.locator(".card .heat").nth(1).wait_for()
    page.locator(".card .wrong").wait_for()
    return page


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_serious_fault(open_page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = filled(open_page(color_scheme=scheme))
    page.locator(".big").wait_for()
    page.screenshot(path=PICTURES / f"wide-{scheme}.png", full_page=True)
    for opened in (None, "camera", "token"):
        if opened:
            page.evaluate(f"document.getElementById('{opened}').showModal()")
        found = axe.run(page).response
        assert "color-contrast" in {rule["id"] for rule in found["passes"]}
        serious = [
            (rule["id"], [each["html"] for each in rule["nodes"]])
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert not serious
        if opened:
            page.evaluate(f"document.getElementById('{opened}').close()")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_phone_scrolls_one_way_only(open_page, scheme):
    page = filled(open_page(viewport=PHONE, has_touch=True, color_scheme=scheme))
    page.screenshot(path=PICTURES / f"phone-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    # Nor does anything stick out of its box, which would be cut off.
    boxes = page.locator(".box").all()
    assert len(boxes) == 6
    for box in boxes:
        assert box.evaluate("(each) => each.scrollWidth <= each.clientWidth")
    for button in page.get_by_role("button").all():
        if button.is_visible():
            assert button.bounding_box()["height"] >= 44


def test_dark_and_light_differ(open_page):
    colours = {
        open_page(color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in SCHEMES
    }
    assert len(colours) == 2


def test_bars_stand_still_for_those_who_ask_for_it(open_page):
    for motion, seconds in (("reduce", "0s"), ("no-preference", "0.5s")):
        page = open_page(reduced_motion=motion)
        drop(page, photo("red"))
        bar = page.locator(".bar").first
        bar.wait_for()
        assert bar.evaluate("(e) => getComputedStyle(e).transitionDuration") == seconds


# What it is allowed to do.


def test_the_policy_lets_nothing_in_but_the_page_itself(address):
    with urllib.request.urlopen(address) as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy
    # Other addresses stand in the page only as the name of SVG.
    links = set(re.findall(r"https?://[\w.]+", text))
    assert links == {"http://www.w3.org"}
    assert not re.search(r"\son\w+=|style=|innerHTML|insertAdjacentHTML|eval\(", text)


def test_the_page_is_one_file_that_is_installed_with_the_package():
    page = pathlib.Path(kt.__file__).parent / "serving" / "page.html"
    assert len(page.read_bytes()) < 60_000

"""The page in a real browser: drop, result, click, map, timeline, compare, results, errors."""

import base64
import re
import subprocess
import threading
from shutil import which

import pytest

from tests.tiny_set import CLASSES
from videoctx.app import tested_run
from videoctx.inference.classifier import load

pytest.importorskip("starlette")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DROP = """async ([drop, name, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  drop.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
LATE_WEBCAM = """() => {
  const devices = navigator.mediaDevices;
  const now = devices.getUserMedia.bind(devices);
  const allowed = new Promise((allow) => (window.allow = allow));
  window.streams = [];
  devices.getUserMedia = async (wanted) => {
    await allowed;
    streams.push(await now(wanted));
    return streams.at(-1);
  };
}"""
STATES = "() => streams.map((stream) => stream.getTracks()[0].readyState)"
DRAG = """async (slider) => {
  const seen = [];
  for (let index = 0; index < 40; index += 1) {
    if (index < 20) {
      slider.value = index * 0.04;
      slider.dispatchEvent(new Event("input"));
    }
    await new Promise((next) => setTimeout(next, 10));
    seen.push(Number(slider.value));
  }
  return seen;
}"""
LONG_NAMES = """() => {
  const names = document.querySelectorAll(".name, .legend bdi, .card p[role=status], .tested .value, .tested .file");
  names.forEach((one) => one.append("x".repeat(150)));
}"""
CONTRAST = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(".skip, option, noscript, :disabled")) continue;
    const colors = [parse(getComputedStyle(element).color), background(element)];
    const [one, other] = colors.map((color) => light(color.slice(0, 3)));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push([element.outerHTML.slice(0, 80), ratio]);
  }
  return low;
}"""


@pytest.fixture(scope="module")
def browser():
    chromium = which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium to open the page with")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox", *CAMERA])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, served):
    """Open the page; after the test the browser has reported no error, and asked no other host."""
    reports, contexts = [], []

    def opened(*, width: int = 1200, **settings):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        contexts[-1].set_default_timeout(60_000)
        tab = contexts[-1].new_page()
        tab.on("pageerror", lambda error: reports.append(str(error)))
        tab.on("console", lambda message: reports.append(message.text) if "status of 4" not in message.text else None)
        tab.on("request", lambda request: reports.append(request.url) if not is_own(request.url) else None)
        tab.goto(served.url)
        expect(tab.locator("#network option")).to_have_count(3)
        return tab

    def is_own(url: str) -> bool:
        return url.startswith((served.url, "data:", "blob:"))

    expect.set_options(timeout=60_000)
    yield opened
    for context in contexts:
        context.close()
    assert reports == []


def probabilities(tab, card: int = 0) -> list[tuple[str, float]]:
    bars = tab.locator(".bars").nth(card).locator("li")
    bars.first.wait_for()
    return [(bar.locator(".name").inner_text(), float(bar.get_attribute("data-probability"))) for bar in bars.all()]


def choose(tab, path) -> None:
    tab.set_input_files("#file", path)
    expect(tab.locator("#player figcaption")).to_have_text(path.name)


def test_a_dropped_video_has_the_probabilities_of_predict(opened, served):
    tab = opened()
    content = (served.folder / "test0.mp4").read_bytes()
    drop = tab.locator("#drop").element_handle()
    tab.evaluate(DROP, [drop, "test0.mp4", base64.b64encode(content).decode()])
    expected = list(load(str(served.folder / "nl.ckpt")).predict(str(served.folder / "test0.mp4")))
    assert probabilities(tab) == expected
    expect(tab.locator("#panel-try .facts")).to_have_text(re.compile(r"^6 views \(2 clips × 3 crops\) in \d+ ms$"))
    tab.select_option("#compare", "2")
    assert probabilities(tab, 1) == list(
        load(str(served.folder / "plain.ckpt")).predict(str(served.folder / "test0.mp4"))
    )
    assert probabilities(tab) == expected


def test_a_click_on_the_timeline_moves_the_player(opened, served):
    tab = opened()
    choose(tab, served.folder / "long.mp4")
    tab.click("#tab-when")
    chart = tab.locator(".chart")
    chart.wait_for()
    assert tab.locator(".thumbs img").count() >= 8
    assert tab.locator(".ticks span").all_inner_texts() == [f"0:{second:02d}" for second in (0, 2, 4, 6, 8, 10, 12)]
    assert sorted(text.split()[0] for text in tab.locator(".legend li").all_inner_texts()) == sorted(CLASSES)
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] * 0.5, "y": 40})
    video = tab.locator("#player video")
    assert video.evaluate("video => video.currentTime") == pytest.approx(6, abs=0.1)
    chart.focus()
    tab.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "0.00")
    tab.keyboard.press("PageUp")
    expect(chart).to_have_attribute("aria-valuenow", "1.20")
    assert re.fullmatch(rf"0:01\.20: ({'|'.join(CLASSES)}) [\d.]+ %", chart.get_attribute("aria-valuetext"))


def test_a_click_on_a_place_shows_where_the_block_looks_from_there(opened, served):
    tab = opened()
    choose(tab, served.folder / "test0.mp4")
    tab.click("#tab-where")
    sentence = tab.locator("#panel-where .card-body [role=status]").first
    expect(sentence).to_have_text(re.compile("^NonLocal at res4.0, .*the place to which it adds most"))
    frames = tab.locator(".frame")
    assert frames.count() == 4
    before = frames.first.locator("img").get_attribute("src")
    image = frames.nth(2).locator("img").bounding_box()
    tab.mouse.click(image["x"] + image["width"] / 2, image["y"] + image["height"] / 2)
    number = re.search(r"\d+", frames.nth(2).inner_text())[0]
    expect(sentence).to_have_text(re.compile(rf"seen from x 4[78], y (39|40) in frame {number}\. It looks most at"))
    assert frames.first.locator("img").get_attribute("src") != before
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("PageDown")
    tab.keyboard.press("Enter")
    last = re.search(r"\d+", frames.nth(3).inner_text())[0]
    expect(sentence).to_have_text(re.compile(rf"seen from x 4[12], y (39|40) in frame {last}\."))
    tab.select_option("#compare", "1")
    expect(tab.locator(".strip")).to_have_count(2)
    expect(tab.locator("#panel-where .card-body [role=status]").nth(1)).to_have_text(
        re.compile("^GlobalContext at res4.0 has the same map for every place")
    )
    tab.select_option("#network", "2")
    expect(tab.locator("#panel-where .card").first).to_contain_text("This network has no block with an attention map")
    tab.select_option("#method", "gradcam")
    expect(tab.locator("#panel-where .card").first).to_contain_text("Grad-CAM of '")


def test_a_place_that_the_network_does_not_see_leaves_the_frames(opened, served):
    tab = opened()
    choose(tab, served.folder / "test0.mp4")
    tab.click("#tab-where")
    frames, line = tab.locator(".frame"), tab.locator("#panel-where .error")
    frames.nth(1).click(position={"x": 1, "y": 40})
    expect(line).to_contain_text("the network does not see this place")
    image, cross = (frames.nth(1).locator(one).bounding_box() for one in (".image", ".cross"))
    assert cross["y"] == pytest.approx(image["y"] + 40, abs=2)
    frames.nth(1).click(position={"x": 70, "y": 40})
    expect(line).to_have_count(0)
    expect(frames).to_have_count(4)


def test_a_second_press_before_the_response_changes_nothing(opened, monkeypatch):
    monkeypatch.setattr(tested_run, "VIDEOS_AT_ONCE", 2)
    tab = opened()
    tab.click("#tab-results")
    expect(tab.locator("#tested li")).to_have_count(2)
    tab.evaluate("() => [1, 2].forEach(() => document.querySelector('#more').click())")
    expect(tab.locator("#tested li")).to_have_count(4)
    names = tab.locator("#tested .file").all_inner_texts()
    assert names == ["test1.mp4", "test3.mp4", "gone.mp4", "test0.mp4"]
    tab.locator("#tested button").first.dblclick()
    expect(tab.locator("#tab-where")).to_have_attribute("aria-selected", "true")
    expect(tab.locator(".frame")).to_have_count(4)


def test_when_has_a_word_on_a_video_of_no_known_length_and_on_a_broken_one(opened, tmp_path):
    ffmpeg = which("ffmpeg") or pytest.skip("there is no ffmpeg to write a video without length")
    source = ["-f", "lavfi", "-i", "testsrc=size=96x80:rate=10:duration=2"]
    subprocess.run([ffmpeg, "-v", "error", *source, "-c:v", "libvpx", "-live", "1", tmp_path / "live.webm"], check=True)
    tab = opened()
    tab.click("#tab-when")
    choose(tab, tmp_path / "live.webm")
    expect(tab.locator("#panel-when .card .hint")).to_have_text(re.compile("^A video of unknown length is looked"))
    tab.set_input_files("#file", {"name": "text.mp4", "mimeType": "video/mp4", "buffer": b"hello" * 100})
    expect(tab.locator("#panel-when .error")).to_have_text(re.compile(r"^text\.mp4: a text file; expected a video"))


def test_the_slider_of_frames_does_not_jump_back(opened, b_frame_avi):
    tab = opened()
    tab.set_input_files(
        "#file", {"name": "b.avi", "mimeType": "video/x-msvideo", "buffer": b_frame_avi.path.read_bytes()}
    )
    expect(tab.locator("#stills img")).to_be_visible()
    seen = tab.locator("#stills input").evaluate(DRAG)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.76)
    expect(tab.locator("#stills img")).to_have_attribute("alt", "The frame at 0:00.76")


def test_a_webcam_that_is_allowed_late_records_once_and_not_after_another_choice(opened, served):
    tab = opened()
    tab.evaluate(LATE_WEBCAM)
    tab.click("#record")
    choose(tab, served.folder / "test0.mp4")
    for _ in range(2):
        tab.click("#record")
    tab.evaluate("() => allow()")
    expect(tab.locator("#note")).to_have_text("Recording …")
    tab.wait_for_function("() => streams.length === 3")
    assert sorted(tab.evaluate(STATES)) == ["ended", "ended", "live"]
    choose(tab, served.folder / "test0.mp4")
    assert tab.evaluate(STATES) == ["ended"] * 3
    expect(tab.locator("#record")).to_have_text("Record from the webcam")


def test_a_newcomer_is_told_what_to_do(opened):
    tab = opened()
    for name in ("try", "when", "where"):
        tab.click(f"#tab-{name}")
        expect(tab.locator(f"#panel-{name} .hint").first).to_have_text("Choose a video to begin.")


def test_errors_are_sentences_and_the_page_lives_on(opened, served):
    tab = opened()
    tab.set_input_files("#file", {"name": "text.mp4", "mimeType": "video/mp4", "buffer": b"hello" * 100})
    expect(tab.locator("#panel-try .error")).to_have_text(re.compile(r"^text\.mp4: a text file; expected a video"))
    for address, expected in [
        ("ftp://host/a.mp4", "is no address of a video on the web; expected https://HOST/VIDEO."),
        (f"{served.url}/a.mp4", "127.0.0.1 is not an address of the public internet."),
    ]:
        tab.fill("#url", address)
        tab.click("#url-form button")
        expect(tab.locator("#note .error")).to_contain_text(expected)
    choose(tab, served.folder / "test1.mp4")
    assert len(probabilities(tab)) == 3


def test_an_error_of_a_run_is_one_click_from_where(opened):
    tab = opened()
    tab.click("#tab-results")
    rows = tab.locator("#tested li")
    expect(rows).to_have_count(6)
    expect(rows.first).to_contain_text(f"{CLASSES[1]} → {CLASSES[0]} 90.0 %")
    rows.first.get_by_role("button").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#tab-where")).to_have_attribute("aria-selected", "true")
    expect(tab.locator("#tab-where")).to_be_focused()
    expect(tab.locator(".frame")).to_have_count(4)


@pytest.mark.slow
def test_an_example_and_a_video_that_the_browser_does_not_play(opened, b_frame_avi):
    tab = opened()
    tab.select_option("#example", "2")
    assert len(probabilities(tab)) == 3
    choose_unplayable = {"name": "b.avi", "mimeType": "video/x-msvideo", "buffer": b_frame_avi.path.read_bytes()}
    tab.set_input_files("#file", choose_unplayable)
    expect(tab.locator("#stills img")).to_be_visible()
    expect(tab.locator("#player figcaption")).to_contain_text("the server shows its frames")
    assert len(probabilities(tab)) == 3


@pytest.mark.slow
def test_the_webcam_is_recorded(opened):
    tab = opened()
    tab.click("#record")
    expect(tab.locator("#note")).to_have_text("Recording …")
    tab.wait_for_timeout(1500)
    tab.click("#record")
    assert len(probabilities(tab)) == 3


@pytest.mark.slow
def test_a_phone_in_the_dark_shows_all_in_its_width_with_contrast(opened, served):
    for scheme, width in (("dark", 390), ("light", 320)):
        tab = opened(width=width, color_scheme=scheme)
        choose(tab, served.folder / "test0.mp4")
        probabilities(tab)
        tab.select_option("#compare", "1")
        for name in ("try", "when", "where", "results"):
            tab.click(f"#tab-{name}")
            tab.locator(f"#panel-{name} :is(.bars, .chart, .strip, .tested li)").first.wait_for()
            tab.evaluate(
                "document.querySelectorAll('option').forEach((one) => (one.text += ' of a long name'.repeat(9)))"
            )
            tab.evaluate(LONG_NAMES)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
            assert tab.evaluate(CONTRAST) == [], (scheme, name)


@pytest.mark.slow
def test_every_control_has_a_name_and_the_tabs_take_arrow_keys(opened, served):
    tab = opened()
    choose(tab, served.folder / "test0.mp4")
    for name in ("try", "when", "where", "results"):
        expect(tab.locator(f"#tab-{name}")).to_have_attribute("aria-selected", "true")
        tab.locator(f"#panel-{name} :is(.bars, .chart, .strip, .tested li)").first.wait_for()
        for control in tab.locator("button:visible, select:visible, input:visible, [role=slider]:visible").all():
            described = control.aria_snapshot()
            assert re.search(r'"[^"]+"', described) or control.get_attribute("id") == "file", described
        tab.locator(f"#tab-{name}").focus()
        tab.keyboard.press("ArrowRight")
    expect(tab.locator("#tab-try")).to_be_focused()


def test_a_slow_request_is_cancelled_on_the_page(opened, served):
    tab = opened()
    choose(tab, served.folder / "test0.mp4")
    probabilities(tab)
    release = threading.Event()
    blocking = served.work.network_jobs.add(lambda _: release.wait(60))
    tab.select_option("#network", "1")
    expect(tab.locator("#panel-try .working")).to_contain_text("Waiting for 1 before …")
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#panel-try .working")).to_contain_text("Cancelled.")
    release.set()
    tab.select_option("#network", "0")
    assert len(probabilities(tab)) == 3
    assert served.work.network_jobs.find(blocking.id) is not None

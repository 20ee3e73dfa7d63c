"""`videoctx report`: the page in a real browser, its content, and its errors."""

import json
import re
from pathlib import Path
from shutil import which

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

from tests.evaluation.synthetic_scores import random_run, synthetic_scores, write_run
from tests.numbered import write_video
from tests.small_preprocessing import small_preprocessing
from videoctx.cli import main
from videoctx.evaluation.confident_errors import most_confident_errors
from videoctx.evaluation.evaluation_result import EvaluationResult, percent
from videoctx.evaluation.report.class_table import class_table
from videoctx.evaluation.report.page_title import page_title
from videoctx.evaluation.report.training_curves import grouped, read_curves
from videoctx.evaluation.run_folders import SCORES_FILE
from videoctx.evaluation.scores import read_scores

HOSTILE = [
    '</script><script>document.title = "taken"</script>',
    '"><img src="http://example.com/x.png" onerror="document.title=1">',
    "{{ 7 * 7 }} {% raw %}",
    "مرحبا بالعالم",
    "x" * 200,
    "line\x00\x1bbreak\u202e",
    "\udc80 lone",
]
METRICS = (multiclass_recall, multiclass_precision, multiclass_f1_score)
DATA = {"num_videos": 60} | small_preprocessing(
    short_side_px=64, crop_size_px=64, views=(4, 3), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)
).as_dict()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page about 60 videos of 28 classes, some with names that could break it. Half of the videos exist."""
    folder = tmp_path_factory.mktemp("report")
    logits, labels = random_run(0, num_videos=60, num_classes=28)
    logits[5, 1, 0] = np.nan
    names = [*HOSTILE, *(f"class {index}" for index in range(21))]
    video = write_video(folder / "some.mp4", num_frames=60)
    paths = [str(video.path) if index % 2 else f"gone/{HOSTILE[1]}{index}.mp4" for index in range(60)]
    run = write_run(folder / "tested", logits, labels, class_names=names, paths=paths, failed=(3,))
    fit = folder / "fit" / "version_0"
    fit.mkdir(parents=True)
    rows = ["epoch,step,train/loss,val/video_top1,lr-SGD"]
    rows += [f"0,{step},{3 / (1 + step)},," for step in range(1000)] + ["0,999,nan,,", "0,999,,0.25,", "1,1999,,0.5,"]
    (fit / "metrics.csv").write_text("\n".join(rows))
    checkpoint = {"path": "fit/version_0/checkpoints/best.ckpt", "sha256": "0"}
    card = {"data": DATA, "checkpoint": checkpoint, "folder": str(folder), "command": HOSTILE[0]}
    (run / "card.json").write_text(json.dumps(card))
    (run / "results.json").write_text(json.dumps({"num_parameters": 1_500_000, "video_top1": 0.987}))
    main(["report", str(run)])
    return run / "report.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium to open the page with")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, page):
    """Open the page; after the test the browser has reported no error and requested nothing."""
    reports, contexts = [], []

    def opened(*, width: int = 1100, **settings):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **settings))
        contexts[-1].set_default_timeout(60_000)
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: reports.append(message.text))
        tab.on("pageerror", lambda error: reports.append(str(error)))
        tab.on("request", lambda request: reports.append(request.url) if request.url.startswith("http") else None)
        tab.goto(page.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert reports == []


# In a browser ---------------------------------------------------------------------------------------------------------


def test_every_chart_has_a_text_and_names_run_no_script(opened):
    tab = opened()
    charts = tab.locator("svg[role=img]")
    labels = [chart.get_attribute("aria-label") for chart in charts.all()]
    beginnings = ["Loss over training steps", "Metrics over training steps", "video top-1 over views", "Accuracy in"]
    assert [label.startswith(start) for label, start in zip(labels, beginnings, strict=True)] == [True] * 4
    assert all(chart.bounding_box()["height"] > 200 for chart in charts.all())
    assert tab.locator("#matrix-cells path").count() >= 4
    assert tab.locator("#class-table tbody tr").count() == 28
    assert tab.locator(".errors li").count() == 12
    tab.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    assert tab.evaluate("Promise.all([...document.images].map(i => i.decode())).then(() => document.images.length)") > 2
    assert all(image.get_attribute("alt").startswith("Frames ") for image in tab.locator("img").all())
    assert tab.title() == "Test of tested"  # no class name has run as a script
    assert HOSTILE[0] in tab.locator("#class-table").inner_text()


def test_classes_are_sorted_and_searched_by_keyboard(opened):
    tab = opened()
    rows = tab.locator("#class-table tbody tr:not([hidden])")

    def column(number):
        return [row.locator("th,td").nth(number).inner_text() for row in rows.all()]

    accuracy = tab.locator("#class-table th button", has_text="recall")
    header = accuracy.locator("xpath=..")
    for direction in ("descending", "ascending"):
        accuracy.press("Enter")
        assert header.get_attribute("aria-sort") == direction
        found = [float(text[:-1]) for text in column(4) if text != "–"]
        assert len(set(found)) > 3
        assert found == sorted(found, reverse=direction == "descending")
    tab.get_by_role("button", name="class", exact=True).press("Enter")
    assert header.get_attribute("aria-sort") is None
    tab.get_by_label("Search classes").fill("CLASS 1")
    assert column(0) == ["class 1", *(f"class {index}" for index in range(10, 20))]
    assert tab.locator("#found").inner_text() == "11 of 28 classes"


def test_matrix_is_read_and_zoomed_by_keyboard_buttons_and_wheel(opened):
    tab = opened()
    matrix, status = tab.locator("#matrix"), tab.locator("#matrix-status")

    def size():
        return float(matrix.get_attribute("data-size"))

    whole = size()
    assert whole == 29  # one for videos without a prediction
    matrix.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "+"):
        tab.keyboard.press(key)
    assert size() == whole / 2
    _, labels = random_run(0, num_videos=60, num_classes=28)
    assert re.fullmatch(
        rf"{re.escape(HOSTILE[2])}, predicted as .*: \d of {(labels == 2).sum()} videos \(.*%\)",
        status.inner_text(),
        re.DOTALL,
    )
    tab.keyboard.press("-")
    assert size() == whole
    tab.get_by_role("button", name="Zoom in").click()
    tab.get_by_role("button", name="Zoom in").click()
    assert size() == whole / 4
    tab.get_by_role("button", name="whole matrix").click()
    assert size() == whole
    matrix.hover(position={"x": 400, "y": 100})
    tab.mouse.wheel(0, -100)
    assert size() == whole  # the page scrolls
    matrix.click(position={"x": 400, "y": 100})
    tab.mouse.wheel(0, -100)
    tab.wait_for_function(f"Number(document.getElementById('matrix').dataset.size) < {whole}")
    first = tab.locator("#confusion-table tbody tr").first
    label, prediction, count, _ = (cell.inner_text() for cell in first.locator("th,td").all())
    first.get_by_role("button").press("Enter")
    assert status.inner_text().startswith(f"{label}, predicted as {prediction}: {count} of ")
    assert tab.evaluate("document.activeElement.id") == "matrix"


def test_cells_have_numbers_where_there_is_room_for_them(opened):
    """28 classes on a desktop have counts, and zoomed shares, on a phone none until then; the pointer shows all."""
    tab = opened()
    numbers, table = tab.locator("#matrix-numbers text"), tab.locator("#matrix-table tbody tr")
    assert sum(map(int, numbers.all_text_contents())) == 60  # every video is in a cell
    in_table = re.findall(r"(\d+) \((\d+%)\)", "|".join(table.locator("td").all_text_contents()))
    assert sorted(count for count, _ in in_table) == sorted(numbers.all_text_contents())
    tab.get_by_role("button", name="Zoom in").click()
    texts = numbers.all_text_contents()
    assert {*zip(texts[::2], texts[1::2], strict=True)} <= {*in_table}
    tab.get_by_role("button", name="whole matrix").click()
    tab.set_viewport_size({"width": 375, "height": 800})
    numbers.first.wait_for(state="detached")
    for _ in range(3):
        tab.get_by_role("button", name="Zoom in").click()
    assert numbers.count() > 0
    tab.get_by_role("button", name="whole matrix").click()
    tab.set_viewport_size({"width": 1100, "height": 800})
    matrix, tip = tab.locator("#matrix"), tab.locator("#matrix-tip")
    assert tip.is_hidden()
    matrix.hover(position={"x": 400, "y": 100})
    assert re.search(r"predicted as .*: \d+ of \d+ videos", tip.inner_text(), re.DOTALL)
    tab.get_by_label("Search classes").hover()
    assert tip.is_hidden()


def test_numbers_in_cells_have_contrast(opened):
    """At least 4.5, as WCAG asks, for every shade of both kinds."""
    for scheme in ("light", "dark"):
        tab = opened(color_scheme=scheme)
        pairs = tab.evaluate(
            """() => [...document.querySelectorAll(".legend li")].map((item, index) => {
                const shade = item.querySelector("rect");
                const kind = index % 5 > 2 ? "var(--paper)" : "var(--ink)";
                const probe = document.createElement("span");
                probe.style.color = kind;
                document.body.append(probe);
                const bytes = (color) => {
                    const canvas = document.createElement("canvas").getContext("2d", { colorSpace: "srgb" });
                    canvas.fillStyle = color;
                    canvas.fillRect(0, 0, 1, 1);
                    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
                };
                return [bytes(getComputedStyle(shade).fill), bytes(getComputedStyle(probe).color)];
            })"""
        )
        assert len(pairs) == 10
        for colors in pairs:
            light, dark = sorted(map(luminance, colors), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, colors)


def luminance(color: list[int]) -> float:
    """Relative luminance of WCAG."""
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_page_fits_the_screen_in_light_and_dark(opened):
    for scheme in ("light", "dark"):
        tab = opened(color_scheme=scheme)
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (375, 1100):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") == width, scheme
        check_colors(tab, scheme)


def check_colors(tab, scheme):
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, paper)]
    assert (light[0] < light[1]) == (scheme == "light")
    assert tab.evaluate("getComputedStyle(document.querySelector('.chart text')).fill") == ink


def test_structure_for_screen_readers(opened):
    tab = opened()
    for landmark in ("header", "nav[aria-label]", "main", "main > section[aria-labelledby]"):
        assert tab.locator(landmark).count() >= 1
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels == [1] + [2] * 9
    assert tab.locator("th:not([scope])").count() == 0
    shown = "[...document.querySelectorAll('svg')].filter(svg => !svg.closest('[aria-hidden]'))"
    assert tab.evaluate(f"{shown}.filter(svg => !svg.ariaLabel).map(svg => svg.id)") == ["matrix-cells"]
    assert tab.evaluate("[...document.links].every(l => document.getElementById(l.hash.slice(1)))")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Tab")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


# Content --------------------------------------------------------------------------------------------------------------


def test_numbers_and_warnings(page):
    text = page.read_text(encoding="utf-8")
    run = page.parent
    evaluation_result = EvaluationResult(
        synthetic_scores(run.parent / "clean", *random_run(0, num_videos=60, num_classes=28))
    )
    assert percent(evaluation_result.estimates["video_top1"]) not in text  # one has failed, one is NaN
    for warning in (
        "1 of 60 videos could not be read; they count as incorrect.",
        "The network returned NaN for 1 views of 1 videos",
        "results.json has other values: video top-1 98.7000%.",
        "60 videos, 1.50 M parameters.",
        "1 values are NaN or infinite",
        "No such file or directory",  # in place of an image
        "line\\x00\\x1bbreak",
        "\\udc80 lone",
    ):
        assert warning in text, warning
    assert "http" not in re.sub(r"&#34;&gt;&lt;img.*?&gt;|\\u003cimg.*?\\u003e", "", text).replace("http-equiv", "")


def test_page_of_700_classes_is_small_and_lists_confusions(tmp_path):
    run = write_run(tmp_path, *random_run(0, num_videos=1400, views=(1, 1), num_classes=700))
    main(["report", str(run), "--errors=0"])
    text = (run / "report.html").read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert "Most frequent confusions: 30 of" in text
    assert 'id="matrix-table"' not in text  # too large to be read


def test_page_without_a_card_is_named_after_its_run(tmp_path):
    cards = {
        "Test of run": {},
        "Test of run on b/m.csv": {"data": {"manifest": "/a/b/m.csv"}},
        "5, 2026": {"network": 5, "data": [1], "time": 2026},
    }
    assert [page_title(card, tmp_path / "run") for card in cards.values()] == list(cards)


def test_classes_have_recall_precision_and_f1_with_their_means(tmp_path):
    run = write_run(tmp_path, *random_run(4), failed=(0,))
    result = EvaluationResult(read_scores(run / SCORES_FILE))
    table = class_table(result)
    first, measures = table.rows[0]
    assert [value for value, _ in measures] == [first.value, first.precision, first.f1]
    predictions = torch.tensor(np.nan_to_num(result.video_scores, nan=-1).argmax(axis=1))[1:]
    labels = torch.tensor(result.view_scores.labels)[1:]
    by_torchmetrics = class_table(EvaluationResult(synthetic_scores(tmp_path / "b", *(a[1:] for a in random_run(4)))))
    wanted = [metric(predictions, labels, 7, average="macro").item() for metric in METRICS]
    assert by_torchmetrics.means == [f"{value:.1%}" for value in wanted]
    assert table.means != by_torchmetrics.means  # the failed video counts


def test_headline_is_the_result_of_the_run(tmp_path, capsys):
    run = write_run(tmp_path, *random_run(4))
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path / "again", *random_run(4)))
    main(["report", str(run), "--output", str(tmp_path / "out.html"), "--errors", "2"])
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    for name in ("clip_top1", "video_top1", "video_mean_class", "video_ece"):
        assert percent(evaluation_result.estimates[name]) in text
    assert text.count("<li><figure>") == 2
    assert text.count("the card lacks how the clips were made") == 2
    assert " MB, 2 of 2 errors without an image" in capsys.readouterr().out
    assert not list(tmp_path.glob(".part*"))


def test_most_confident_errors(tmp_path):
    logits = np.zeros((3, 2, 1, 4))
    logits[0, :, 0, 1] = 2, 5  # label 0
    logits[1, :, 0, 2] = 9, 9  # label 2
    logits[2, :, 0, 3] = 6, 5  # label 1
    evaluation_result = EvaluationResult(synthetic_scores(tmp_path, logits, np.array([0, 2, 1])))
    found = most_confident_errors(evaluation_result, tmp_path, most=5)
    assert [(error.path, error.labels, error.prediction) for error in found] == [
        ("2.mp4", ["class 1"], "class 3"),
        ("0.mp4", ["class 0"], "class 1"),
    ]
    assert [(error.clip, error.start_frame) for error in found] == [(0, 0), (1, 10)]
    assert found[1].view_confidence == pytest.approx(np.exp(5) / (np.exp(5) + 3), abs=1e-3)
    assert most_confident_errors(evaluation_result, tmp_path, most=1) == found[:1]


def test_videos_with_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    run = write_run(tmp_path, rng.normal(size=(20, 2, 1, 5)), rng.random((20, 5)) < 0.4)
    main(["report", str(run)])
    text = (run / "report.html").read_text(encoding="utf-8")
    evaluation_result = EvaluationResult(read_scores(run / SCORES_FILE))
    assert percent(evaluation_result.estimates["video_map"]) in text
    assert "mAP over views per video" in text
    assert 'id="matrix"' not in text
    errors = most_confident_errors(evaluation_result, run, most=20)
    assert errors
    assert not any(error.prediction in error.labels for error in errors)


def test_run_in_which_all_videos_failed(tmp_path):
    run = write_run(tmp_path, *random_run(0, num_videos=3), failed=(0, 1, 2))
    main(["report", str(run)])
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "3 of 3 videos could not be read" in text
    assert "No view could be evaluated." in text
    assert "No video has a confidence." in text


def test_report_of_a_trained_and_tested_run(place, run):
    tested = run("test", "--ckpt_path", place.last, "--data.test.views=[2,3]")
    main(["report", str(tested)])
    text = (tested / "report.html").read_text(encoding="utf-8")
    num_errors = round(5 * (1 - json.loads((tested / "results.json").read_text())["video_top1"]))
    assert text.count("<img ") == num_errors
    assert "train/loss from" in text
    assert "has other values" not in text
    assert str(place.last) in text
    assert "<title>ResNet3D-18 on videos/manifest.csv (test), 20" in text


def test_long_curves_are_averaged(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/loss\n" + "".join(f"{step},{step % 2}\n" for step in range(1200)))
    curve = read_curves(path).curves["train/loss"]
    assert len(curve) == 300
    assert curve[1] == (5.5, 0.5)


def test_curves_of_one_kind_share_a_chart(tmp_path):
    names = ("train/loss", "val/video_top1", "lr-SGD/weights", "train/clips_per_second", "train/data_wait_fraction")
    path = tmp_path / "metrics.csv"
    path.write_text(f"epoch,step,{','.join(names)}\n0,1,0.7,0.5,0.01,90,0.25\n")
    curves = read_curves(path).curves
    assert grouped(curves) == {
        "Loss": {"train/loss": [(1, 0.7)]},
        "Metrics": {"val/video_top1": [(1, 0.5)]},
        "Learning rate": {"lr-SGD/weights": [(1, 0.01)]},
        "Clips per second": {"train/clips_per_second": [(1, 90)]},
        "Time spent waiting for videos": {"train/data_wait_fraction": [(1, 0.25)]},
    }
    run = write_run(tmp_path / "run", *random_run(0, num_videos=4))
    main(["report", str(run), "--fit", str(tmp_path)])
    text = (run / "report.html").read_text(encoding="utf-8")
    charts = re.findall(r'<svg .*?aria-label="([^"]*) over training steps.*?>(.*?)</svg>', text, re.DOTALL)
    assert [(title, "%</text>" in chart) for title, chart in charts] == [
        (title, title in ("Metrics", "Time spent waiting for videos")) for title in grouped(curves)
    ]


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(capsys):
    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["report", *map(str, arguments)])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("videoctx: ")

    return refused


def test_bad_input_gives_an_error_of_one_line(tmp_path, refused):
    run = write_run(tmp_path / "run", *random_run(0, num_videos=4))
    assert "no scores.parquet in there; expected the folder of a run" in refused(tmp_path)
    assert "nowhere: no such folder" in refused(tmp_path / "nowhere")
    assert "is a folder; expected the name of a file" in refused(run, "--output", tmp_path)
    assert "cannot be written" in refused(run, "--output", tmp_path / "no" / "report.html")
    assert "File name too long" in refused(run, "--output", tmp_path / ("x" * 256))
    assert "no metrics.csv in there" in refused(run, "--fit", tmp_path)
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    assert "not a log of `videoctx fit`" in refused(run, "--fit", tmp_path)
    for name in ("card.json", "results.json"):
        (run / name).write_text('{"data": {"cli')
        assert f"{name}: not what `videoctx test` writes, or truncated" in refused(run)
        (run / name).unlink()
    scores = run / SCORES_FILE
    whole, table = scores.read_bytes(), pq.read_table(scores)
    scores.write_bytes(whole[: len(whole) // 2])
    assert "not a Parquet file, or a truncated one" in refused(run)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"format": b"1"}), scores)
    assert "the scores have format 1, this version reads 2" in refused(run)
    write_run(run, *random_run(0, num_videos=4)[:1], np.full(4, -1))
    assert "4 videos have no label" in refused(run)
    assert [path.name for path in run.iterdir()] == [SCORES_FILE]


def test_card_of_another_version_leaves_out_only_the_images(tmp_path):
    run = write_run(tmp_path, *random_run(0))
    (run / "card.json").write_text(json.dumps({"data": DATA | {"protocol": "other"}, "checkpoint": None}))
    main(["report", str(run), "--errors", "1"])
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "protocol is &#39;other&#39;; expected one of videoctx" in text
    assert "the card names no checkpoint" in text


def test_card_with_values_of_other_types_is_no_traceback(tmp_path):
    run = write_run(tmp_path, *random_run(0))
    card = {"folder": 5, "data": [1], "checkpoint": "a.ckpt", "network": ["a"], "context_off": {}}
    (run / "card.json").write_text(json.dumps(card))
    main(["report", str(run), "--errors", "1"])
    assert "the card names no checkpoint" in (run / "report.html").read_text(encoding="utf-8")
    (run / "card.json").write_text(json.dumps(card | {"data": {"frame_order": [], "manifest": 7}, "checkpoint": {}}))
    main(["report", str(run), "--errors", "1"])

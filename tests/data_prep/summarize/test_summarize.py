"""The page about a data set: its contents, the frames that it shows, and that names in the data cannot inject code."""

import base64
import csv
import io
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.inspect_videos import __main__ as inspect_videos
from data_prep.summarize import __main__ as summarize
from data_prep.summarize.contact_sheets import GAP_PX, Segment, contact_sheet
from tests.http_server import FileServer
from tests.numbered import read_number, write_video
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage.local_files import LocalFiles

HOSTILE = ["<script>alert(1)</script>", "\"quoted\" & 'so' {{ 7 * 7 }}", "naïve 動画", "\u202eback", "never seen"]
VOID = {"meta", "img", "link", "br", "rect"}


class Page(HTMLParser):
    """What a page has; a tag that is not closed where it should be is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag}: an attribute twice"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    def of(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row[0] == first)


def write(manifest: Path, rows, *, header="path,label,split,start_seconds,end_seconds", classes=HOSTILE) -> Path:
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    if classes:
        manifest.with_name("classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    return manifest


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Numbered videos whose classes and names would like to be more than text, and two files that are no videos."""
    folder = tmp_path_factory.mktemp("data<b>set")
    for index in range(3):
        write_video(folder / f"{index}.mp4", num_frames=40 + 20 * index, fps=20)
    write_video(folder / '<img src=x onerror="alert(1)">.webm', num_frames=20, fps=10, codec="libvpx", options={})
    (folder / "-empty.mp4").touch()
    (folder / "text & more.mp4").write_text("no video")
    rows = [
        ["0.mp4", HOSTILE[0], "train", "", ""],
        ["0.mp4", HOSTILE[0], "test", "1", ""],
        ["1.mp4", f"{HOSTILE[1]}|{HOSTILE[2]}", "train", "", ""],
        ["2.mp4", HOSTILE[3], "train", "1", "3"],
        ['<img src=x onerror="alert(1)">.webm', HOSTILE[0], "<i>odd</i>", "", ""],
        ["-empty.mp4", HOSTILE[2], "train", "", ""],
        ["text & more.mp4", "", "test", "", ""],
    ]
    manifest = write(folder / "manifest.csv", rows)
    assert inspect_videos.main([str(manifest), "--workers=1"]) == 1
    return manifest


@pytest.fixture(scope="module")
def page(data_set):
    assert summarize.main([str(data_set), "--workers=1"]) == 0
    return Page(data_set.with_name("summary.html"))


def test_classes_and_splits_are_counted(page):
    assert page.row("class") == ["class", "train", "test", "<i>odd</i>", "all"]
    assert page.row(HOSTILE[0])[1:] == ["1", "1", "1", "3"]
    assert page.row(HOSTILE[1])[1:] == page.row("\\u202eback")[1:] == ["1", "0", "0", "1"]
    assert page.row(HOSTILE[2])[1:] == ["2", "0", "0", "2"]
    assert page.row("never seen")[1:] == ["0", "0", "0", "0"]
    assert page.row("(no label)")[1:] == ["0", "1", "0", "1"]
    assert [row for row in page.rows if row[0] == "rows"] == [["rows", "7"], ["rows", "4", "2", "1", "7"]]


def test_durations_sizes_and_rates(page):
    """Rows last 2, 1 (of a segment to the end), 3, 2 (of a segment) and 2 seconds."""
    assert page.row("1 to 2")[1] == "1"
    assert page.row("2 to 3")[1] == "3"
    assert page.row("3 to 5")[1] == "1"
    assert page.row("112×80")[1] == "4"
    assert page.row("20")[1] == "3"
    assert page.row("10")[1] == "1"
    assert page.row("h264")[1] == "3"
    assert page.row("seconds per row")[1] == "1.0 to 3.0, half of them up to 2.0"


def test_problems_and_duplicates_are_listed(page):
    assert page.row("7")[1:] == ["train", HOSTILE[2], "-empty.mp4", "the file is empty"]
    assert page.row("8")[3] == "text & more.mp4"
    assert page.row("videos that occur in more than one split")[1] == "1"
    assert [row[1:6] for row in page.rows if row[0] == "1" and len(row) == 7] == [
        ["yes", "same file", "2", "train", HOSTILE[0]],
        ["yes", "same file", "3", "test", HOSTILE[0]],
    ]


def test_names_are_shown_as_text_and_nothing_comes_from_elsewhere(page, data_set):
    assert not page.of("script", "iframe", "object", "link", "b", "i", "form")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes or attributes["src"].startswith("data:image/jpeg;base64,")
        assert attributes.get("href", "#").startswith("#")
    assert "49" not in page.row(HOSTILE[1])[0]
    assert "url(" not in data_set.with_name("summary.html").read_text()
    (policy,) = (meta["content"] for meta in page.of("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_the_page_can_be_read_by_everybody(page):
    (html,) = page.of("html")
    assert html["lang"] == "en"
    assert [meta["content"] for meta in page.of("meta") if meta.get("name") == "viewport"]
    assert all(heading["scope"] in ("row", "col") for heading in page.of("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in page.of("a")} <= set(ids)
    images = page.of("img")
    assert len(images) == 5
    assert all("frames of a video of class" in image["alt"] for image in images)
    for image in images:
        sheet = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        assert (str(sheet.width), str(sheet.height)) == (image["width"], image["height"])


@pytest.mark.parametrize(("segment", "numbers"), [((), [10, 30, 50, 70]), ((1.0, 3.0), [25, 35, 45, 55])])
def test_a_contact_sheet_shows_the_segment(data_set, segment, numbers):
    made = contact_sheet(
        Segment(str(data_set.with_name("2.mp4")), *segment), num_frames=4, height_px=96, files=LocalFiles()
    )
    sheet = np.asarray(Image.open(io.BytesIO(made.jpeg)))
    width = (sheet.shape[1] + GAP_PX) // 4
    assert [read_number(sheet[:, index * width : (index + 1) * width - GAP_PX]) for index in range(4)] == numbers
    assert made.seconds == tuple(number / 20 for number in numbers)


def test_a_segment_after_the_end(data_set):
    late = Segment(str(data_set.with_name("0.mp4")), 100.0)
    with pytest.raises(VideoDecodeError, match="starts at 100 s, and the video ends before"):
        contact_sheet(late, num_frames=4, height_px=96, files=LocalFiles())


def test_what_is_not_known_is_stated_and_what_cannot_be_shown_is_listed(tmp_path, capsys, data_set):
    rows = [["missing.mp4", "clap", "train"], ["2.mp4", "clap", "train"]]
    manifest = write(tmp_path / "manifest.csv", rows, header="path,label,split", classes=["clap", "wave"])
    (tmp_path / "2.mp4").symlink_to(data_set.with_name("2.mp4"))
    output = tmp_path / "new folder" / "page.html"
    assert summarize.main([str(manifest), f"--output={output}", "--workers=1"]) == 1
    assert "missing.mp4: " in capsys.readouterr().err
    page = Page(output)
    assert "2 of 2 rows have not been inspected" in page.text
    assert "Cannot be shown" in page.text
    assert "there is no duplicates.csv" in page.text
    assert "Nothing is known about the files" in page.text
    assert len(page.of("img")) == 1
    assert [path.name for path in output.parent.iterdir()] == ["page.html"]


def test_labels_that_the_class_file_lacks(tmp_path):
    manifest = write(tmp_path / "manifest.csv", [["a.mp4", "jump", "train"]], header="path,label,split")
    assert summarize.main([str(manifest), "--videos_per_class=0"]) == 0
    assert "Labels that are not in classes.txt: jump" in Page(tmp_path / "summary.html").text


def test_numbers_of_videos_and_frames(data_set, tmp_path):
    output = tmp_path / "page.html"
    options = ["--videos_per_class=1", "--frames_per_video=2", "--workers=1"]
    assert summarize.main([str(data_set), f"--output={output}", *options]) == 0
    images = Page(output).of("img")
    assert len(images) == 4
    assert all(image["alt"].startswith("2 frames") for image in images)


def test_a_url(tmp_path, data_set):
    with FileServer({"a.mp4": data_set.with_name("0.mp4").read_bytes()}) as server:
        manifest = write(tmp_path / "manifest.csv", [[server.url("a.mp4"), "", "test"]], header="path,label,split")
        assert summarize.main([str(manifest), "--workers=1", f"--cache_dir={tmp_path / 'cache'}"]) == 0
    assert len(Page(tmp_path / "summary.html").of("img")) == 1


def test_errors_are_one_line(tmp_path, capsys, data_set):
    empty = write(tmp_path / "empty.csv", [], header="path,label,split")
    alien = write(tmp_path / "manifest.csv", [["a", "b", "train"]], header="path,label,split", classes=[])
    cases = {
        "no rows": [str(empty)],
        "cannot read the manifest": [str(tmp_path / "none.csv")],
        "--frames_per_video is 0; expected at least 1": [str(data_set), "--frames_per_video=0"],
        "--videos_per_class is -1; expected at least 0": [str(data_set), "--videos_per_class=-1"],
        "is a folder; expected the name of a file": [str(data_set), f"--output={tmp_path}", "--videos_per_class=0"],
        "duplicates.csv: the header lacks": [str(alien), "--videos_per_class=0"],
    }
    (tmp_path / "duplicates.csv").write_text("a,b\n")
    for reason, arguments in cases.items():
        assert summarize.main(arguments) == 2, reason
        printed = capsys.readouterr().err
        assert reason in printed
        assert printed.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))

"""Tests that a manifest read as columns has the same rows, records and errors as one that is read row by row."""

import csv
import io
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.each_case import each_case
from tests.reference.manifest_row_by_row import records_of, rows_of
from videoctx.data.annotations import (
    AnnotationError,
    VideoRecord,
    VideoRecords,
    csv_table,
    read_manifest,
    read_table,
    video_records,
)
from videoctx.data.annotations.csv_table import SPACE
from videoctx.data.annotations.label_conflicts import LabelsOfSegments, label_conflict
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.decoding_processes import DecodingProcesses
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.storage.locations import resolve, resolve_all

CLASSES = ["run", "walk", "caf\xe9"]
PLAIN = {"path": "a.mp4", "label": "run", "split": "train"}
NUMBERS = ["", "0", "-0.0", "1.5", "2", "1e1", "1_0", "\uff11", "+1", ".5", "nan", "inf", "1e400", "-1", "0x1", "soon"]
CELLS = {  # ordinary ones first, then what is treated in a way of its own
    "path": [
        *("a.mp4", "b.mp4", "./a.mp4", "x/../a.mp4", "/v/a.mp4", "//a.mp4", "x/", "..", "tar://a.mp4::t.tar"),
        *("tar://a.mp4::./t.tar", "s3://b/a.mp4", "file:///v/a.mp4", "a\0b", "a\nb.mp4", "\ufeffa.mp4", "", "\u3000a"),
    ],
    "label": ["run", "walk", "cafe\u0301", "", "Run", "run|walk", "walk | run", "|", " run", "jog\x1c", 'a "b", c'],
    "split": ["train", "test", "Train", "", "\ttrain"],
    "start_seconds": NUMBERS,
    "end_seconds": NUMBERS,
    "weight": NUMBERS,
    "size_bytes": ["", "100", "1e3", "x"],
    "decoders": ["sparse decord pyav", "", "a\tb"],
    "num_frames": ["10", *NUMBERS],
    "fps": ["30", *NUMBERS],
    "problem": ["", "no frame"],
    "video_stream": NUMBERS,
    "note": ["", "two\r\nlines", "a, b"],
}


@st.composite
def manifests(draw):
    """Bytes of a manifest: mostly ordinary rows, and oddities of cells, rows, line ends and encoding."""
    optional = draw(st.lists(st.sampled_from([name for name in CELLS if name not in PLAIN]), unique=True))
    columns = draw(st.permutations([*PLAIN, *optional]))
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerow(columns)
    for _ in range(draw(st.integers(0, 12))):
        odd = draw(st.sets(st.sampled_from(columns), max_size=2))
        row = [draw(st.sampled_from(CELLS[name])) if name in odd else PLAIN.get(name, "") for name in columns]
        if "path" not in odd:
            row[columns.index("path")] = f"{draw(st.integers(0, 30))}.mp4"
        writer.writerow(draw(st.sampled_from([row] * 20 + [row[1:], [*row, "x"]])))
        text.write(draw(st.sampled_from([""] * 20 + [end, " " + end, 'a"b,run,train' + end, '"'])))
    data = text.getvalue().encode()
    data = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + data
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from([b""] * 20 + [b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"])) + data[at:]


def outcome(read):
    """Return what `read` returns, or the message of its error."""
    try:
        return read()
    except ValueError as error:
        message = str(error)
        return "the header" if "the header" in message else message  # its messages have tests of their own


def as_text(records):
    return [repr(record) for record in records]  # in which -0.0 is not 0.0


@settings(max_examples=80, deadline=None)
@given(
    manifests(),
    st.sampled_from([1, 60, 2**20]),
    st.sampled_from([None, "data", "s3://bucket/x", "file:///v", "..", "x/../y"]),
    st.booleans(),
    st.booleans(),
)
def test_columns_have_the_records_and_errors_of_rows(
    tmp_path_factory, data, block_bytes, root, labels_required, multi_label
):
    file = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    file.write_bytes(data)
    options = {"split": "train", "root": root, "labels_required": labels_required, "multi_label": multi_label}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_table, "BLOCK_BYTES", block_bytes)
        patch.setattr(csv_table, "ROWS_AT_ONCE", 3)
        patch.setattr(video_records, "ROWS_AT_ONCE", 3)
        expected = outcome(lambda: as_text(records_of(file, CLASSES, **options)))
        found = outcome(lambda: as_text(read_manifest(file, CLASSES, **options)))
        if not (isinstance(found, str) and "splits" in found and "differ only" in found):  # not in the reference
            assert found == expected
        columns_and_rows = outcome(lambda: rows_of(file))
        table = outcome(lambda: read_table(file, refuse_bad_rows=False))
        if isinstance(columns_and_rows, str) or isinstance(table, str):
            assert table == columns_and_rows or table == "the header"
        else:
            columns, rows, lines, bad_rows = columns_and_rows
            assert (list(table.columns), list(table.rows), table.lines) == (columns, rows, lines)
            assert table.rows[-1] == rows[-1]
            assert {line: table.bad_rows[line] for line in bad_rows} == bad_rows


def test_space_is_what_strip_removes():
    assert "".join(filter(str.isspace, map(chr, range(sys.maxunicode + 1)))) == SPACE


# ---------------------------------------------------------------- which way a file is read

PLAIN_FILE = "path,label,split\n" + "".join(f"{number}.mp4,run,train\n" for number in range(9))
NOT_PLAIN = {
    "a quotation mark in a bare cell": PLAIN_FILE + 'a"b.mp4,run,train\n',
    "text after a quoted cell": PLAIN_FILE + '"a"b.mp4,run,train\n',
    "a line end in a quoted cell": PLAIN_FILE + '"a\n.mp4",run,train\n',
    "an open quotation mark": PLAIN_FILE + '"a.mp4,run,train\n',
    "carriage returns": PLAIN_FILE.replace("\n", "\r\n"),
    "blank line": PLAIN_FILE.replace("\n3", "\n\n3"),
    "ragged row": PLAIN_FILE + "a.mp4,run\n",
    "another byte order mark": PLAIN_FILE + "\ufeffa.mp4,run,train\n",
    "zero byte": PLAIN_FILE + "a\0.mp4,run,train\n",
    "long cell": PLAIN_FILE + f"{'x' * csv.field_size_limit()},run,train\n",
}


def test_a_plain_file_is_read_without_the_csv_module(tmp_path, monkeypatch):
    file = tmp_path / "manifest.csv"
    file.write_text("\ufeff" + PLAIN_FILE + "caf\xe9.mp4,run,train", encoding="utf-8")
    monkeypatch.setattr(csv_table.CsvFile, "_other_chunks", lambda *_: pytest.fail("read by the csv module"))
    assert len(read_manifest(file, CLASSES, split="train")) == 10


def test_a_file_of_quoted_cells_is_read_without_the_csv_module(tmp_path, monkeypatch):
    file = tmp_path / "manifest.csv"
    rows = [["path", "label", "split"], ['the "one", a.mp4', "run", "train"], ['"', "", "train"], [",", "run", "train"]]
    with file.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    monkeypatch.setattr(csv_table.CsvFile, "_other_chunks", lambda *_: pytest.fail("read by the csv module"))
    table = read_table(file)
    assert [list(row.values()) for row in table.rows] == rows[1:]
    assert table.lines == [2, 3, 4]


@each_case("text", NOT_PLAIN.values())
def test_the_csv_module_reads_the_rest_of_another_file(tmp_path, monkeypatch, text):
    file = tmp_path / "manifest.csv"
    file.write_bytes(text.encode())
    monkeypatch.setattr(csv_table, "BLOCK_BYTES", 1)
    starts = []
    read = csv_table.CsvFile._other_chunks
    monkeypatch.setattr(
        csv_table.CsvFile, "_other_chunks", lambda self, start, *rest: starts.append(start) or read(self, start, *rest)
    )
    outcome(lambda: read_manifest(file, CLASSES, split="train"))
    assert len(starts) == 1


def test_the_rows_of_all_splits_are_compared_once_until_the_file_changes(tmp_path, monkeypatch):
    compared = []
    add = LabelsOfSegments.add
    monkeypatch.setattr(LabelsOfSegments, "add", lambda self, *rows: compared.append(1) or add(self, *rows))
    file = tmp_path / "manifest.csv"
    file.write_text("path,label,split\na.mp4,run,train\nb.mp4,run,val\n")
    for split in ("train", "val", "train"):
        assert len(read_manifest(file, CLASSES, split=split)) == 1
    assert len(compared) == 1
    read_manifest(file, CLASSES, split="val", root="elsewhere")
    assert len(compared) == 2  # other files
    file.write_text("path,label,split\na.mp4,run,train\na.mp4,walk,val\n")
    for split in ("train", "val"):
        with pytest.raises(AnnotationError, match=r"line 3: .*expected one label for a path"):
            read_manifest(file, CLASSES, split=split)


# ---------------------------------------------------------------- parts

PATHS = [
    *("a.mp4", "./a.mp4", "x//a.mp4", "x/./a.mp4", "x/../a.mp4", "a.mp4/", ".", "..", "../a", "/v/a", "//v/a", ".h/a"),
    *(
        "tar://m::t.tar",
        "tar://m::./t.tar",
        "tar://m::/v/t.tar",
        "tar://m",
        "tar://a::tar://b::t.tar",
        "s3://b/x",
        "a b",
    ),
]


@each_case("root", ["data", "data/", ".", "", "/", "//v", "..", "x/../y", "s3://b", "s3://b/", "file:///v"])
def test_many_paths_are_resolved_as_one(root):
    for path in PATHS:
        assert resolve_all(root, [path]) == [resolve(root, path)]
        assert resolve_all(root, ["a.mp4", path]) == [resolve(root, "a.mp4"), resolve(root, path)]


def test_only_rows_of_segments_with_two_labels_are_looked_at_again(tmp_path):
    rows = [{"path": f"{i}.mp4", "label": "run", "split": "train", "end_seconds": "9"} for i in range(100)]
    rows[70] = {**rows[20], "path": "x/../20.mp4", "label": "walk", "end_seconds": "9.0"}
    rows[80] = {**rows[30], "label": "walk", "end_seconds": "8"}  # another segment
    file = tmp_path / "manifest.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    segments = LabelsOfSegments(tmp_path)
    for chunk in csv_table.CsvFile(file, list(rows[0]), kind="manifest").chunks():
        segments.add(chunk.cells, chunk.lines)
    assert segments.suspicious_lines() == {22, 72}
    assert label_conflict(((line, rows[line - 2]) for line in (22, 72)), tmp_path)[0] == 72


RECORDS = [
    VideoRecord("a.mp4", 1, "train"),
    VideoRecord("\udcff/b.mp4", None, "test", 0.0, 2.5, 0.5, video_records.ProbeResult(7, (), 0, 0.0, True, "bad", 0)),
    VideoRecord("c.mp4", 0, "train", None, 1.0, 2.0, video_records.ProbeResult(9, ("pyav",), 3, 29.97)),
]


def test_records_survive_being_columns():
    columns = VideoRecords.of(RECORDS)
    assert list(columns) == RECORDS == columns[:] == [columns[index] for index in range(3)]
    assert columns == RECORDS
    assert columns != RECORDS[:2]
    assert columns[-1] == RECORDS[-1]
    assert VideoRecords.of(columns) is columns
    assert pickle.loads(pickle.dumps(columns)) == RECORDS
    assert (columns.class_indices.tolist(), columns.weights.tolist()) == ([1, -1, 0], [1.0, 0.5, 2.0])
    assert (list(columns.paths()), columns.shown_classes()) == ([record.path for record in RECORDS], {0, 1})
    with pytest.raises(IndexError):
        columns[3]


def test_records_of_several_classes_survive_being_columns():
    shown = [(False, False, True), (False, False, False), (True, False, True)]
    records = [VideoRecord(f"{index}.mp4", label, "train") for index, label in enumerate(shown)]
    assert VideoRecords.of(records) == records
    assert VideoRecords.of(records).shown_classes() == {0, 2}


# ---------------------------------------------------------------- memory


def test_a_process_is_not_sent_the_rows():
    records = [VideoRecord(f"videos/{index}.mp4", 0, "train") for index in range(5000)]
    dataset = VideoDataset(
        VideoRecords.of(records), sampler=RandomClips(shape=ClipShape(clip_len=8, frame_interval=8)), seed=0
    )
    processes = DecodingProcesses(dataset.clip_decoder, num_processes=2, deadline_seconds=9)
    assert len(pickle.dumps(processes.clip_decoder)) < 2000
    assert len(pickle.dumps(dataset.records[7])) < 500


def test_a_row_takes_little_memory(tmp_path):
    file = tmp_path / "manifest.csv"
    columns = "path,label,split,start_seconds,end_seconds,size_bytes,decoders,num_frames,fps"
    file.write_text(
        columns + "\n" + "".join(f"{number:05}.mp4,run,train,,,9,pyav,3,30\n" for number in range(20_000)),
    )
    records = read_manifest(file, CLASSES, split="train")
    assert len(pickle.dumps(records)) < 100 * len(records)
    assert np.array_equal(records.class_indices, np.zeros(20_000))

"""One page that shows what is in a data set: to be looked at before training, or sent to somebody.

    python -m data_prep.summarize k400/manifest.csv
    python -m data_prep.summarize k400/manifest.csv --output k400.html --videos_per_class 5

Rows of each class and split, durations, resolutions, frame rates, codecs, a few frames of a few videos of each class,
problems, and duplicates. What of this is known depends on `data_prep.inspect_videos`, which should have been run; the
page says where it has not.

The page is one HTML file with all its pictures: it needs no network, and nothing in it comes from elsewhere. It is made
of summary.html.j2 with Jinja (https://jinja.palletsprojects.com), which escapes whatever a class or file is called.

Exit status: 0; 1 if some videos could not be shown; 2 if nothing was written; 130 if interrupted.
"""

import base64
import csv
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jsonargparse import auto_cli

from data_prep.command_line.flag_parser import FlagParser
from data_prep.command_line.printable_text import printable
from data_prep.inspect_videos.duplicates import DUPLICATES_FILE
from data_prep.manifests.manifest_rows import ManifestRows, read_rows
from data_prep.scheduling.run_each import Failure, SchedulerError, run_each
from data_prep.summarize.contact_sheets import ContactSheet, Stretch, contact_sheet
from videoctx.data.annotations import CLASS_FILE, LABEL_SEPARATOR, AnnotationError, read_classes
from videoctx.data.storage.local_files import LocalFiles, StorageError
from videoctx.data.storage.locations import resolve

TEMPLATE = Path(__file__).with_name("summary.html.j2")
SHEET_HEIGHT_PX = 96
MOST_LISTED = 500  # rows of the page's tables of problems and duplicates
MOST_VALUES = 12  # of a chart
DURATION_EDGES = (0, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 3600)  # seconds
SHORT_SIDE_EDGES = (0, 120, 180, 240, 360, 480, 720, 1080, 2160)  # pixels
UNLABELLED = "(no label)"


@dataclass(slots=True)
class Sheet:
    """A picture of the page, or why there is none."""

    path: str
    split: str
    stretch: str
    data: str = ""  # base64
    width: int = 0
    height: int = 0
    alt: str = ""
    reason: str = ""


@dataclass(slots=True)
class ClassOfPage:
    name: str
    number: int
    counts: list[int]  # of each split
    sheets: list[Sheet] = field(default_factory=list)


def summarize(
    manifest: Path,
    *,
    output: Path | None = None,
    root: str | None = None,
    videos_per_class: int = 3,
    frames_per_video: int = 4,
    workers: int | None = None,
    scheduler: str | None = None,
    cache_dir: Path | None = None,
    max_cache_bytes: float = 50e9,
) -> int:
    """Write one HTML page that shows what is in a data set.

    Args:
        manifest: The manifest, best after inspect_videos.
        output: The page to write, by default summary.html beside the manifest.
        root: What relative paths in the manifest start from, by default its own folder.
        videos_per_class: Videos of each class of which frames are shown.
        frames_per_video: Frames of each.
        workers: Processes; by default one a core.
        scheduler: Run on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers see the same files.
        cache_dir: Where videos from URLs are kept, by default in the system's temporary folder.
        max_cache_bytes: Of the videos kept there.

    Raises:
        AnnotationError: the manifest or a setting cannot be used.
    """
    for name, value, least in (("videos_per_class", videos_per_class, 0), ("frames_per_video", frames_per_video, 1)):
        if value < least:
            raise AnnotationError(f"--{name} is {value}; expected at least {least}")
    output = manifest.with_name("summary.html") if output is None else output
    table = read_rows(manifest)
    class_file = manifest.with_name(CLASS_FILE)
    named = read_classes(class_file) if class_file.exists() else []
    rows_of_class = _rows_of_classes(table.rows, named)
    splits = list(dict.fromkeys(row["split"] for row in table.rows))
    classes = [
        ClassOfPage(name, number, [Counter(row["split"] for row in rows)[split] for split in splits])
        for number, (name, rows) in enumerate(rows_of_class.items(), 1)
    ]
    chosen = [_choose(rows, videos_per_class) for rows in rows_of_class.values()]
    root = str(manifest.parent) if root is None else root
    stretch_of = {id(row): _stretch(row, root) for rows in chosen for row in rows}
    sheets = _make_sheets(
        list(dict.fromkeys(stretch_of.values())),
        partial(
            contact_sheet,
            num_frames=frames_per_video,
            height_px=SHEET_HEIGHT_PX,
            files=LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes)),
        ),
        workers=workers,
        scheduler=scheduler,
    )
    for of_page, rows in zip(classes, chosen, strict=True):
        of_page.sheets = [_sheet(row, of_page.name, sheets[stretch_of[id(row)]]) for row in rows]
    page = _render(manifest, table, named, splits, classes)
    _write(output, page)
    failed = sorted(
        {f"{stretch.source}: {made.reason}" for stretch, made in sheets.items() if isinstance(made, Failure)}
    )
    for line in [f"{len(failed)} videos could not be shown:", *failed] if failed else []:
        print(printable(line), file=sys.stderr)
    print(f"{output}: {len(page.encode()) / 1e6:.1f} MB, {len(sheets) - len(failed)} videos of {len(classes)} classes")
    return 1 if failed else 0


def _rows_of_classes(rows: Sequence[Mapping[str, str]], named: Sequence[str]) -> dict[str, list[Mapping[str, str]]]:
    """Rows by class, in the order of the class file; then what is not in it, by name."""
    rows_of_class = {name: [] for name in named}
    others = defaultdict(list)
    for row in rows:
        label = row["label"]
        labels = [label] if label in rows_of_class else map(str.strip, label.split(LABEL_SEPARATOR))
        for one in labels:
            (rows_of_class[one] if one in rows_of_class else others[one or UNLABELLED]).append(row)
    return rows_of_class | dict(sorted(others.items()))


def _choose(rows: Sequence[Mapping[str, str]], most: int) -> list[Mapping[str, str]]:
    """Rows of different files that can be used, from all over the manifest."""
    usable = list({row["path"]: row for row in rows if not row.get("problem")}.values())
    num = min(most, len(usable))
    return [usable[int((place + 0.5) * len(usable) / num)] for place in range(num)]


def _stretch(row: Mapping[str, str], root: str) -> Stretch:
    return Stretch(resolve(os.path.abspath(root) if "://" not in root else root, row["path"]), *_seconds(row))


def _seconds(row: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Start and end of the stretch; what is no number counts as not given."""
    return _number(row.get("start_seconds", "")), _number(row.get("end_seconds", ""))


def _number(text: str) -> float | None:
    with suppress(ValueError):
        number = float(text)
        return number if 0 <= number < float("inf") else None
    return None


def _make_sheets(
    stretches: Sequence[Stretch],
    make: Callable[[Stretch], ContactSheet],
    *,
    workers: int | None,
    scheduler: str | None,
) -> dict[Stretch, ContactSheet | Failure]:
    if not stretches:
        return {}
    with closing(
        run_each(make, stretches, description="Contact sheets", workers=workers, scheduler=scheduler)
    ) as outcomes:
        return dict(outcomes)


def _sheet(row: Mapping[str, str], name: str, made: ContactSheet | Failure) -> Sheet:
    start, end = _seconds(row)
    given = start is not None or end is not None
    said = f", {start or 0:g} s to {'its end' if end is None else f'{end:g} s'}" if given else ""
    sheet = Sheet(row["path"], row["split"], said)
    if isinstance(made, Failure):
        sheet.reason = made.reason
        return sheet
    sheet.data = base64.b64encode(made.jpeg).decode()
    sheet.width, sheet.height = made.width, made.height
    at = ", ".join(f"{seconds:.1f}" for seconds in made.seconds)
    sheet.alt = f"{len(made.seconds)} frames of a video of class {name}, at {at} seconds"
    return sheet


def _render(
    manifest: Path,
    table: ManifestRows,
    named: Sequence[str],
    splits: Sequence[str],
    classes: Sequence[ClassOfPage],
) -> str:
    rows = table.rows
    problems = [(line, row) for line, row in zip(table.lines, rows, strict=True) if row.get("problem")]
    num_inspected = sum(bool(row.get("size_bytes")) for row in rows)
    files = list({row["path"]: row for row in rows}.values())
    usable = [row for row in files if row.get("size_bytes") and not row.get("problem")]
    durations = [seconds for row in rows if (seconds := _duration(row)) is not None]
    duplicates = _read_duplicates(manifest.with_name(DUPLICATES_FILE))
    num_leaks = len({row["group"] for row in duplicates or () if row["leak"]})
    overview = [("rows", len(rows), False), ("files", len(files), False), ("classes", len(classes), False)]
    if durations:
        ordered = sorted(durations)
        middle = ordered[len(ordered) // 2]
        overview += [
            ("hours in all", f"{sum(durations) / 3600:.2f}", False),
            ("seconds a row", f"{ordered[0]:.1f} to {ordered[-1]:.1f}, half of them up to {middle:.1f}", False),
        ]
    overview.append(("rows whose file cannot be used", len(problems), bool(problems)))
    if duplicates is not None:
        overview += [
            ("videos that are there more than once", len({row["group"] for row in duplicates}), False),
            ("videos that are in more than one split", num_leaks, num_leaks > 0),
        ]
    warnings = []
    if num_inspected < len(rows):
        warnings.append(
            f"{len(rows) - num_inspected} of {len(rows)} rows have not been inspected:"
            f" run python -m data_prep.inspect_videos {manifest.name}"
        )
    unknown = [of_page.name for of_page in classes[len(named) :] if of_page.name != UNLABELLED]
    if named and unknown:
        warnings.append(f"Labels that are not in {CLASS_FILE}: {', '.join(unknown)}")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(TEMPLATE.name).render(
        title=f"Data set {manifest.resolve().parent.name}: {manifest.name}",
        overview=overview,
        warnings=warnings,
        splits=splits,
        rows_of_split=Counter(row["split"] for row in rows),
        classes=classes,
        charts=_charts(usable, durations),
        problems=problems,
        is_inspected=num_inspected == len(rows),
        duplicates=duplicates,
        duplicates_file=DUPLICATES_FILE,
        most_listed=MOST_LISTED,
    )


def _duration(row: Mapping[str, str]) -> float | None:
    """Seconds of the row's stretch, as far as the file has them."""
    start, end = _seconds(row)
    whole = None if row.get("problem") else _number(row.get("duration_seconds", ""))
    if end is None or (whole is not None and end > whole):
        end = whole
    return None if end is None else max(0.0, end - (start or 0.0))


def _charts(usable: Sequence[Mapping[str, str]], durations: Sequence[float]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Names and bars: values and how often they are there."""
    charts = [("Duration of a row, seconds", _binned(durations, DURATION_EDGES))] if durations else []
    sizes = [
        (width, height)
        for row in usable
        if (width := _number(row.get("width", ""))) and (height := _number(row.get("height", "")))
    ]
    if sizes:
        charts += [
            ("Shorter side of a file's picture, pixels", _binned([min(size) for size in sizes], SHORT_SIDE_EDGES)),
            ("Resolution of a file, pixels", _counted(f"{width:g}×{height:g}" for width, height in sizes)),
        ]
    rates = [rate for row in usable if (rate := _number(row.get("fps", "")))]
    if rates:
        charts.append(("Frame rate of a file, frames a second", _counted(f"{rate:.4g}" for rate in rates)))
    for name, column in (("Codec", "codec"), ("Container", "container"), ("Exact decoders", "decoders")):
        values = [row[column] for row in usable if row.get(column)]
        if values:
            charts.append((f"{name} of a file", _counted(values)))
    return charts


def _binned(values: Sequence[float], edges: Sequence[float]) -> list[tuple[str, int]]:
    """Bars from the first that is not empty to the last."""
    counts = [0] * len(edges)
    for value in values:
        counts[sum(value >= edge for edge in edges[1:])] += 1
    names = [f"{low} to {high}" for low, high in pairwise(edges)] + [f"{edges[-1]} and more"]
    full = [index for index, count in enumerate(counts) if count]
    return list(zip(names, counts, strict=True))[full[0] : full[-1] + 1]


def _counted(values: Iterable[str]) -> list[tuple[str, int]]:
    """The most frequent values, and how many others there are."""
    counted = Counter(values).most_common()
    shown = counted if len(counted) <= MOST_VALUES else counted[: MOST_VALUES - 1]
    left = sum(count for _, count in counted[len(shown) :])
    return [*shown, (f"{len(counted) - len(shown)} others", left)] if left else shown


def _read_duplicates(path: Path) -> list[dict[str, str]] | None:
    """Rows of duplicates.csv; None where there is none."""
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"group", "leak", "how", "line", "split", "label", "path"} - set(reader.fieldnames or ())
        if missing:
            raise AnnotationError(f"{path}: the header lacks {', '.join(sorted(missing))}; run inspect_videos again")
        return list(reader)


def _write(output: Path, page: str) -> None:
    """The page takes its name once it is whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".summarize-") as folder:
        whole = Path(folder) / "page.html"
        whole.write_text(page, encoding="utf-8")
        os.replace(whole, output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and return the exit status; an error is one line on the error stream."""
    try:
        return auto_cli(
            summarize,
            args=arguments,
            parser_class=FlagParser,
            prog="python -m data_prep.summarize",
            epilog="example: python -m data_prep.summarize k400/manifest.csv --videos_per_class 5",
        )
    except (AnnotationError, SchedulerError, StorageError, OSError, ValueError) as error:
        print(f"summarize: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("summarize: interrupted; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    from data_prep.summarize.__main__ import main as main_by_name  # other processes know this module by its name only

    sys.exit(main_by_name())

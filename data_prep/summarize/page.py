"""The HTML page, made from a template."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.manifests.inspection_columns import DUPLICATES_FILE
from data_prep.summarize.charts import charts
from data_prep.summarize.classes import UNLABELED, Sheet
from data_prep.summarize.row_values import duration_seconds
from videoctx.data.annotations import CLASS_FILE, CsvTable, read_csv
from videoctx.terminal import printable

TEMPLATE = Path(__file__).with_name("summary.html.j2")
MOST_LISTED = 500  # rows of the page's tables of problems and duplicates
DUPLICATE_COLUMNS = ("group", "leak", "how", "line", "split", "label", "path")

Row = Mapping[str, str]


@dataclass(slots=True)
class ClassSection:
    """What the page shows of a class."""

    name: str
    number: int
    rows: Sequence[Row]
    sheets: list[Sheet]


def render_page(table: CsvTable, sections: Sequence[ClassSection], class_names: Sequence[str]) -> str:
    """Return the page.

    Args:
        table: the manifest.
        sections: one per class.
        class_names: those of the class file; empty if there is none.

    Raises:
        AnnotationError: the list of duplicates cannot be read.
    """
    rows = table.rows
    splits = list(dict.fromkeys(row["split"] for row in rows))
    problems = [(line, row) for line, row in zip(table.lines, rows, strict=True) if row.get("problem")]
    is_inspected = all(row.get("size_bytes") for row in rows)
    files = list({row["path"]: row for row in rows}.values())
    usable = [row for row in files if row.get("size_bytes") and not row.get("problem")]
    durations = [seconds for row in rows if (seconds := duration_seconds(row)) is not None]
    duplicates = _read_duplicates(table.file.with_name(DUPLICATES_FILE))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(TEMPLATE.name).render(
        title=f"Data set {table.file.resolve().parent.name}: {table.file.name}",
        overview=_overview(rows, len(files), len(sections), durations, len(problems), duplicates),
        warnings=_warnings(table, sections, class_names),
        splits=splits,
        rows_of_split=Counter(row["split"] for row in rows),
        classes=[
            {
                "name": section.name,
                "number": section.number,
                "counts": [Counter(row["split"] for row in section.rows)[split] for split in splits],
                "sheets": section.sheets,
            }
            for section in sections
        ],
        charts=charts(usable, durations),
        problems=problems,
        is_inspected=is_inspected,
        duplicates=duplicates,
        duplicates_file=DUPLICATES_FILE,
        most_listed=MOST_LISTED,
    )


def _overview(
    rows: Sequence[Row],
    num_files: int,
    num_classes: int,
    durations: Sequence[float],
    num_problems: int,
    duplicates: Sequence[Row] | None,
) -> list[tuple[str, object, bool]]:
    """Return name and value of each line, and whether it reports a problem."""
    overview: list[tuple[str, object, bool]] = [
        ("rows", len(rows), False),
        ("files", num_files, False),
        ("classes", num_classes, False),
    ]
    if durations:
        ordered = sorted(durations)
        middle = ordered[len(ordered) // 2]
        overview += [
            ("hours in total", f"{sum(durations) / 3600:.2f}", False),
            ("seconds per row", f"{ordered[0]:.1f} to {ordered[-1]:.1f}, half of them up to {middle:.1f}", False),
        ]
    overview.append(("rows whose file cannot be used", num_problems, num_problems > 0))
    if duplicates is not None:
        num_leaks = len({row["group"] for row in duplicates if row["leak"]})
        overview += [
            ("videos that occur more than once", len({row["group"] for row in duplicates}), False),
            ("videos that occur in more than one split", num_leaks, num_leaks > 0),
        ]
    return overview


def _warnings(table: CsvTable, sections: Sequence[ClassSection], class_names: Sequence[str]) -> list[str]:
    warnings = []
    num_left = sum(not row.get("size_bytes") for row in table.rows)
    if num_left:
        warnings.append(
            f"{num_left} of {len(table.rows)} rows have not been inspected:"
            f" run python -m data_prep.inspect_videos {table.file.name}"
        )
    unknown = [section.name for section in sections[len(class_names) :] if section.name != UNLABELED]
    if class_names and unknown:
        warnings.append(f"Labels that are not in {CLASS_FILE}: {', '.join(unknown)}")
    return warnings


def _read_duplicates(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of duplicates.csv, or None if it does not exist."""
    if not path.exists():
        return None
    return list(read_csv(path, DUPLICATE_COLUMNS, kind="list of duplicates", may_be_empty=True).rows)

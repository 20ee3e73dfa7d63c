"""Which part may import which other part and which library; sizes and names of files.

`PARTS` is the table of `.github/CONTRIBUTING.md`, and the imports of every file are held against it.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 90  # lines, with its docstring
NAMED_AFTER_NOTHING = {"utils", "helpers", "common", "misc", "core", "engine", "builder", "registry"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One row of the table."""

    what: str
    imports: tuple[str, ...] = ()  # parts above this one in the table
    libraries: tuple[str, ...] = ()  # third parties that any of its files may import; all may import torch
    in_files: dict[str, tuple[str, ...]] = field(default_factory=dict)  # third party: its files that may import it

    def row(self, name: str) -> str:
        """Return the row of CONTRIBUTING's table."""
        some = [f"{library} (`{'`, `'.join(files)}`)" for library, files in self.in_files.items()]
        imports = ", ".join(f"`{part}`" for part in self.imports)
        return f"| `{name}` | {self.what} | {imports or '–'} | {', '.join([*self.libraries, *some]) or '–'} |"


# Folder of data_prep: other folders of data_prep that it may import, third parties. A command imports no other command.
SHARED_BY_COMMANDS = {"command_line", "manifests", "scheduling", "synthetic"}
DATA_PREP = {
    "command_line": (set(), {"jsonargparse", "rich"}),
    "manifests": ({"command_line"}, set()),
    "scheduling": ({"command_line"}, {"distributed", "pebble"}),
    "synthetic": (set(), {"av", "numpy", "rich"}),
    "write_annotations": (SHARED_BY_COMMANDS, {"rich"}),
    "transcode": (SHARED_BY_COMMANDS, {"av", "numpy"}),
    "inspect_videos": (SHARED_BY_COMMANDS, {"PIL", "av", "filelock", "imagehash", "numpy", "rich"}),
    "summarize": (SHARED_BY_COMMANDS, {"PIL", "jinja2", "numpy"}),
    "write_shards": (SHARED_BY_COMMANDS, {"filelock", "rich", "webdataset"}),
    "download_kinetics": (SHARED_BY_COMMANDS, {"filelock", "tenacity"}),
    "make_toy_dataset": (SHARED_BY_COMMANDS, {"numpy"}),
    "make_relations_dataset": (SHARED_BY_COMMANDS, {"numpy"}),
}

# A part may import only parts above it, so no arrow goes up and none goes round. All may import the floor.
FLOOR = (
    *("first_few", "atomic_write", "interrupts", "user_error", "value_message", "private_folder", "terminal"),
    "printed_tables",
)
PARTS = {
    "first_few": Part(what="the first few of many names, for messages"),
    "atomic_write": Part(what="the one way to write a file"),
    "interrupts": Part(what="Ctrl-C is one line and exit status 130 at any moment"),
    "user_error": Part(what="errors that the command line reports in one line"),
    "value_message": Part(what="what a parser reports of a value that it refuses, as one short line"),
    "private_folder": Part(what="the folder for caches, which other users cannot write to"),
    "terminal": Part(what="what is printed: escapes for control characters, any encoding, closed pipes"),
    "printed_tables": Part(what="rich's console, whose text is made printable", libraries=("rich",)),
    "shipped_configs": Part(
        what="the configs of `configs/`, found by name in a checkout and in an installation",
        libraries=("yaml",),
    ),
    "layers": Part(what="context blocks and convolutions, one idea per file"),
    "models": Part(
        what="networks; building from a config, inferring from weights; other projects' checkpoints; complexity",
        imports=("shipped_configs", "layers"),
        in_files={"yaml": ("stored_config.py",), "pytorchvideo": ("pytorchvideo_layers.py",)},
    ),
    "batch": Part(what="`ClipBatch`: what data hands to tasks"),
    "contract": Part(what="`TaskData`: what a task may ask of a data module", imports=("batch",)),
    "data": Part(
        what="from file to clip on the device: annotations, decoding, sampling, loading, transforms, the data module",
        imports=("batch",),
        libraries=("numpy", "torchvision.transforms.v2"),
        in_files={
            "lightning": ("datamodule.py", "trainer_state.py"),
            "pyarrow": ("csv_table.py", "label_conflicts.py", "manifest.py", "record_columns.py", "video_records.py"),
            "pebble": ("decoding_processes.py", "loader.py"),
            "decord": ("decord_reader.py",),
            "torchcodec": ("torchcodec_reader.py", "nvdec_reader.py"),
            "av": (
                "area_scaling.py",
                "pyav_versions.py",
                "pyav_reader.py",
                "containers.py",
                "display_matrix.py",
                "packets.py",
                "packet_list.py",
                "sparse_reader.py",
                "sparse_rule.py",
                "video_stream.py",
                "yuv_frames.py",
                "frame_collector.py",
            ),
            "PIL": ("image_pixels.py",),
            "fsspec": ("remote.py",),
            "aiohttp": ("remote.py", "public_addresses.py"),
            "tenacity": ("remote.py",),
        },
    ),
    "evaluation": Part(
        what="scores, metrics, intervals, comparison, report: knows no network and no video format",
        imports=("batch",),
        libraries=("jinja2", "markupsafe", "matplotlib", "numpy", "pyarrow", "scipy", "torchmetrics"),
        in_files={"rich": ("fitted_table.py", "tables.py"), "yaml": ("resumed_trainings.py",)},
    ),
    "tasks": Part(
        what="the LightningModule and the callbacks",
        imports=("models", "batch", "contract", "evaluation"),
        libraries=("lightning",),
    ),
    "visualize": Part(
        what="attention, Grad-CAM, receptive fields, overlays",
        imports=("layers", "data"),
        libraries=("av", "matplotlib", "numpy"),
    ),
    "inference": Part(
        what="a trained network at work: one video, many, long, live, exported; `load` returns its `Classifier`",
        imports=("layers", "models", "batch", "data", "evaluation", "visualize"),
        libraries=("PIL", "av", "matplotlib", "numpy"),
        in_files=dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), ("exported_file.py",)),
    ),
    "app": Part(
        what="the local page: thin over `inference` and `visualize`",
        imports=("data", "evaluation", "visualize", "inference"),
        libraries=("PIL", "matplotlib", "numpy"),
        in_files={"starlette": ("server.py", "serving.py"), "uvicorn": ("serving.py",)},
    ),
    "bench": Part(
        what="measurements of speed and memory",
        imports=("layers", "models", "data"),
        libraries=("numpy", "psutil", "rich"),
        in_files={
            "av": ("synthetic_videos.py",),
            "decord": ("bare_decoding.py",),
            "torchcodec": ("torchcodec_peer.py",),
            "spdl": ("spdl_peer.py",),
            "pytorchvideo": ("pytorchvideo_peer.py", "pytorchvideo_network.py"),
        },
    ),
    "cli": Part(
        what="the commands, one file each: parse, call, print",
        imports=(
            *("shipped_configs", "models", "data", "evaluation", "tasks"),
            *("visualize", "inference", "app", "bench"),
        ),
        libraries=("jsonargparse", "lightning", "rich", "yaml"),
    ),
    "__main__": Part(what="`python -m videoctx`", imports=("cli",)),
    "__init__": Part(
        what="the public face, lazy: imports a part when one of its names is used",
        imports=("models", "data", "tasks", "inference"),
    ),
    "data_prep": Part(
        what="commands that prepare data sets, one folder per command",
        imports=("data",),
        libraries=tuple(sorted(set.union(*(libraries for _, libraries in DATA_PREP.values())), key=str.lower)),
    ),
}


def imports(file: Path) -> set[str]:
    """Return the dotted names of all modules and objects that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(module: str) -> str:
    """Return the part that a dotted name or a path with dots belongs to."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "videoctx" and rest else top


FILES = {
    path.relative_to(REPOSITORY).as_posix(): path
    for package in ("videoctx", "data_prep")
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}


def forbidden_imports(name: str) -> Iterator[str]:
    """Yield what a file imports and may not."""
    part = part_of(name.removesuffix(".py").replace("/", "."))
    if part not in PARTS:
        yield f"{name}: the table has no part {part!r}"
        return
    row = PARTS[part]
    for module in sorted(imports(FILES[name])):
        top = module.partition(".")[0]
        if top in ("videoctx", "data_prep"):
            if part_of(module) not in (*FLOOR, part, "__version__", *row.imports):
                yield f"{name} imports {module}"
        elif top in row.in_files:
            if not any(f"/{name}".endswith(f"/{file}") for file in row.in_files[top]):
                yield f"{name} imports {module}, which only {', '.join(row.in_files[top])} may"
        elif top not in sys.stdlib_module_names | {"torch"} and not any(
            f"{module}.".startswith(f"{library}.") for library in row.libraries
        ):
            yield f"{name} imports {module}"


def test_every_file_imports_only_what_its_part_may():
    found = [line for name in FILES for line in forbidden_imports(name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", DATA_PREP)
def test_a_folder_of_data_prep_imports_only_what_it_may(folder):
    folders, libraries = DATA_PREP[folder]
    for path in (REPOSITORY / "data_prep" / folder).rglob("*.py"):
        for module in imports(path):
            top, _, rest = module.partition(".")
            if top == "data_prep":
                assert rest.partition(".")[0] in folders | {folder}, f"{path} imports {module}"
            elif top != "videoctx":
                assert top in sys.stdlib_module_names | libraries, f"{path} imports {module}"


def test_every_folder_of_data_prep_has_its_rule():
    assert {path.parent.name for path in (REPOSITORY / "data_prep").glob("*/__init__.py")} == set(DATA_PREP)


def test_no_part_imports_a_part_below_it():
    names = list(PARTS)
    upward = [
        f"{name} → {other}"
        for name in names
        for other in PARTS[name].imports
        if names.index(other) >= names.index(name)
    ]
    assert not upward, f"a part may import only those above it in the table: {upward}"


def test_every_right_of_the_table_is_used():
    unused = []
    for part, row in PARTS.items():
        used = {
            module
            for name in FILES
            if part_of(name.removesuffix(".py").replace("/", ".")) == part
            for module in imports(FILES[name])
        }
        parts = {part_of(module) for module in used}
        unused += [f"{part} → {other}" for other in row.imports if part != "__init__" and other not in parts]
        unused += [
            f"{part} → {library}"
            for library in (*row.libraries, *row.in_files)
            if not any(f"{module}.".startswith(f"{library}.") for module in used)
        ]
    assert not unused, f"the table allows what nothing uses: {unused}"


def test_contributing_has_the_same_table():
    page = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text().splitlines()
    expected = [row.row(name) for name, row in PARTS.items()]
    missing = [row for row in expected if row not in page]
    assert not missing, "rows for .github/CONTRIBUTING.md:\n" + "\n".join(missing)
    first = page.index(expected[0])
    assert page[first : first + len(expected)] == expected, "the rows of CONTRIBUTING.md are in another order"
    assert not page[first + len(expected)].startswith("|"), "CONTRIBUTING.md has a row that PARTS does not have"


def test_the_top_level_holds_what_belongs_there_and_no_results():
    """A test that writes into the current folder would leave its files where somebody adds them."""
    here = {"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "configs", "constraints.txt", "data_prep"}
    here |= {"pyproject.toml", "tests", "videoctx"}
    made = {"build", "datasets", "dist", "runs", "videoctx.egg-info", "__pycache__"}  # git ignores them
    found = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}
    assert here <= found <= here | made


def test_files_and_folders_are_named_after_their_idea():
    assert not {Path(part).stem for name in FILES for part in Path(name).parts} & NAMED_AFTER_NOTHING


def test_no_file_is_long():
    long = {
        name: length for name, path in FILES.items() if (length := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not long, f"files of more than {LONGEST_FILE} lines hold more than one idea: {long}"


def test_no_function_is_long():
    long = {
        f"{name}: {node.name}": node.end_lineno - node.lineno + 1
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert not long, f"functions of more than {LONGEST_FUNCTION} lines: {long}"


@pytest.mark.parametrize(("module", "part"), [("videoctx.data.clips.Clip", "data"), ("videoctx.__init__", "__init__")])
def test_part_of_a_module(module, part):
    assert part_of(module) == part

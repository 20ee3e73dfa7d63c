"""Which part may import what: the design's table, held by reading the imports of every file."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "videoctx"
PREPARATION = PACKAGE.with_name("data_prep")
# One idea each, of the standard library alone: every part may import it.
FLOOR = {"atomic_write", "first_few", "shipped_configs", "user_error"}
PARTS = {"layers", "models", "batch", "data", "evaluation", "tasks"}
PARTS |= {"visualize", "inference", "bench", "cli"}

# part: parts of videoctx that it may import, third parties beyond torch
ALLOWED = {
    "__init__": ({"data", "inference", "models", "tasks"}, set()),  # only when a name is used
    **{name: (set(), {"yaml"} if name == "shipped_configs" else set()) for name in FLOOR},
    "__main__": ({"cli"}, set()),
    "layers": (set(), set()),
    "models": ({"layers"}, set()),
    "batch": (set(), set()),
    "contract": ({"batch"}, set()),
    "data": ({"batch"}, {"numpy", "torchvision.transforms.v2"}),
    "evaluation": ({"batch"}, {"jinja2", "markupsafe", "matplotlib", "numpy", "pyarrow", "scipy", "torchmetrics"}),
    "tasks": ({"models", "evaluation", "batch", "contract"}, {"lightning", "torchmetrics"}),
    "visualize": ({"layers", "data"}, {"av", "matplotlib", "numpy"}),
    "inference": (
        {"layers", "models", "data", "batch", "evaluation", "visualize"},
        {"PIL", "av", "matplotlib", "numpy"},
    ),
    "bench": ({"layers", "models", "data", "batch"}, {"numpy", "psutil", "rich"}),
    "cli": (PARTS, {"jsonargparse", "lightning", "rich", "yaml"}),
}
# part and library: the only files of the part that may import it
ONLY_IN = {
    ("models", "pytorchvideo"): {"checkpoints.py"},
    ("bench", "av"): {"synthetic_videos.py"},
    ("bench", "decord"): {"bare_decoding.py"},
    ("bench", "pytorchvideo"): {"pytorchvideo_peer.py", "pytorchvideo_network.py"},
    ("evaluation", "rich"): {"tables.py"},
    ("evaluation", "yaml"): {"seed_runs.py"},
    ("inference", "onnx"): {"exported_file.py"},
    ("inference", "onnxruntime"): {"exported_file.py"},
    ("inference", "onnxscript"): {"exported_file.py"},
    ("data", "lightning"): {"datamodule.py", "trainer_state.py"},
    ("data", "pebble"): {"decoding_processes.py", "loader.py"},
    ("data", "decord"): {"decord_reader.py"},
    ("data", "torchcodec"): {"torchcodec_reader.py"},
    ("data", "av"): {"pyav_reader.py", "containers.py"},
    ("data", "fsspec"): {"remote.py"},
    ("data", "aiohttp"): {"remote.py"},
    ("data", "tenacity"): {"remote.py"},
}
# folder of data_prep: folders of data_prep that it may import, third parties. A command never imports another command.
SHARED_BY_COMMANDS = {"command_line", "manifests", "scheduling", "synthetic"}
DATA_PREP = {
    "command_line": ({"command_line"}, {"jsonargparse", "rich"}),
    "manifests": ({"command_line", "manifests"}, set()),
    "scheduling": ({"command_line", "scheduling"}, {"distributed", "pebble"}),
    "synthetic": ({"synthetic"}, {"av", "numpy", "rich"}),
    "write_annotations": (SHARED_BY_COMMANDS, {"rich"}),
    "transcode": (SHARED_BY_COMMANDS, {"av", "numpy"}),
    "inspect_videos": (SHARED_BY_COMMANDS, {"PIL", "av", "filelock", "imagehash", "numpy", "rich"}),
    "summarize": (SHARED_BY_COMMANDS, {"PIL", "jinja2", "numpy"}),
    "write_shards": (SHARED_BY_COMMANDS, {"filelock", "rich", "webdataset"}),
    "download_kinetics": (SHARED_BY_COMMANDS, {"filelock", "tenacity"}),
    "make_toy_dataset": (SHARED_BY_COMMANDS, {"numpy"}),
    "make_relations_dataset": (SHARED_BY_COMMANDS, {"numpy"}),
}
NAMED_AFTER_NOTHING = {"utils", "helpers", "common", "misc", "core", "engine", "builder", "registry"}


def imports(file: Path) -> set[str]:
    """Dotted names of all modules and objects that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_what_its_part_may(name):
    part = Path(name).parts[0].removesuffix(".py")
    assert part in ALLOWED, f"{name}: a part that the table does not know"
    parts, third_parties = ALLOWED[part]
    for module in imports(FILES[name]):
        top, _, rest = module.partition(".")
        if top == "videoctx":
            assert rest.partition(".")[0] in parts | {part} | FLOOR, f"{name} imports {module}"
        elif top not in sys.stdlib_module_names | {"torch"} and (part, top) not in ONLY_IN:
            assert any(f"{module}.".startswith(f"{known}.") for known in third_parties), f"{name} imports {module}"


@pytest.mark.parametrize(("part", "library"), ONLY_IN)
def test_a_library_stays_in_its_file(part, library):
    for path in (PACKAGE / part).rglob("*.py"):
        if path.name not in ONLY_IN[part, library]:
            assert library not in {name.partition(".")[0] for name in imports(path)}, f"{path} imports {library}"


@pytest.mark.parametrize("folder", DATA_PREP)
def test_data_prep_imports_only_what_its_folder_may(folder):
    folders, third_parties = DATA_PREP[folder]
    for path in (PREPARATION / folder).rglob("*.py"):
        for module in imports(path):
            top, _, rest = module.partition(".")
            if top == "data_prep":
                assert rest.partition(".")[0] in folders | {folder}, f"{path} imports {module}"
            elif top == "videoctx":
                assert rest.partition(".")[0] in {"data"} | FLOOR, f"{path} imports {module}"
            else:
                assert top in sys.stdlib_module_names | third_parties, f"{path} imports {module}"


def test_every_folder_of_data_prep_has_its_rule():
    assert {path.parent.name for path in PREPARATION.glob("*/__init__.py")} == set(DATA_PREP)


def test_files_and_folders_are_named_after_their_idea():
    names = [*FILES, *(path.relative_to(PREPARATION).as_posix() for path in PREPARATION.rglob("*.py"))]
    assert not {Path(part).stem for name in names for part in Path(name).parts} & NAMED_AFTER_NOTHING

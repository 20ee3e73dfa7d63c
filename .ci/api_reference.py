"""Build the API reference with pdoc into the folder of the first argument; every warning is an error."""

import sys
import warnings
from importlib import import_module
from pathlib import Path

import pdoc

# A package with `__all__` hides its modules from pdoc, so each part is named.
PARTS = ("layers", "models", "batch", "contract", "data", "evaluation", "tasks", "inference", "visualize")

warnings.simplefilter("error", UserWarning)
names = ["videoctx", *(f"videoctx.{part}" for part in PARTS)]
for name in names:
    module = import_module(name)
    for public in getattr(module, "__all__", ()):
        getattr(module, public)  # pdoc does not find names that are imported when they are first used
pdoc.render.configure(docformat="google")
pdoc.pdoc(*names, output_directory=Path(sys.argv[1]))

"""Files of networks for other programs: written and read in the formats `torch.export` and ONNX.

Beside the network, a file holds its class names and the shape of its input as JSON. In that shape, null is any size.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

Format = Literal["torch-export", "onnx"]
SUFFIX: dict[Format, str] = {"torch-export": ".pt2", "onnx": ".onnx"}  # torch.export warns of any other
METADATA = "videoctx.json"  # among the extra files of torch.export, and the metadata_props of ONNX
INPUT, OUTPUT = "frames", "probabilities"
ANY_BATCH = {0: "batch"}


class ExportError(ValueError):
    """A network cannot be exported, or its file would not compute what the network computes."""


def check_installed(format: Format) -> None:
    """Check that the libraries of a format are installed.

    Raises:
        ExportError: One is missing.
    """
    if format != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"format is 'onnx', but {error.name} is not installed; expected videoctx[onnx]") from error


def write(
    path: Path,
    network: nn.Module,
    example: Tensor,
    *,
    format: Format,
    metadata: dict[str, Any],
    any_size: Mapping[int, str] = ANY_BATCH,
) -> None:
    """Write a network to a file.

    Args:
        example: An input (B, …) with 2 or more along the dimensions of any size, and different numbers along them.
        any_size: The dimensions along which the file takes any size, with their names.

    Raises:
        ExportError: Something in the network cannot be exported.
    """
    try:
        with _silenced(), torch.no_grad():
            dims = {dim: torch.export.Dim(name, min=1 if dim == 0 else 2) for dim, name in any_size.items()}
            program = torch.export.export(network, (example,), dynamic_shapes=(dims,))
            program.example_inputs = None  # they would be stored, and can be as large as the weights
            if format == "torch-export":
                # In memory first: torch's own writer ends the process (SIGABRT) where the disk is full.
                content = BytesIO()
                torch.export.save(program, content, extra_files={METADATA: json.dumps(metadata)})
                path.write_bytes(content.getbuffer())
                return
            model = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
            assert model is not None  # with dynamo
            model.model.metadata_props[METADATA] = json.dumps(metadata)
            model.save(path)
    except OSError:
        raise
    except Exception as error:  # the exporters' own, of many kinds: whatever a layer does that they do not know
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"{format} does not take this network: {reason}") from error


def read(path: Path, *, format: Format) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    """Return the network of a file, from frames to probabilities on the CPU, and its metadata.

    The network raises a ValueError, which names the sizes that the file takes, for other input.
    """
    run, text = (_read_torch_export if format == "torch-export" else _read_onnx)(path)
    metadata = json.loads(text)

    def checked(frames: Tensor) -> Tensor:
        if "input" in metadata:
            _check_input(path, frames, metadata["input"])
        return run(frames)

    return checked, metadata


def _read_torch_export(path: Path) -> tuple[Callable[[Tensor], Tensor], str]:
    extra_files = {METADATA: ""}
    return torch.export.load(path, extra_files=extra_files).module(), extra_files[METADATA]


def _read_onnx(path: Path) -> tuple[Callable[[Tensor], Tensor], str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(frames: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: frames.numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map[METADATA]


def _check_input(path: Path, frames: Tensor, accepted: Mapping[str, Any]) -> None:
    """Check frames against the stored description of the input.

    Raises:
        ValueError: Their type or a size differs.
    """
    shape, dtype = accepted["shape"], str(frames.dtype).removeprefix("torch.")
    fits = len(shape) == frames.ndim and all(
        size == taken or (taken is None and size > 0) for size, taken in zip(frames.shape, shape, strict=True)
    )
    if not fits or dtype != accepted["dtype"]:
        raise ValueError(
            f"{path}: {accepted['name']} are {_sizes(frames.shape)} {dtype}; expected {_sizes(shape)}"
            f" {accepted['dtype']}, of layout {accepted['layout']}"
        )


def _sizes(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


@contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the log messages and warnings of the exporters. Errors in a file are found by running it."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

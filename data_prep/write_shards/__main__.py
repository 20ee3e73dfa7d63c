"""Pack the videos of a manifest into tar shards in WebDataset layout.

    python -m data_prep.write_shards datasets/mine/manifest.csv shards --shard_bytes 1e9

A few large files are faster to copy and to serve than very many small ones. OUTPUT gets

    SPLIT-000000.tar, …   for each row of the manifest, SPLIT/ROW.mp4: the video as it is, with its own suffix, and
                          SPLIT/ROW.json: label, path, split, start_seconds, end_seconds, and fps of images; ROW counts
                          from 000000
    manifest.csv          the same rows in the same order with all their columns, with the path
                          tar://SPLIT/ROW.mp4::SPLIT-000000.tar: training and evaluation use it like any other manifest
    classes.txt

The rows of a split are shuffled, so a shard is a random sample of it. A video that several rows use is stored once for
each of them, because they are in different shards. A folder of images becomes a tar file inside the shard,
SPLIT/ROW.tar, and an archive of images is packed as it is. Nothing is decoded: a damaged video is packed as it is.

A video that cannot be read is listed, and its row stays in the new manifest, where it still counts as a video that
cannot be read. A further run adds what is missing to its shard. A run after one that was killed resumes, and writes the
same bytes. A shard of other videos is never overwritten. A video that was changed but has the same size is not noticed.

Exit status: 0; 1 if some videos could not be read; 2 if nothing was written; 130 if interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

from data_prep.command_line.run_command import leave, run_command


def write_shards(
    manifest: Path,
    output: Path,
    *,
    shard_bytes: float = 1e9,
    root: str | None = None,
    class_file: Path | None = None,
    seed: int = 0,
    num_threads: int = 8,
    cache_dir: Path | None = None,
    max_cache_bytes: float = 50e9,
) -> int:
    """Pack the videos of a manifest into tar shards in WebDataset layout.

    Args:
        manifest: The manifest of the videos; its paths may be files, URLs, or members of other shards.
        output: The folder of the shards, of their manifest and its class file.
        shard_bytes: Maximum bytes of the videos in a shard, unless it has only one video.
        root: Folder or URL that relative paths in the manifest start from, by default its own folder.
        class_file: File of the class names, by default classes.txt beside the manifest.
        seed: Seed of the order of the videos.
        num_threads: Number of videos that are read at the same time.
        cache_dir: Folder for videos from URLs, by default in the system's temporary folder.
        max_cache_bytes: Maximum size of that folder.

    Raises:
        AnnotationError: the manifest cannot be used, or OUTPUT has other shards or is being written.
        SettingError: an option cannot be used.
        StorageError: webdataset is not installed.
    """
    from concurrent.futures import ThreadPoolExecutor
    from importlib.util import find_spec

    from filelock import FileLock, Timeout

    from data_prep.command_line.setting_error import check_at_least
    from data_prep.command_line.warning import warn
    from data_prep.write_shards.samples import divide, find_samples, packed_row, read_rows
    from data_prep.write_shards.shard_files import write_missing_shards
    from videoctx.data.annotations import CLASS_FILE, AnnotationError, read_classes, write_manifest
    from videoctx.data.storage.local_files import LocalFiles
    from videoctx.data.storage.remote import StorageError

    if find_spec("webdataset") is None:
        raise StorageError("webdataset is not installed; pip install 'videoctx[shards]' installs it")
    check_at_least(1, shard_bytes=shard_bytes, num_threads=num_threads)
    if output.resolve() == manifest.parent.resolve():
        raise AnnotationError(f"{output}: this is the folder of the manifest that is read; expected another folder")
    class_names = read_classes(manifest.parent / CLASS_FILE if class_file is None else class_file)
    rows = read_rows(manifest, class_names)
    files = LocalFiles(cache_dir, max_cache_bytes=int(max_cache_bytes))
    output.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(num_threads)
    try:
        with FileLock(output / ".lock", timeout=0):
            samples = find_samples(rows, manifest.parent if root is None else root, files, pool)
            shards = divide(samples, [row["split"] for row in rows], int(shard_bytes), seed)
            failures = write_missing_shards(output, shards, files, pool)
            shard_of = {sample.key: shard.name for shard in shards for sample in shard.samples}
            packed = [packed_row(row, sample, shard_of[sample.key]) for row, sample in zip(rows, samples, strict=True)]
            write_manifest(output / "manifest.csv", packed, class_names)
    except Timeout as error:
        raise AnnotationError(f"{output}: another run is writing there") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        warn(f"{len(failures)} of {len(rows)} videos could not be read and are in no shard", failures)
    print(f"{output}: {len(rows) - len(failures)} videos in {len(shards)} shards, manifest.csv and {CLASS_FILE}")
    return 1 if failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        "write_shards", write_shards, arguments, example="datasets/mine/manifest.csv shards --shard_bytes 1e9"
    )


if __name__ == "__main__":
    leave(main())

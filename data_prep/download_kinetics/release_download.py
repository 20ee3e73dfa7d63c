"""Download and unpack the archives of a release, several at the same time."""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.download_kinetics.archive_progress import ArchiveProgress
from data_prep.download_kinetics.kinetics_archives import RELEASES, Archive, Mirror, read_list
from data_prep.download_kinetics.resumable_download import DownloadError, RetryPolicy, Stopped, download
from data_prep.download_kinetics.safe_extraction import DamagedArchiveError, Extraction, extract
from videoctx.atomic_write import atomic_write

STATE_FOLDER = ".download"
LOCK_SECONDS = 0.2  # between two attempts to acquire a lock that another run holds
REPLACEMENT_FOLDER = "replacement"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an archive."""

    num_files: int  # that it has put into the output, now or in an earlier run
    problems: list[str]


class ReleaseDownload:
    """One run of the command. Setting `stop` ends all of its threads."""

    def __init__(self, mirror: Mirror, output: Path, retries: RetryPolicy, *, keep_archives: bool) -> None:
        self.mirror, self.output, self.retries = mirror, output, retries
        self.keep_archives = keep_archives
        self.stop = threading.Event()
        self.progress = ArchiveProgress()

    def run(self, dataset: str, splits: Sequence[str], workers: int) -> int:
        """Download and unpack everything; return the exit status.

        Raises:
            OSError: the output cannot be written, for example because the disk is full.
        """
        try:
            return self._run(dataset, splits, workers)
        except OSError as error:
            raise OSError(
                f"{error.filename or self.output}: {error.strerror or error}; finished files are kept,"
                " run it again to do the rest"
            ) from error

    def _run(self, dataset: str, splits: Sequence[str], workers: int) -> int:
        archives, problems = self._plan(dataset, splits)
        num_files = 0
        pool = ThreadPoolExecutor(workers)
        with self.progress:
            self.progress.expect(len(archives))
            futures = {pool.submit(self._archive, archive): archive for archive in archives}
            try:
                for future in as_completed(futures):
                    outcome = future.result()
                    num_files += outcome.num_files
                    problems += [f"{futures[future]}: {problem}" for problem in outcome.problems]
                    self.progress.archive_done()
            finally:  # after an error, such as a full disk, no other archive can be unpacked either
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        print(f"{self.output}: {len(archives)} archives, {num_files} files")
        if problems:
            lines = [f"download_kinetics: {len(problems)} problems; run it again to try what failed", *problems]
            print("\n  ".join(lines), file=sys.stderr)
        return 1 if problems else 0

    def _plan(self, dataset: str, splits: Sequence[str]) -> tuple[list[Archive], list[str]]:
        """Fetch lists and annotations; return the listed archives and the problems."""
        release = RELEASES[dataset]
        archives, problems = [], []
        for split in splits:
            try:
                text = self._small_file(release.list_path(split), self._state(split) / "list.txt", again=True)
                listed, bad_lines = read_list(text, self.mirror, release.list_path(split), split)
                archives += listed
                problems += bad_lines or ([] if listed else [f"{release.list_path(split)}: the list is empty"])
            except DownloadError as error:
                problems.append(str(error))
            for path in release.annotation_paths(split):
                try:
                    self._small_file(path, self.output / "annotations" / Path(path).name, again=False)
                except DownloadError as error:
                    problems.append(str(error))
        if release.replacements and "train" in splits:
            path = release.replacements
            archives.append(Archive(REPLACEMENT_FOLDER, Path(path).name, self.mirror.at(path)))
        return archives, problems

    def _small_file(self, path: str, target: Path, *, again: bool) -> str:
        """Return the text of a list or annotation file, fetched to the target unless it is already there."""
        source = self.mirror.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(target.parent / f".{target.name}.lock"):
            if again:
                target.unlink(missing_ok=True)
            if not target.exists():
                if isinstance(source, Path):
                    if not source.is_file():
                        raise DownloadError(f"{source}: no such file")
                    with atomic_write(target) as part:
                        part.write_bytes(source.read_bytes())
                else:
                    download(source, target, retries=self.retries, stop=self.stop)
            return target.read_text(encoding="utf-8", errors="replace")

    def _archive(self, archive: Archive) -> Outcome:
        """Fetch and unpack one archive, unless that has been done.

        Raises:
            OSError: the output cannot be written.
        """
        state = self._state(archive.split)
        state.mkdir(parents=True, exist_ok=True)
        done = state / f"{archive.name}.done"
        with self._locked(state / f"{archive.name}.lock"):
            earlier = _read_done(done, archive)
            if earlier is not None:
                self._clear(archive)
                return earlier
            try:
                file = self._fetched(archive, state / archive.name)
                extraction = self._extracted(archive, file)
            except (DownloadError, DamagedArchiveError) as error:
                return Outcome(0, [str(error)])
            content = {"checksum": archive.checksum, "files": extraction.num_files, "refused": extraction.refused}
            with atomic_write(done) as part:
                part.write_text(json.dumps(content), encoding="utf-8")
            self._clear(archive)
            return Outcome(extraction.num_files, _refusals(extraction.refused))

    def _fetched(self, archive: Archive, target: Path) -> Path:
        """Return the archive's file on this disk."""
        if isinstance(archive.source, Path):
            try:
                with archive.source.open("rb") as file:
                    num_bytes = os.fstat(file.fileno()).st_size
            except OSError as error:
                raise DownloadError(f"{archive.source}: {error.strerror}") from error
            self.progress.start(archive, num_bytes)
            self.progress.advance(num_bytes)
            return archive.source
        if not target.exists():
            download(
                archive.source,
                target,
                retries=self.retries,
                stop=self.stop,
                on_start=lambda remaining: self.progress.start(archive, remaining),
                on_bytes=self.progress.advance,
            )
        return target

    def _extracted(self, archive: Archive, file: Path) -> Extraction:
        """Check and unpack the archive. A damaged one that was downloaded is removed, so the next run fetches it."""
        try:
            if archive.checksum is not None:
                _check(file, archive.checksum)
            staging = self._state(archive.split) / f"{archive.name}.extracting"
            return extract(file, self.output / archive.split, staging=staging, stop=self.stop)
        except DamagedArchiveError as error:
            if isinstance(archive.source, Path):
                raise DamagedArchiveError(f"{file}: {error}") from error
            file.unlink()
            raise DamagedArchiveError(f"{error}; it is removed, and the next run fetches it again") from error

    def _clear(self, archive: Archive) -> None:
        """Remove the downloaded file of an archive that has been unpacked."""
        if not self.keep_archives:
            (self._state(archive.split) / archive.name).unlink(missing_ok=True)

    def _state(self, split: str) -> Path:
        return self.output / STATE_FOLDER / split

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold a lock; wait while another run holds it."""
        lock = FileLock(path)
        while not lock.is_locked:
            if self.stop.is_set():
                raise Stopped
            with suppress(Timeout):
                lock.acquire(timeout=LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()


def _read_done(done: Path, archive: Archive) -> Outcome | None:
    """Return the outcome of an earlier run; None if there is none, or if the list has another checksum now."""
    try:
        content = json.loads(done.read_text(encoding="utf-8"))
        checksum, num_files, refused = content["checksum"], content["files"], content["refused"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if archive.checksum is not None and checksum != archive.checksum:
        return None
    return Outcome(num_files, _refusals(refused))


def _refusals(refused: Sequence[str]) -> list[str]:
    return [f"member {text}, and is left out" for text in refused]


def _check(file: Path, checksum: str) -> None:
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != checksum:
        raise DamagedArchiveError(f"its {algorithm} is {found}, not {checksum} as in the list")

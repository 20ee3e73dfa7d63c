"""Download Kinetics from the archives of CVDF, or from a mirror, and unpack them.

    python -m data_prep.download_kinetics k400 datasets/k400 --splits val
    python -m data_prep.download_kinetics k700_2020 datasets/k700 --base_url /mnt/mirror/kinetics --workers 8
    python -m data_prep.write_annotations kinetics datasets/k400 datasets/k400/annotations

OUTPUT/train, OUTPUT/val and OUTPUT/test get the videos, OUTPUT/annotations the lists; with the train split of
Kinetics-400 come the videos that replace broken ones, in OUTPUT/replacement. What has been done is written below
OUTPUT/.download, a file for each archive, so the same command does what is left: after a failure, a Ctrl-C or a
power cut, and beside another run of it.

Exit status: 0 if all is there; 1 if some archives failed (they are listed; run again); 2 if it cannot go on, as on a
full disk; 130 on Ctrl-C.
"""

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
from typing import Literal

from filelock import FileLock, Timeout
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from data_prep.command_line.comma_list import items_of
from data_prep.command_line.flag_parser import FlagParser
from data_prep.download_kinetics.kinetics_archives import (
    CVDF,
    RELEASES,
    SPLITS,
    Archive,
    Mirror,
    MirrorError,
    mirror_at,
    read_list,
)
from data_prep.download_kinetics.resumable_download import DownloadError, Persistence, Stopped, download, write_whole
from data_prep.download_kinetics.safe_extraction import DamagedArchiveError, Extraction, extract

STATE_FOLDER = ".download"
LOCK_SECONDS = 0.2  # between two looks at a lock that another run holds
REPLACEMENT_FOLDER = "replacement"


class SettingError(ValueError):
    """An option that cannot be; the message says what is accepted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an archive."""

    num_files: int  # that it has put into the output, now or before
    problems: list[str]


def download_kinetics(
    dataset: Literal["k400", "k600", "k700_2020"],
    output: Path,
    *,
    splits: str = "train,val,test",
    base_url: str = CVDF,
    workers: int = 4,
    keep_archives: bool = False,
    attempts: int = 6,
    pause_seconds: float = 1.0,
    timeout_seconds: float = 60.0,
) -> int:
    """Download and unpack a release of Kinetics; run it again to do what is left.

    Args:
        dataset: Kinetics-400, -600 or -700-2020.
        output: Folder to fill. Kinetics-400 takes about 450 GB.
        splits: Comma list of train, val and test.
        base_url: Another place with the layout of CVDF: URL, file:// URL or folder, which is read in place.
        workers: Archives at the same time.
        keep_archives: Leave each archive in OUTPUT/.download after it has been unpacked.
        attempts: How often in a row a server may fail, or send nothing, before an archive is given up.
        pause_seconds: Before the second attempt; it doubles from one to the next, up to a minute.
        timeout_seconds: Without a byte, after which an attempt counts as failed.
    """
    wanted = items_of(splits)
    unknown = [split for split in wanted if split not in SPLITS]
    if unknown or not wanted:
        raise SettingError(f"--splits {splits}: expected a comma list of {', '.join(SPLITS)}")
    if workers < 1 or attempts < 1 or pause_seconds < 0 or timeout_seconds <= 0:
        raise SettingError(
            "expected at least 1 --workers and --attempts, a --pause_seconds of 0 or more, and a timeout"
        )
    run = Run(
        mirror_at(base_url), output, Persistence(attempts, pause_seconds, timeout_seconds), keep_archives=keep_archives
    )
    return run.release(dataset, list(dict.fromkeys(wanted)), workers)


class Run:
    """One call of the command; `stop` ends all of its threads."""

    def __init__(self, mirror: Mirror, output: Path, persistence: Persistence, *, keep_archives: bool) -> None:
        self.mirror, self.output, self.persistence = mirror, output, persistence
        self.keep_archives = keep_archives
        self.stop = threading.Event()
        self.progress = _ByteProgress()

    def release(self, dataset: str, splits: Sequence[str], workers: int) -> int:
        """Fetch all of it and give the exit status."""
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
            except BaseException as error:  # a full disk, Ctrl-C: nothing more can be done
                if isinstance(error, OSError) and error.filename is None:
                    error.filename = str(self.output)
                raise
            finally:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        print(f"{self.output}: {len(archives)} archives, {num_files} files")
        if problems:
            lines = [f"download_kinetics: {len(problems)} problems; run again to try what failed", *problems]
            print("\n  ".join(lines), file=sys.stderr)
        return 1 if problems else 0

    def _plan(self, dataset: str, splits: Sequence[str]) -> tuple[list[Archive], list[str]]:
        """Fetch lists and annotations; the archives that they name, and what went wrong."""
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
        """The text of a list or annotation file, fetched to the target unless it is there."""
        source = self.mirror.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(target.parent / f".{target.name}.lock"):
            if again:
                target.unlink(missing_ok=True)
            if not target.exists():
                if isinstance(source, Path):
                    if not source.is_file():
                        raise DownloadError(f"{source}: no such file")
                    write_whole(target, source.read_bytes())
                else:
                    download(source, target, persistence=self.persistence, stop=self.stop)
            return target.read_text(encoding="utf-8", errors="replace")

    def _archive(self, archive: Archive) -> Outcome:
        """Fetch and unpack one archive, unless that has been done.

        Raises:
            OSError: the output cannot be written, so that no other archive can be unpacked either.
        """
        state = self._state(archive.split)
        state.mkdir(parents=True, exist_ok=True)
        done = state / f"{archive.name}.done"
        with self._locked(state / f"{archive.name}.lock"):
            before = _read_done(done, archive)
            if before is not None:
                self._clear(archive)
                return before
            try:
                file = self._fetched(archive, state / archive.name)
                extraction = self._extracted(archive, file)
            except (DownloadError, DamagedArchiveError) as error:
                return Outcome(0, [str(error)])
            content = {"checksum": archive.checksum, "files": extraction.num_files, "refused": extraction.refused}
            write_whole(done, json.dumps(content))
            self._clear(archive)
            return Outcome(extraction.num_files, _refusals(extraction.refused))

    def _fetched(self, archive: Archive, target: Path) -> Path:
        """The archive on this disk."""
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
                persistence=self.persistence,
                stop=self.stop,
                on_start=lambda remaining: self.progress.start(archive, remaining),
                on_bytes=self.progress.advance,
            )
        return target

    def _extracted(self, archive: Archive, file: Path) -> Extraction:
        """Check and unpack it; a damaged one that was downloaded is removed, so that the next run fetches it anew."""
        try:
            if archive.checksum is not None:
                _check(file, archive.checksum)
            staging = self._state(archive.split) / f"{archive.name}.extracting"
            return extract(file, self.output / archive.split, staging=staging, stop=self.stop)
        except DamagedArchiveError as error:
            if isinstance(archive.source, Path):
                raise DamagedArchiveError(f"{file}: {error}") from error
            file.unlink()
            raise DamagedArchiveError(f"{error}; it is removed, and fetched anew by the next run") from error

    def _clear(self, archive: Archive) -> None:
        """Remove what was downloaded of an archive that has been unpacked."""
        if not self.keep_archives:
            (self._state(archive.split) / archive.name).unlink(missing_ok=True)

    def _state(self, split: str) -> Path:
        return self.output / STATE_FOLDER / split

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Waits while another run has the lock."""
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


class _ByteProgress:
    """Bytes, their rate and the time left over all archives; the size of those not begun is guessed by the others'."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self.bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self.lock = threading.Lock()
        self.task = self.bar.add_task("archives", total=None)
        self.sizes: dict[Archive, int] = {}
        self.num_archives = self.num_done = self.num_bytes = 0

    def __enter__(self) -> None:
        self.bar.start()

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def expect(self, num_archives: int) -> None:
        self.num_archives = num_archives
        self._show()

    def start(self, archive: Archive, remaining: int | None) -> None:
        """An archive is being fetched, of which so many bytes are left."""
        with self.lock:
            if remaining is not None:
                self.sizes.setdefault(archive, remaining)
            self._show()

    def advance(self, num_bytes: int) -> None:
        with self.lock:
            self.num_bytes += num_bytes
            self._show()

    def archive_done(self) -> None:
        with self.lock:
            self.num_done += 1
            self._show()

    def _show(self) -> None:
        known = sum(self.sizes.values())
        unknown = max(0, self.num_archives - max(self.num_done, len(self.sizes)))
        total = known + unknown * known / len(self.sizes) if self.sizes else None
        self.bar.update(
            self.task,
            description=f"{self.num_done}/{self.num_archives} archives",
            completed=self.num_bytes,
            total=None if total is None else max(total, self.num_bytes),
        )


def _read_done(done: Path, archive: Archive) -> Outcome | None:
    """What an earlier run has done; None where it has not, or where the list names another checksum now."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; what ends it is one line on the error stream."""
    try:
        return auto_cli(
            download_kinetics, args=arguments, parser_class=FlagParser, prog="python -m data_prep.download_kinetics"
        )
    except (SettingError, MirrorError) as error:
        problem, status = str(error), 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        problem, status = f"{where}{error.strerror or error}; what is there is kept, run again to go on", 2
    except (KeyboardInterrupt, Stopped):
        problem, status = "interrupted; what is there is kept, run again to go on", 130
    print(f"download_kinetics: {problem}", file=sys.stderr)
    return status


def leave(status: int) -> None:
    """End the process at once: a thread may wait for a server, and every state on the disk is one to go on from."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())

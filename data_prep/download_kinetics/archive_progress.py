"""The progress of several archives that are downloaded at the same time."""

import threading

from data_prep.command_line.progress_bars import bytes_progress
from data_prep.download_kinetics.kinetics_archives import Archive


class ArchiveProgress:
    """Shows bytes, their rate and the time left of all archives; unknown sizes are estimated by the known ones."""

    def __init__(self) -> None:
        self.bar = bytes_progress()
        self.lock = threading.Lock()
        self.task = self.bar.add_task("archives", total=None)
        self.sizes: dict[Archive, int] = {}
        self.num_archives = self.num_done = self.num_bytes = 0

    def __enter__(self) -> None:
        self.bar.start()

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def expect(self, num_archives: int) -> None:
        """Set how many archives there are."""
        self.num_archives = num_archives
        self._show()

    def start(self, archive: Archive, remaining: int | None) -> None:
        """Note that an archive is being fetched, of which so many bytes are left. None: unknown."""
        with self.lock:
            if remaining is not None:
                self.sizes.setdefault(archive, remaining)
            self._show()

    def advance(self, num_bytes: int) -> None:
        """Add bytes that have been fetched."""
        with self.lock:
            self.num_bytes += num_bytes
            self._show()

    def archive_done(self) -> None:
        """Note that an archive has been unpacked."""
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

"""Download Kinetics from the archives of CVDF, or from a mirror, and unpack them.

    python -m data_prep.download_kinetics k400 datasets/k400 --splits val
    python -m data_prep.download_kinetics k700_2020 datasets/k700 --base_url /mnt/mirror/kinetics --workers 8
    python -m data_prep.write_annotations kinetics datasets/k400 datasets/k400/annotations

OUTPUT/train, OUTPUT/val and OUTPUT/test get the videos, and OUTPUT/annotations the lists. The train split of
Kinetics-400 also gets videos that replace broken ones, in OUTPUT/replacement. OUTPUT/.download has one file per
completed archive, so the same command does what is left after a failure, a Ctrl-C or a power cut, and several runs can
work at the same time.

Exit status: 0 if everything is there; 1 if some archives failed (they are listed; run again); 2 if it cannot continue,
for example because the disk is full; 130 if interrupted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from data_prep.command_line.run_command import leave, run_command
from data_prep.download_kinetics.kinetics_archives import CVDF


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
        splits: Comma-separated list of train, val and test.
        base_url: Another place with the layout of CVDF: URL, file:// URL or folder, which is read in place.
        workers: Number of archives that are downloaded at the same time.
        keep_archives: Keep each archive in OUTPUT/.download after it has been unpacked.
        attempts: Consecutive failures of a server after which an archive is given up.
        pause_seconds: Pause before the second attempt; it doubles with each further one, up to a minute.
        timeout_seconds: An attempt fails after this time without a byte.

    Raises:
        SettingError: an option cannot be used.
        MirrorError: `base_url` cannot be used.
        OSError: the output cannot be written.
    """
    from data_prep.command_line.comma_list import split_comma_list
    from data_prep.command_line.setting_error import SettingError, check_at_least
    from data_prep.download_kinetics.kinetics_archives import SPLITS, mirror_at
    from data_prep.download_kinetics.release_download import ReleaseDownload
    from data_prep.download_kinetics.resumable_download import RetryPolicy

    wanted = split_comma_list(splits)
    unknown = [split for split in wanted if split not in SPLITS]
    if unknown or not wanted:
        raise SettingError(f"--splits {splits}: expected a comma-separated list of {', '.join(SPLITS)}")
    check_at_least(1, workers=workers, attempts=attempts)
    check_at_least(0, pause_seconds=pause_seconds)
    if timeout_seconds <= 0:
        raise SettingError(f"--timeout_seconds is {timeout_seconds:g}; expected more than 0")
    download = ReleaseDownload(
        mirror_at(base_url), output, RetryPolicy(attempts, pause_seconds, timeout_seconds), keep_archives=keep_archives
    )
    return download.run(dataset, list(dict.fromkeys(wanted)), workers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        "download_kinetics",
        download_kinetics,
        arguments,
        example="k400 datasets/k400 --splits val",
        when_interrupted="finished files are kept, run it again to do the rest",
    )


if __name__ == "__main__":
    leave(main())

"""A folder that other users of the computer can neither change nor replace: the default place of caches.

It lies in the folder for temporary files (`$TMPDIR`), which is a fast local disk on most clusters. The
user's cache directory (`platformdirs`) would be in the home, which several nodes often share over a network file
system: locks may not work there, and all nodes would write the same files. But everybody may write to `/tmp`, so
another user may have made a folder of that name, with links to other people's files in it. Therefore the owner is
checked, and links are not followed.
"""

import os
import stat
import tempfile
from pathlib import Path

from videoctx.user_error import UserError


class CacheFolderError(UserError):
    """A folder that cannot be a cache, because another user could change what is in it."""


def default_folder() -> Path:
    """Return the folder of this user in the folder for temporary files. It need not exist.

    It is named after the number of the user, who may have no name (`docker run --user`).
    """
    return Path(tempfile.gettempdir(), f"videoctx-{os.geteuid()}")


def make_private(folder: Path) -> None:
    """Make a folder that only this user may enter. One that exists has to be this user's, and loses other permissions.

    Raises:
        CacheFolderError: It is a link, a file, or a folder of another user.
        OSError: It cannot be made.
    """
    try:
        os.mkdir(folder, mode=0o700)
    except FileExistsError:
        status = os.lstat(folder)
        _check_is_folder(folder, status)
        _check_owner(folder, status, accepted=(os.geteuid(),))
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.chmod(folder, 0o700)


def make_cache_root(folder: Path) -> None:
    """Make the folder of a cache, or check the one that exists.

    The default folder is private. A folder of the user's choice keeps its permissions and may be a link. It may belong
    to the administrator, like a mounted disk, as long as others cannot replace what is in it.

    Raises:
        CacheFolderError: Another user could replace what is in it, or it is no folder.
        OSError: It cannot be made.
    """
    if folder == default_folder():
        make_private(folder)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mkdir(folder, mode=0o700)
    except FileExistsError:
        status = os.stat(folder)
        _check_is_folder(folder, status)
        _check_owner(folder, status, accepted=(os.geteuid(), 0))
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise CacheFolderError(f"{folder}: every user may replace what is in it; {_remedy(folder)}") from None


def _check_is_folder(folder: Path, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        what = "a link" if stat.S_ISLNK(status.st_mode) else "a file"
        raise CacheFolderError(f"{folder}: is {what}; expected a folder of yours, or a name that is free")


def _check_owner(folder: Path, status: os.stat_result, accepted: tuple[int, ...]) -> None:
    if status.st_uid not in accepted:
        raise CacheFolderError(f"{folder}: belongs to another user (uid {status.st_uid}); {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    how = "remove it, or set TMPDIR to another" if folder == default_folder() else "choose another as cache_dir"
    return f"expected a folder of yours (uid {os.geteuid()}): {how}"

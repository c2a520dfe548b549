"""Files that are written whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: temporary files of killed processes are not removed
    fcntl = None

_open: set[str] = set()  # temporary files of this process


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file next to `path`, then rename it to `path`."""
    with replaced(path) as file:
        file.write(content)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` after all its content is on the disk.

    Symbolic links and permissions are kept. A device or a pipe, such as /dev/null, is written to
    and not replaced. Temporary files that a killed process left beside `path` are removed.
    """
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"path must be a file, but {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must be in an existing folder, but {path.parent} does not exist"
        )
    path = Path(os.path.realpath(path))
    mode = 0o666 & ~_umask()
    if path.exists():
        if not path.is_file():
            with open(path, "wb") as file:
                yield file
            return
        mode = stat.S_IMODE(path.stat().st_mode)
    prefix = f".{path.name[:40]}."  # shortened: systems limit the length of a name
    _remove_abandoned(path.parent, prefix)
    handle, temporary = _temporary(path.parent, prefix)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        _open.discard(temporary)
    _sync_folder(path.parent)


def remove_unfinished() -> None:
    """Remove the temporary files of this process; call before it ends without unwinding."""
    for name in list(_open):
        Path(name).unlink(missing_ok=True)


def _temporary(folder: Path, prefix: str) -> tuple[int, str]:
    """A new hidden file, locked while it is open, so that other processes see it is in use."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=".part")
        _open.add(name)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # another process removed it before it was locked
        _open.discard(name)


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove temporary files that no process has locked."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(prefix) and entry.name.endswith(".part")):
                continue
            with contextlib.suppress(OSError), open(entry.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that the new name is on the disk, if the system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files that are written whole or not at all."""

import os
import stat
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file next to `path`, then take its place.

    A link keeps pointing where it did, and a file keeps its permissions. What is no file, such as
    /dev/null or a pipe, is written to: in its place would be a file.
    """
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"path must be a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must lie in a folder that exists, and {path.parent} does not"
        )
    path = Path(os.path.realpath(path))
    mode = 0o666 & ~_umask()
    if path.exists():
        if not path.is_file():
            path.write_bytes(content)
            return
        mode = stat.S_IMODE(path.stat().st_mode)
    # the name of a file may be as long as the system allows, and this one is longer
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name[:40], suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

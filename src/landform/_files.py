"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file next to `path`, then take its place."""
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"path must be a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must lie in a folder that exists, and {path.parent} does not"
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

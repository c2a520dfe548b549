"""Damaged files of every format that landform reads: each must be read, or refused in words.

    python benchmarks/fuzz_files.py [--files 10000] [--seed 0] [--formats landform npy] [--keep F]

Good files of each format are changed at random: bytes and bits are replaced, pieces cut, doubled or
moved between files, and numbers in headers replaced by others. A crash is any exception but
ValueError, FileNotFoundError and the command line's one line, memory beyond what the library
states (64 MiB or 100 times the file, and the copies made of it), or more than five seconds. The
last line has the counts. The exit code is 1 where a file crashed; such files are kept in --keep.
"""

import argparse
import importlib.util
import io
import json
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

import landform as lf
from landform.cli.inputs import read_content, read_table

FORMATS = ("landform", "npy", "npz", "csv", "parquet")
_MOST_SECONDS = 5.0
_MOST_GROWTH = 400 * 2**20  # of resident memory: the stated limit, and copies of it in conversion
_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"255",
    b"65536",
    b"2147483647",
    b"4294967296",
    b"1099511627776",
    b"9223372036854775807",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
)
_WORDS = (
    b"<f8",
    b">f8",
    b"<U9",
    b"<U99999999",
    b"|O",
    b"|V8",
    b"|b1",
    b"<c16",
    b"<f2",
    b"F64",
    b"F32",
    b"F8_E4M3",
    b"BF16",
    b"BOOL",
    b"I64",
    b"class",
    b"names",
    b"array",
    b"method",
    b"list",
    b"float",
    b"estimator",
    b"numpy",
    b"scalar",
    b"jax",
    b"dtype",
)


def good_files(rng: np.random.Generator) -> dict[str, list[bytes]]:
    """Some files of each format as the library and its users write them."""
    X, y = rng.normal(size=(12, 3)), rng.integers(0, 3, 12)
    found: dict[str, list[bytes]] = {name: [] for name in FORMATS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.landform"
        for held in (
            lf.PoincareHalfPlane(),
            lf.LocalVariance(X, 0.5, 0.1),
            {"names": np.array(["a", "bcd"]), "X": X, "half": X.astype(np.float16)},
            [X.astype(">f4"), (np.float64(3), "text", None, float("nan"))],
        ):
            lf.save(path, held, metadata={"note": "fuzz"})
            found["landform"].append(path.read_bytes())
    for array in (X, X.astype(">f4"), np.asfortranarray(X), y, X.astype(np.longdouble), X[0, 0]):
        found["npy"].append(_written(np.save, array))
    for write in (np.savez, np.savez_compressed):
        found["npz"] += [_written(write, X=X, y=y), _written(write, a=X), _written(write)]
    rows = "\n".join(",".join(f"{v:.6g}" for v in row) for row in X)
    labelled = "\n".join(f"{row},c{k}" for row, k in zip(rows.split("\n"), y, strict=True))
    texts = [
        rows,
        f"a,b,c\n{rows}\n",
        f"# a,b,c\n{rows}\n",
        f'"a","b",c,label\n{labelled}',
        "a,b\n",
    ]
    found["csv"] = [text.encode() for text in texts]
    if importlib.util.find_spec("pyarrow") is not None:
        found["parquet"] = _parquet_files(X, y)
    return found


def _written(write, *args, **kwargs) -> bytes:
    buffer = io.BytesIO()
    write(buffer, *args, **kwargs)
    return buffer.getvalue()


def _parquet_files(X, y) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = {"a": X[:, 0], "b": X[:, 1], "label": [f"c{k}" for k in y]}
    lists = {"embedding": pa.array(X.tolist()), "label": y}
    files = []
    for columns in (plain, lists):
        for compression in ("snappy", "none", "zstd"):
            sink = pa.BufferOutputStream()
            pq.write_table(pa.table(columns), sink, compression=compression)
            files.append(sink.getvalue().to_pybytes())
    return files


def damage(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The content after one to three changes."""
    for _ in range(rng.integers(1, 4)):
        content = _CHANGES[rng.integers(len(_CHANGES))](content, other, rng)
    return content


def _replace_bytes(content, _, rng):
    out = bytearray(content)
    for place in rng.integers(0, max(len(out), 1), rng.integers(1, 6)) if out else ():
        out[place] = rng.integers(256)
    return bytes(out)


def _flip_bit(content, _, rng):
    out = bytearray(content)
    if out:
        out[rng.integers(len(out))] ^= 1 << rng.integers(8)
    return bytes(out)


def _cut_end(content, _, rng):
    return content[: rng.integers(len(content) + 1)]


def _cut_piece(content, _, rng):
    a, b = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:a] + content[b:]


def _double_piece(content, _, rng):
    a, b = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:b] + content[a:b] * int(rng.integers(1, 4)) + content[b:]


def _splice(content, other, rng):
    return content[: rng.integers(len(content) + 1)] + other[rng.integers(len(other) + 1) :]


def _lie(content, _, rng):
    """Another number, or another word, where the file has one: header lies."""
    numbers = rng.random() < 0.6
    pattern = rb"\d+" if numbers else rb"[<>|][fiubcUVO]\d*|\b[A-Za-z]\w{2,}\b"
    places = list(re.finditer(pattern, content[:4096]))
    if not places:
        return content
    place, choices = places[rng.integers(len(places))], _NUMBERS if numbers else _WORDS
    changed = (
        content[: place.start()] + choices[rng.integers(len(choices))] + content[place.end() :]
    )
    return _with_length(changed, len(changed) - len(content))


def _lie_in_binary(content, _, rng):
    """A large number of four or eight bytes somewhere, as in lengths and offsets."""
    value = int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1]))
    piece = struct.pack("<Q", value)[: int(rng.choice([4, 8]))]
    place = rng.integers(len(content) + 1)
    return content[:place] + piece + content[place + len(piece) :]


def _with_length(content: bytes, more: int) -> bytes:
    """The content with the length of its header put right, so that the lie itself is read."""
    if content[:6] == b"\x93NUMPY" and len(content) > 10:
        size = struct.unpack("<H", content[8:10])[0] + more
        return content[:8] + struct.pack("<H", size % 2**16) + content[10:]
    if content[8:9] == b"{":
        size = struct.unpack("<Q", content[:8])[0] + more
        return struct.pack("<Q", size % 2**64) + content[8:]
    return content


_CHANGES = (
    _replace_bytes,
    _flip_bit,
    _cut_end,
    _cut_piece,
    _double_piece,
    _splice,
    _lie,
    _lie,
    _lie,
    _lie_in_binary,
)


def try_file(path: Path) -> str:
    """`read`, `refused`, or what went wrong."""
    before, start = _peak(), time.perf_counter()
    readers = (
        (lf.load, lf.describe_file) if path.suffix == ".landform" else (read_table, read_content)
    )
    outcome = "refused"
    for read in readers:
        try:
            read(path)
            outcome = "read" if read is readers[0] else outcome
        except (ValueError, FileNotFoundError) as error:
            if not str(error):
                return f"{read.__name__}: an error without words"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{read.__name__}: {type(error).__name__} in {where.name}: {error}"
    seconds, grown = time.perf_counter() - start, _peak() - before
    if seconds > _MOST_SECONDS:
        return f"took {seconds:.1f} s"
    if grown > _MOST_GROWTH:
        return f"took {grown / 2**20:.0f} MiB"
    return outcome


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def fuzz(files: int, seed: int, formats=FORMATS, keep: Path | None = None) -> Counter:
    """Try a number of damaged files; counts of outcomes, and of each crash by its words."""
    rng = np.random.default_rng(seed)
    good = {name: some for name, some in good_files(rng).items() if some and name in formats}
    counts: Counter = Counter(tried=0, read=0, refused=0, crashed=0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(files):
            name = list(good)[k % len(good)]
            content, other = (good[name][i] for i in rng.integers(0, len(good[name]), 2))
            path = Path(folder) / f"{k}.{name}"
            path.write_bytes(damage(content, other, rng))
            outcome = try_file(path)
            counts["tried"] += 1
            if outcome in ("read", "refused"):
                counts[outcome] += 1
            else:
                counts["crashed"] += 1
                print(f"{path.name}: {outcome}")
                if keep is not None:
                    (keep / f"{seed}-{path.name}").write_bytes(path.read_bytes())
            path.unlink()
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--keep", type=Path, help="folder for the files that crash")
    args = parser.parse_args()
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
    counts = fuzz(args.files, args.seed, args.formats, args.keep)
    print(json.dumps(dict(counts)))
    return int(counts["crashed"] > 0)


if __name__ == "__main__":
    sys.exit(main())

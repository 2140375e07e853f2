"""Two places on disk: a bounded cache that anything may be thrown out of, and a home that vizkit never clears.

Cache entries are folders (JSON and `.npy` files, memory-mapped when read) written under a temporary name and renamed into
place, so a killed process leaves nothing half-written and several processes can share one cache. No pickle anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizkit.errors import VizkitError

log = logging.getLogger("vizkit")
_ENTRY = "entry.json"
_SETTLED = 2.0  # seconds after which a further change of a file is sure to show in its modification time
_ORPHANED = 3600.0  # seconds since the last write after which a temporary name without a living writer is rubbish
_STALE = 86400.0  # and one whose writer may be alive: a number may have gone to another process, or machine


def home_dir() -> Path:
    """Where uploads, built sheets, downloads and the list of a person's datasets live: `VIZKIT_HOME`, never evicted."""
    return _place("VIZKIT_HOME", "user_data_path")


def cache_dir() -> Path:
    """Where everything that can be computed again lives: `VIZKIT_CACHE`."""
    return _place("VIZKIT_CACHE", "user_cache_path")


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_key(value: Any) -> str:
    """The sha256 of the canonical JSON, 40 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Entry:
    """A folder in the cache: its JSON, and its arrays by name."""

    path: Path

    def json(self) -> dict[str, Any]:
        """What was stored beside the arrays."""
        data: dict[str, Any] = json.loads((self.path / _ENTRY).read_text("utf-8"))
        return data

    def array(self, name: str) -> NDArray[Any]:
        """An array, mapped from the file: nothing is read before it is used."""
        array: NDArray[Any] = np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


class Store:
    """The cache: entries under (kind, key), bounded by `limit` bytes, the least recently used thrown out first.

    Where the folder cannot be written, a temporary one takes its place for this process, with one line of warning.
    """

    def __init__(self, root: Path | None = None, limit: int | None = None) -> None:
        self.root = (root or cache_dir()).absolute()
        self.limit = limit if limit is not None else _limit()
        self._lock = threading.Lock()
        self._written = 0
        try:
            (self.root / "tmp").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "tmp"):
                pass
        except OSError as error:
            self._temporary = tempfile.TemporaryDirectory(prefix="vizkit-")
            log.warning(
                "The cache %s cannot be written (%s); results are kept until this process ends. Set VIZKIT_CACHE to"
                " another folder.",
                self.root,
                error.strerror,
            )
            self.root = Path(self._temporary.name)
            (self.root / "tmp").mkdir()

    def get(self, kind: str, key: str) -> Entry | None:
        """The entry, marked as used now; None where there is none. One that cannot be read is dropped."""
        path = self._path(kind, key)
        try:
            os.utime(path / _ENTRY)
            entry = Entry(path)
            for name, size in entry.json().get("files", {}).items():
                if (path / name).stat().st_size != size:
                    raise ValueError(f"{name} is cut short")
        except FileNotFoundError:
            if path.exists() and not all((path / name).exists() for name in self._files(path)):
                self.drop(kind, key)
            return None
        except (ValueError, NotADirectoryError):
            self.drop(kind, key)
            return None
        except OSError:  # it may be read and not be touched
            return Entry(path) if (path / _ENTRY).exists() else None
        return entry

    def _files(self, path: Path) -> list[str]:
        """The files that make an entry whole."""
        try:
            return [_ENTRY, *Entry(path).json().get("files", {})]
        except (OSError, ValueError):
            return [_ENTRY]

    def array(self, kind: str, key: str, name: str) -> NDArray[Any] | None:
        """One array of an entry, mapped; None where there is none. A damaged entry is dropped."""
        entry = self.get(kind, key)
        try:
            return entry.array(name) if entry else None
        except (OSError, ValueError):
            self.drop(kind, key)
            return None

    def put(self, kind: str, key: str, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Entry:
        """Store JSON and arrays. Raises OSError where the disk is full or read-only; nothing is left behind."""
        with self.writing(kind, key, data) as folder:
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        return Entry(self._path(kind, key))

    @contextlib.contextmanager
    def writing(self, kind: str, key: str, data: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to fill; it becomes the entry when the block ends, and vanishes if the block raises. Where another
        writer was faster, its entry stays and this one is discarded."""
        folder = self.root / "tmp" / f"{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
            files = {p.name: p.stat().st_size for p in sorted(folder.iterdir())}
            text = canonical({**data, "files": files})
            (folder / _ENTRY).write_text(text, "utf-8")
            target = self._path(kind, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(folder, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._grown(sum(files.values()) + len(text))

    def read_blob(self, kind: str, key: str) -> bytes | None:
        """A single small file, such as a thumbnail or a checkpoint; None where there is none."""
        path = self._path(kind, key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def write_blob(self, kind: str, key: str, data: bytes) -> None:
        """Store a single file, replacing the one there. Atomic."""
        temporary = self.root / "tmp" / f"{os.getpid()}-{uuid.uuid4().hex}"
        target = self._path(kind, key)
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        self._grown(len(data))

    def drop(self, kind: str, key: str) -> None:
        """Remove one entry. What is being read stays readable until its reader lets go."""
        self._remove(self._path(kind, key))

    def clear(self) -> int:
        """Remove everything; the number of bytes freed."""
        freed = sum(size for _, size, _ in self._entries())
        for path, _, _ in list(self._entries()):
            self._remove(path)
        return freed

    def info(self) -> dict[str, Any]:
        """Where it is, its bound, and bytes and entries of each kind."""
        kinds: dict[str, dict[str, int]] = {}
        for path, size, _ in self._entries():
            kind = kinds.setdefault(path.relative_to(self.root).parts[0], {"entries": 0, "bytes": 0})
            kind["entries"] += 1
            kind["bytes"] += size
        total = sum(k["bytes"] for k in kinds.values())
        return {"path": str(self.root), "limit": self.limit, "bytes": total, "kinds": kinds}

    def keys(self, kind: str) -> list[str]:
        """The keys of a kind, most recently used first."""
        found = [(used, path.name) for path, _, used in self._entries() if path.parent.parent.name == kind]
        return [name for _, name in sorted(found, reverse=True)]

    def trim(self) -> None:
        """Throw out what was used longest ago until the rest fits the bound, and what killed writers left."""
        now = time.time()
        for path in (self.root / "tmp").glob("*"):
            with contextlib.suppress(OSError, ValueError):
                age = now - max(p.stat().st_mtime for p in (path, *path.glob("*")))
                if age > (_STALE if _alive(int(path.name.split("-")[0])) else _ORPHANED):
                    self._remove(path)
        entries = sorted(self._entries(), key=lambda e: e[2])
        total = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if total <= self.limit:
                break
            self._remove(path)
            total -= size

    def room(self) -> int:
        """Bytes that one request may write: what the bound and the disk allow."""
        self.root.mkdir(parents=True, exist_ok=True)
        return min(self.limit, int(shutil.disk_usage(self.root).free * 0.9))

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def _entries(self) -> Iterator[tuple[Path, int, float]]:
        """Path, bytes and time of last use of everything stored."""
        for path in self.root.glob("*/??/*"):
            if path.parent.parent.name == "tmp":
                continue
            with contextlib.suppress(OSError):
                if path.is_dir():
                    size = sum(p.stat().st_size for p in path.iterdir())
                    used = (path / _ENTRY).stat().st_mtime if (path / _ENTRY).exists() else 0.0
                    yield path, size, used
                else:
                    stat = path.stat()
                    yield path, stat.st_size, stat.st_mtime

    def _remove(self, path: Path) -> None:
        doomed = self.root / "tmp" / f"{os.getpid()}-{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            os.rename(path, doomed)
            if doomed.is_dir():
                shutil.rmtree(doomed, ignore_errors=True)
            else:
                doomed.unlink(missing_ok=True)

    def _grown(self, size: int) -> None:
        with self._lock:
            self._written += size
            due = self._written > self.limit // 20
            if due:
                self._written = 0
        if due:
            self.trim()


class Memory:
    """Short texts by key, in one SQLite file that several processes share: hashes of files, tables of layers. Where the
    file cannot be used, it remembers for this process only."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """The text, or None."""
        if key not in self._known:
            rows = self._query("SELECT value FROM texts WHERE key = ?", (key,))
            if not rows:
                return None
            self._known[key] = str(rows[0][0])
        return self._known[key]

    def put(self, key: str, value: str) -> None:
        """Remember a text."""
        self._known[key] = value
        self._query("INSERT OR REPLACE INTO texts VALUES (?, ?)", (key, value))

    def digest(self, path: Path) -> str:
        """The sha256 of a file's content, computed once for each path, size and modification time."""
        stat = path.stat()
        key = f"sha256 {path.absolute()} {stat.st_size} {stat.st_mtime_ns}"
        known = self.get(key)
        if known is None:
            with path.open("rb") as file:
                known = hashlib.file_digest(file, "sha256").hexdigest()
            if time.time() - stat.st_mtime > _SETTLED:
                self.put(key, known)
        return known

    def _query(self, sql: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        import sqlite3

        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._file, timeout=5)) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, value TEXT)")
                return db.execute(sql, values).fetchall()
        except (sqlite3.Error, OSError):
            return []


@functools.cache
def _memory_in(folder: Path) -> Memory:
    return Memory(folder / "memory.sqlite")


def memory() -> Memory:
    """What this machine remembers between processes; it lies in the cache and may be lost."""
    return _memory_in(cache_dir())


def file_digest(path: Path) -> str:
    """The sha256 of a file's content, remembered."""
    return memory().digest(path)


class Home:
    """A person's own: uploads by content, the datasets they added. Atomic, and never evicted."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or home_dir()).absolute()

    def save_upload(self, data: bytes) -> str:
        """Keep a picture's bytes; the name it has from now on is `upload/` and this sha256."""
        sha = hashlib.sha256(data).hexdigest()[:40]
        if not (self.root / "uploads" / sha).exists():
            self.write(f"uploads/{sha}", data)
        return sha

    def upload(self, sha: str) -> Path | None:
        """The file of an upload, or None."""
        path = self.root / "uploads" / sha
        return path if sha.isalnum() and path.is_file() else None

    def sources(self) -> dict[str, str]:
        """The datasets that `vizkit add` named: alias -> `scheme:argument`."""
        try:
            data: dict[str, str] = json.loads((self.root / "sources.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise VizkitError(f"{self.root / 'sources.json'} cannot be read: {error}. Mend or remove it.") from error
        return data

    def add_source(self, alias: str, spec: str) -> None:
        """Remember a dataset of the person's own."""
        self.write("sources.json", json.dumps(self.sources() | {alias: spec}, indent=2).encode())

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all. Raises a sentence where that is not possible."""
        target = self.root / name
        temporary = target.with_name(f".{os.getpid()}-{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, target)
        except OSError as error:
            raise VizkitError(
                f"{target} cannot be written: {error.strerror}. Free some space or set VIZKIT_HOME to another folder."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _place(variable: str, function: str) -> Path:
    if value := os.environ.get(variable):
        return Path(value).expanduser()
    import platformdirs

    place: Path = getattr(platformdirs, function)("vizkit", appauthor=False)
    return place


def _limit() -> int:
    text = os.environ.get("VIZKIT_CACHE_LIMIT", "10")
    try:
        size = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise VizkitError(f"VIZKIT_CACHE_LIMIT is {text!r}; it must be a number of gigabytes above 0, such as 10.")
    return size


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 is Ctrl-C there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

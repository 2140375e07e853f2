"""TensorFlow's start: kept from writing to the terminal, where nobody asked, and from importing what nobody needs."""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_started = False
_lean = False


def own_process() -> None:
    """Say that this process is vizkit's own, as the `vizkit` command's is, and nobody else's code waits for what Keras
    brings along. It starts two seconds sooner so."""
    global _lean
    _lean = True


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """The first time in a process: import TensorFlow with its chatter kept from the terminal. If the import fails, what
    it said is shown."""
    global _started
    with _lock:
        if not _started:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            with (
                _without_stderr(),
                _without("sklearn", "matplotlib") if _lean else contextlib.nullcontext(),
                _no_collection(),
            ):
                import tensorflow as tf

                tf.constant(0.0) + 1.0  # the first operation talks, too
            _started = True
    yield


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """File descriptor 2 goes to a temporary file meanwhile; C++ code writes there without asking Python. What Python
    writes, from any thread, still reaches the person."""
    import tempfile

    stream = sys.stderr
    try:
        stream.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield
        return
    ours = _descriptor(stream) == 2
    with tempfile.TemporaryFile() as kept, os.fdopen(os.dup(saved), "w", buffering=1, errors="backslashreplace") as direct:
        if ours:
            sys.stderr = direct
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(saved, kept.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            if sys.stderr is direct:
                sys.stderr = stream


def _descriptor(stream: Any) -> int | None:
    try:
        number: int = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    return number


class _Absent(importlib.abc.MetaPathFinder):
    """To the thread that made it, some packages are not installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names, self._thread = names, threading.get_ident()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is not needed to start TensorFlow", name=fullname)


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Keras imports these for wrappers and galleries that vizkit does not use, and does without where they are absent."""
    finder = _Absent(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing of the many objects that an import makes is rubbish."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

"""TensorFlow writes to the terminal when it starts; nobody asked."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_started = False


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """The first time in a process: import TensorFlow with its chatter kept from the terminal. If the import fails, what
    it said is shown."""
    global _started
    with _lock:
        if not _started:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            with _without_stderr():
                import tensorflow as tf

                tf.constant(0.0) + 1.0  # the first operation talks, too
            _started = True
    yield


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """File descriptor 2 goes to a temporary file meanwhile; C++ code writes there without asking Python."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield
        return
    with tempfile.TemporaryFile() as kept:
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

"""`vizkit run TECHNIQUE`: a command made of a technique's declaration, and the progress line while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vizkit import sentences
from vizkit.errors import VizkitError
from vizkit.listings import workspace_of
from vizkit.params import Param
from vizkit.progress import Progress
from vizkit.techniques import Technique
from vizkit.terminal import print_json, print_result

_METAVARS = {"integer": "number", "number": "number", "boolean": "[true|false]", "array": "a,b,…"}


def run_command(technique: Technique[Any]) -> click.Command:
    """The subcommand of one technique."""
    options: list[click.Parameter] = []
    if technique.takes("model") or technique.takes("models"):
        several = technique.takes("models")
        text = "The model; more than one may be given." if several else "The model; see: vizkit list models"
        options.append(click.Option(["--model"], multiple=several, metavar="NAME", help=text))
    if technique.takes("dataset") or technique.takes("images"):
        options.append(click.Option(["--dataset"], metavar="NAME", help="The dataset, or folder:PATH."))
    if technique.takes("images"):
        options.append(click.Option(["--images"], multiple=True, metavar="REF", help="These images in place of a dataset."))
    options += [_option(p) for p in technique.signature.params.values()]
    options.append(click.Option(["--out"], metavar="DIR", help="Write JSON, pictures, tables and a page to this folder."))
    options.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."))

    def invoke(**given: Any) -> None:
        _invoke(click.get_current_context(), technique, given)

    text = f"{technique.question}\n\n{technique.summary}\n\n{technique.explanation}"
    return click.Command(technique.id, callback=invoke, params=options, help=text, short_help=technique.question)


def _option(param: Param) -> click.Option:
    shown = param.default is not None and not param.required and not param.marker
    default = f" [default: {_text(param.schema['default'])}]" if shown else ""
    text = ": ".join(filter(None, [param.description, param.allowed()])) + f".{default}"
    kind = sentences.core(param.schema).get("type")
    metavar = param.marker.kind if param.marker else _METAVARS.get(str(kind), "text")
    alone: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if kind == "boolean" else {}  # --x means --x true
    flags = [f"--{param.name.replace('_', '-')}", param.name]
    return click.Option(flags, type=str, metavar=metavar.upper(), help=text, **alone)


def _text(value: Any) -> str:
    """A default as a person would type it."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _invoke(ctx: click.Context, technique: Technique[Any], given: dict[str, Any]) -> None:
    workspace = workspace_of(ctx)
    out, as_json = given.pop("out"), given.pop("as_json")
    inputs = {name: given.pop(name) or None for name in ("model", "dataset", "images") if name in given}
    params: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if out is not None:
        from vizkit.export import check_target, save

        check_target(Path(out))  # before the work
    with Bar() as bar, contextlib.redirect_stdout(sys.stderr):  # what a technique prints is not its result
        try:
            result = workspace.run(technique.id, progress=bar, **inputs, **params)
        except SystemExit as error:
            raise VizkitError(f"{technique.id} tried to end the program ({error}). See: vizkit plugins") from error
    if out is not None:
        place = save(result, Path(out), workspace.pixels, title=technique.title, question=technique.question)
        click.echo(f"Written to {place / 'index.html'}", err=as_json)
    if as_json:
        print_json(result.to_json())
    elif out is None:
        print_result(result)


class Bar(Progress):
    """A progress line on a terminal, for work longer than a second; quiet everywhere else. Ctrl-C cancels once, and a
    second time at once."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()
        self._shown = False
        self._before: Any = None

    def __enter__(self) -> Bar:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self._shown:
            self._write("")

    def report(
        self,
        step: int,
        total: int,
        *,
        preview: NDArray[np.uint8] | None = None,
        metrics: Mapping[str, float] | None = None,
        text: str = "",
    ) -> None:
        self.check()
        seconds = time.monotonic() - self._started
        if seconds < 1:
            return
        rate = step / seconds
        left = f"{(total - step) / rate:.0f} s left" if rate else ""
        curve = ", ".join(f"{k} {v:.3g}" for k, v in (metrics or {}).items())
        self._write("  ".join(filter(None, [f"{step:,}/{total:,}", f"{rate:.1f}/s", left, text, curve])))

    def _write(self, line: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{line[: _width() - 1]}")
            sys.stderr.flush()
            self._shown = bool(line)

    def _interrupt(self, *_: object) -> None:
        if self.cancelled:
            raise KeyboardInterrupt
        self.cancel()
        self._write("Stopping at the next step; Ctrl-C again stops at once.")


def _width() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80

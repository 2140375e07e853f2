"""What the command line writes: tables, results and problems."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from vizkit.errors import VizkitError

if TYPE_CHECKING:
    from vizkit.results import Result


def say(text: str) -> None:
    """A line to the person, beside what is printed for a program."""
    click.echo(f"vizkit: {text}", err=True)


def print_json(value: Any) -> None:
    """JSON on one line; where the terminal cannot write a letter, its escape."""
    plain = not (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    click.echo(json.dumps(value, ensure_ascii=plain).encode("utf-8", "backslashreplace").decode())


def print_table(rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows under the heads of the first; numbers to the right."""
    rows = list(rows)
    if not rows:
        click.echo("There is nothing here yet.")
        return
    heads = list(rows[0])
    cells = [heads, *[[str(r[h]) for h in heads] for r in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    right = [all(isinstance(r[h], int | float) for r in rows) for h in heads]
    for row in cells:
        padded = (c.rjust(w) if to_right else c.ljust(w) for c, w, to_right in zip(row, widths, right, strict=True))
        click.echo("  ".join(padded).rstrip())


def print_result(result: Result) -> None:
    """A result as text: tables for what has rows, sentences for notes."""
    from vizkit.draw import csv

    if result.summary:
        click.echo(result.summary)
    for view in result.views:
        table = csv(view)
        if view.kind == "note":
            click.echo(f"\n{view.title}\n{view.text}" if view.title else f"\n{view.text}")
        elif table:
            click.echo(f"\n{view.title}\n{table.rstrip()}")
            if view.note:
                click.echo(view.note)
    if result.key:
        click.echo(f"\nKey {result.key}")


class _Say(logging.Handler):
    """Log lines in the same form as all others, on whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def show_log() -> None:
    """Show vizkit's log from the level that VIZKIT_LOG names, and only the errors of others."""
    levels = ["debug", "info", "warning", "error", "critical"]
    level = os.environ.get("VIZKIT_LOG") or "warning"
    if level.lower() not in levels:
        raise VizkitError(f"VIZKIT_LOG is {level!r}; it must be one of {', '.join(levels)}.")
    logging.basicConfig(level=logging.ERROR)
    logger = logging.getLogger("vizkit")
    logger.setLevel(level.upper())
    if not logger.handlers:
        logger.addHandler(_Say())
        logger.propagate = False

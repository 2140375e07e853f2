"""`python -m vizkit` is the `vizkit` command."""

from vizkit.cli import entry

entry()

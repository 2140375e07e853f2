"""The command line: `vizkit list`, `plugins`, `run`, `serve`, `add` and `cache`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vizkit import quiet
from vizkit.errors import Cancelled, NotFound, VizkitError, in_a_line, suggestion
from vizkit.listings import cache, json_option, list_, plugins, workspace_of
from vizkit.terminal import print_json, say, show_log


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0, 2 for a mistake with a way out, 130 after Ctrl-C."""
    try:
        show_log()
        code = cli.main(args=list(arguments) if arguments is not None else None, prog_name="vizkit", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt, Cancelled):
        click.echo("Stopped.", err=True)
        return 130
    except (BrokenPipeError, SystemExit):  # nobody reads on, as after `| head -1`; click leaves so, the last flush raises
        return 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
    except click.ClickException as error:
        say(_usage(error))
    except VizkitError as error:
        say(str(error))
    except OSError as error:
        say(f"{error.filename or 'The output could not be written'}: {error.strerror}.")
    except Exception as error:
        logging.getLogger("vizkit").debug("unforeseen", exc_info=True)
        say(f"{in_a_line(error).rstrip('.')}. This is a fault in vizkit or a plugin; VIZKIT_LOG=debug shows where.")
    return 2


def entry() -> None:
    """What the installed `vizkit` command calls."""
    quiet.own_process()
    code = main()
    try:
        sys.stdout.flush()
    except OSError:  # what cannot be written goes nowhere, in place of a complaint from Python
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    """click's sentence in our shape: what was wrong, what is near it, where to look."""
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and context:
        flags = [flag for p in context.command.get_params(context) for flag in p.opts if flag.startswith("--")]
        text = f"{context.command_path} has no option {error.option_name}.{suggestion(error.option_name, flags)}"
    elif isinstance(error, click.BadOptionUsage):
        return f"{error.option_name} needs a value. See the same command with --help"
    return " ".join(text.split()) + (f" See: {context.command_path} --help" if context else "")


class _Root(click.Group):
    """The whole command; a Ctrl-C is ours to report before click does."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Cancelled("Stopped.") from error


class _Techniques(click.Group):
    """`vizkit run` has one subcommand a technique, made of its declaration."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(workspace_of(ctx).registry.techniques)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from vizkit.run_command import run_command

        return run_command(workspace_of(ctx).registry.technique(cmd_name))


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vizkit", message="vizkit %(version)s")
def cli() -> None:
    """Open a convolutional network and see what it looks at, what its units look for and what it finds alike."""


for _command in (list_, plugins, cache):
    cli.add_command(_command)


@cli.group("run", cls=_Techniques)
def run_() -> None:
    """Run a technique. `vizkit run TECHNIQUE --help` lists its parameters."""


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine; others are refused.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--dataset", "datasets", multiple=True, metavar="SPEC", help="Also offer this: folder:PATH. May be repeated.")
@click.pass_context
def serve(ctx: click.Context, host: str, port: int, no_browser: bool, datasets: Sequence[str]) -> None:
    """Open the app in a browser."""
    workspace = workspace_of(ctx)
    for spec in datasets:
        workspace.registry.open(spec)
    from vizkit_dash import serve as serve_app

    serve_app(workspace, host=host, port=port, browser=not no_browser)


@cli.command()
@click.argument("spec")
@click.option("--name", help="What to call it; otherwise it is named after the folder.")
@json_option
@click.pass_context
def add(ctx: click.Context, spec: str, name: str | None, as_json: bool) -> None:
    """Make a dataset of your own known from now on. SPEC is folder:PATH, or the path of a folder."""
    workspace = workspace_of(ctx)
    if ":" not in spec and Path(spec).expanduser().is_dir():
        spec = f"folder:{spec}"
    scheme, colon, argument = spec.partition(":")
    if not colon:
        raise NotFound(f"There is no folder {spec!r}. Give the path of a folder of pictures, or folder:PATH.")
    if argument and Path(argument).expanduser().exists():
        spec = f"{scheme}:{Path(argument).expanduser().resolve()}"
    dataset = workspace.registry.open(spec, name)
    count, skipped = len(dataset.ids()), dataset.skipped()
    workspace.home.add_source(dataset.name, spec)
    if as_json:
        return print_json({"name": dataset.name, "spec": spec, "images": count, "skipped": [list(s) for s in skipped]})
    click.echo(f"{dataset.name}: {count} image{'s' * (count != 1)}. Use it with --dataset {dataset.name}")
    for file, reason in skipped:
        say(f"skipped {file}: {reason}")
    return None

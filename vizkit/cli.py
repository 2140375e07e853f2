"""The command line: `vizkit list`, `plugins`, `run`, `serve`, `add` and `cache`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vizkit.cached import gigabytes
from vizkit.errors import Cancelled, NotFound, VizkitError
from vizkit.params import Param
from vizkit.progress import Progress
from vizkit.registry import Registry
from vizkit.results import Result
from vizkit.techniques import Technique
from vizkit.workspace import Workspace, rank

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0, 2 for a mistake with a way out, 130 after Ctrl-C."""
    _log()
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, prog_name="vizkit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt, Cancelled):
        click.echo("Stopped.", err=True)
        return 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        see = f" See: {context.command_path} --help" if context else ""
        return _say(f"{error.format_message()}{see}")
    except VizkitError as error:
        return _say(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        return _say(f"{error.filename or 'The system'}: {error.strerror}.")
    except Exception as error:
        logging.getLogger("vizkit").debug("unforeseen", exc_info=True)
        text = " ".join(str(error).split())[:300]
        return _say(f"{type(error).__name__}: {text}. This is a fault in vizkit or a plugin; VIZKIT_LOG=debug shows where.")


def entry() -> None:
    """What the installed `vizkit` command calls."""
    sys.exit(main())


class _Techniques(click.Group):
    """`vizkit run` has one subcommand a technique, made of its declaration."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_workspace(ctx).registry.techniques)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _run_command(_workspace(ctx).registry.technique(cmd_name))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vizkit", message="vizkit %(version)s")
def cli() -> None:
    """Open a convolutional network and see what it looks at, what its units look for and what it finds alike."""


@cli.group("list")
def list_() -> None:
    """What is installed: models, datasets, techniques, and a model's layers."""


@list_.command("models")
@_JSON
@click.pass_context
def list_models(ctx: click.Context, as_json: bool) -> None:
    """The models, with their input size and number of layers."""
    rows = [
        {
            "name": m.name,
            "title": m.title,
            "height": m.image_size[0],
            "width": m.image_size[1],
            "layers": len(m.layers()),
            "curated": list(m.curated),
            "classes": len(m.labels),
            "random_weights": m.random_weights,
        }
        for m in sorted(_workspace(ctx).registry.models.values(), key=rank)
    ]
    _table(
        rows if as_json else [
            {"model": r["name"], "size": f"{r['height']} x {r['width']}", "layers": r["layers"], "classes": r["classes"],
             "": "random weights" if r["random_weights"] else ""} for r in rows
        ], as_json)  # fmt: skip


@list_.command("datasets")
@_JSON
@click.pass_context
def list_datasets(ctx: click.Context, as_json: bool) -> None:
    """The datasets, with their number of images and classes."""
    rows: list[dict[str, Any]] = []
    for d in sorted(_workspace(ctx).registry.datasets.values(), key=rank):
        try:
            row = {
                "name": d.name,
                "title": d.title,
                "images": len(d.ids()),
                "classes": len({label for label in d.labels() if label is not None}),
                "skipped": [list(s) for s in d.skipped()],
            }
        except VizkitError as error:
            row = {"name": d.name, "title": d.title, "images": 0, "classes": 0, "skipped": [], "problem": str(error)}
        rows.append(row)
    if as_json:
        _table(rows, True)
        return
    _table([{"dataset": r["name"], "images": r["images"], "classes": r["classes"], "": r["title"]} for r in rows], False)
    for r in rows:
        for name, reason in r["skipped"]:
            click.echo(f"{r['name']}: skipped {name}: {reason}", err=True)
        if "problem" in r:
            click.echo(f"{r['name']}: {r['problem']}", err=True)


@list_.command("techniques")
@_JSON
@click.pass_context
def list_techniques(ctx: click.Context, as_json: bool) -> None:
    """The techniques, with the question that each answers."""
    rows = [
        {"name": t.id, "title": t.title, "question": t.question, "needs": sorted(t.needs), "uses": sorted(t.uses),
         "parameters": t.signature.schema}
        for t in _workspace(ctx).registry.techniques.values()
    ]  # fmt: skip
    _table(rows if as_json else [{"technique": r["name"], "": r["question"]} for r in rows], as_json)


@list_.command("layers")
@click.argument("model", required=False)
@_JSON
@click.pass_context
def list_layers(ctx: click.Context, model: str | None, as_json: bool) -> None:
    """The layers of MODEL in network order; * marks the curated ones."""
    adapter = _workspace(ctx).model(model)
    curated = set(adapter.curated)
    rows: list[dict[str, Any]] = [
        {"index": n.index, "layer": n.path, "type": n.kind, "shape": list(n.shape), "channels": n.channels,
         "parameters": n.params, "signed": n.signed, "curated": n.path in curated}
        for n in adapter.layers()
    ]  # fmt: skip
    if as_json:
        _table(rows, True)
        return
    marks = {"signed": "±", "curated": "*"}
    _table(
        [r | {"shape": " x ".join(map(str, r["shape"]))} | {k: m if r[k] else "" for k, m in marks.items()} for r in rows],
        False,
    )


@cli.command()
@_JSON
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """The installed plugins, what each adds, and what is wrong with any."""
    registry = _workspace(ctx).registry
    if as_json:
        found = [vars(p) for p in registry.plugins.values()]
        return _table({"plugins": found, "problems": [vars(p) for p in registry.problems]}, True)
    _table([{"plugin": p.name, "version": p.version, "adds": ", ".join([*p.models, *p.datasets, *p.techniques]) or "-"}
            for p in registry.plugins.values()], False)  # fmt: skip
    for problem in registry.problems:
        click.echo(f"problem: {problem}")


@cli.group("run", cls=_Techniques)
def run_() -> None:
    """Run a technique. `vizkit run TECHNIQUE --help` lists its parameters."""


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--dataset", "datasets", multiple=True, metavar="SPEC", help="Also offer this: folder:PATH. May be repeated.")
@click.pass_context
def serve(ctx: click.Context, host: str, port: int, no_browser: bool, datasets: Sequence[str]) -> None:
    """Open the app in a browser."""
    workspace = _workspace(ctx)
    for spec in datasets:
        workspace.dataset(spec)
    _show_problems(workspace.registry)
    from vizkit_dash import serve as serve_app

    serve_app(workspace, host=host, port=port, browser=not no_browser)


@cli.command()
@click.argument("spec")
@click.option("--name", help="What to call it; otherwise it is named after the folder.")
@click.pass_context
def add(ctx: click.Context, spec: str, name: str | None) -> None:
    """Make a dataset of your own known from now on. SPEC is folder:PATH, or the path of a folder."""
    workspace = _workspace(ctx)
    if ":" not in spec and Path(spec).expanduser().is_dir():
        spec = f"folder:{spec}"
    scheme, _, argument = spec.partition(":")
    if argument and Path(argument).expanduser().exists():
        spec = f"{scheme}:{Path(argument).expanduser().resolve()}"
    dataset = workspace.registry.open(spec, name)
    count = len(dataset.ids())
    workspace.home.add_source(dataset.name, spec)
    click.echo(f"{dataset.name}: {count} images. Use it with --dataset {dataset.name}")
    for file, reason in dataset.skipped():
        click.echo(f"skipped {file}: {reason}", err=True)


@cli.group()
def cache() -> None:
    """The results and activations that are kept."""


@cache.command("info")
@_JSON
@click.pass_context
def cache_info(ctx: click.Context, as_json: bool) -> None:
    """Where the cache is and what it holds."""
    info = _workspace(ctx).store.info()
    if as_json:
        _table(info, True)
        return
    click.echo(f"{info['path']}: {gigabytes(info['bytes'])} of at most {gigabytes(info['limit'])}")
    _table([{"kind": k, "entries": v["entries"], "size": gigabytes(v["bytes"])} for k, v in info["kinds"].items()], False)


@cache.command("clear")
@_JSON
@click.pass_context
def cache_clear(ctx: click.Context, as_json: bool) -> None:
    """Throw all of it away. Uploads and everything else of your own stay."""
    freed = _workspace(ctx).store.clear()
    if as_json:
        _table({"freed": freed}, True)
        return
    click.echo(f"{gigabytes(freed)} freed.")


@cache.command("explain")
@click.argument("key")
@_JSON
@click.pass_context
def cache_explain(ctx: click.Context, key: str, as_json: bool) -> None:
    """How the result with this KEY (or its first letters) was made."""
    store = _workspace(ctx).store
    found = [k for k in store.keys("results") if k.startswith(key)]
    if len(found) != 1:
        some = f"{len(found)} results begin with {key!r}" if found else f"No result has the key {key!r}"
        raise NotFound(f"{some}. A result's key is in its provenance: vizkit run … --json")
    entry = store.get("results", found[0])
    provenance = entry.json()["provenance"] if entry else {}
    if as_json:
        _table(provenance, True)
        return
    for name, value in provenance.items():
        click.echo(f"{name}: {value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)}")


def _run_command(technique: Technique[Any]) -> click.Command:
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
    default = "" if param.default is None or param.required or param.marker else f" [default: {param.schema.get('default')}]"
    text = f"{param.description}: {param.allowed()}.{default}" if param.description else f"{param.allowed()}.{default}"
    metavar = param.marker.kind.upper() if param.marker else None
    return click.Option([f"--{param.name.replace('_', '-')}", param.name], type=str, metavar=metavar, help=text)


def _invoke(ctx: click.Context, technique: Technique[Any], given: dict[str, Any]) -> None:
    workspace = _workspace(ctx)
    out, as_json = given.pop("out"), given.pop("as_json")
    inputs = {name: given.pop(name) or None for name in ("model", "dataset", "images") if name in given}
    params: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    for name, value in params.items():
        marker = technique.signature.params[name].marker
        if marker is not None and marker.kind == "image":
            params[name] = workspace.reference(value)
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise VizkitError(f"{out} is a file. Give --out a folder that does not exist yet.")
    with Bar() as bar:
        result = workspace.run(technique.id, progress=bar, **inputs, **params)
    if out is not None:
        from vizkit.export import save

        place = save(result, Path(out), workspace.pixels)
        click.echo(f"Written to {place / 'index.html'}", err=as_json)
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False, indent=None))
    elif out is None:
        _print(result)


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
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

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
        if seconds < 1 or not sys.stderr.isatty():
            return
        rate = step / seconds
        left = f"{(total - step) / rate:.0f} s left" if rate else ""
        curve = ", ".join(f"{k} {v:.3g}" for k, v in (metrics or {}).items())
        sys.stderr.write(f"\r\033[K{step:,}/{total:,}  {rate:.1f}/s  {left}  {text}  {curve}".rstrip())
        sys.stderr.flush()
        self._shown = True

    def _interrupt(self, *_: object) -> None:
        if self.cancelled:
            raise KeyboardInterrupt
        self.cancel()


def _print(result: Result) -> None:
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


def _workspace(ctx: click.Context) -> Workspace:
    root = ctx.find_root()
    if root.obj is None:
        root.obj = Workspace()
        if ctx.info_name not in ("plugins", "serve"):
            _show_problems(root.obj.registry)
    workspace: Workspace = root.obj
    return workspace


def _show_problems(registry: Registry) -> None:
    for problem in registry.problems:
        click.echo(f"vizkit: {problem}", err=True)


def _table(rows: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
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


def _say(text: str) -> int:
    click.echo(f"vizkit: {text}", err=True)
    return 2


def _log() -> None:
    logging.basicConfig(level=logging.ERROR)
    logger = logging.getLogger("vizkit")
    logger.setLevel(os.environ.get("VIZKIT_LOG", "warning").upper())
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("vizkit: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False

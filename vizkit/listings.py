"""The command line's listings: what is installed, what is wrong with it, what is kept."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vizkit.errors import NotFound, gigabytes, in_a_line
from vizkit.terminal import print_json, print_table, say

if TYPE_CHECKING:
    from vizkit.datasets import Dataset
    from vizkit.models import ModelAdapter
    from vizkit.techniques import Technique
    from vizkit.types import LayerInfo
    from vizkit.workspace import Workspace

T = TypeVar("T")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def workspace_of(ctx: click.Context) -> Workspace:
    """The command's workspace, made once; what is wrong with a plugin is said then."""
    from vizkit.workspace import Workspace

    root = ctx.find_root()
    if root.obj is None:
        with contextlib.redirect_stdout(sys.stderr):  # a plugin that prints must not get into somebody's JSON
            root.obj = Workspace()
        for problem in root.obj.registry.problems:
            say(str(problem))
    workspace: Workspace = root.obj
    return workspace


@click.group("list")
def list_() -> None:
    """What is installed: models, datasets, techniques, and a model's layers."""


@list_.command("models")
@json_option
@click.pass_context
def list_models(ctx: click.Context, as_json: bool) -> None:
    """The models, with their input size, number of layers (where known without loading) and of classes."""

    def about(m: ModelAdapter) -> dict[str, Any]:
        return {
            "title": m.title,
            "height": m.image_size[0],
            "width": m.image_size[1],
            "layers": None if (known := _known_layers(m)) is None else len(known),
            "curated": list(m.curated),
            "classes": len(m.labels),
            "random_weights": m.random_weights,
        }

    def line(r: Mapping[str, Any]) -> dict[str, Any]:
        note = " (random weights)" * r["random_weights"]
        layers = "?" if r["layers"] is None else r["layers"]
        size = f"{r['height']} x {r['width']}"
        return {"model": r["name"], "size": size, "layers": layers, "classes": r["classes"], "": r["title"] + note}

    _list(workspace_of(ctx).registry.models, about, line, as_json)


@list_.command("datasets")
@json_option
@click.pass_context
def list_datasets(ctx: click.Context, as_json: bool) -> None:
    """The datasets, with their number of images and classes."""

    def about(d: Dataset) -> dict[str, Any]:
        return {
            "title": d.title,
            "images": len(d.ids()),
            "classes": len({label for label in d.labels() if label is not None}),
            "skipped": [list(s) for s in d.skipped()],
        }

    def line(r: Mapping[str, Any]) -> dict[str, Any]:
        return {"dataset": r["name"], "images": r["images"], "classes": r["classes"], "": r["title"]}

    _list(workspace_of(ctx).registry.datasets, about, line, as_json)


@list_.command("techniques")
@json_option
@click.pass_context
def list_techniques(ctx: click.Context, as_json: bool) -> None:
    """The techniques, with the question that each answers."""

    def about(t: Technique[Any]) -> dict[str, Any]:
        more = {"needs": sorted(t.needs), "uses": sorted(t.uses), "parameters": t.signature.schema}
        return {"title": t.title, "question": t.question, **more}

    table = workspace_of(ctx).registry.techniques
    _list(table, about, lambda r: {"technique": r["name"], "": r["question"]}, as_json, order=lambda t: (0, t.id))


@list_.command("layers")
@click.argument("model", required=False)
@json_option
@click.pass_context
def list_layers(ctx: click.Context, model: str | None, as_json: bool) -> None:
    """The layers of MODEL in network order; ± marks those whose values can be negative, * the curated ones."""
    adapter = workspace_of(ctx).model(model)
    curated = set(adapter.curated)
    rows: list[dict[str, Any]] = [
        {"index": n.index, "layer": n.path, "type": n.kind, "shape": list(n.shape), "channels": n.channels,
         "parameters": n.params, "signed": n.signed, "curated": n.path in curated}
        for n in adapter.layers()
    ]  # fmt: skip
    if as_json:
        return print_json(rows)
    marks = {"signed": "±", "curated": "*"}
    return print_table(
        r | {"shape": " x ".join(map(str, r["shape"]))} | {k: m if r[k] else "" for k, m in marks.items()} for r in rows
    )


@click.command()
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """The installed plugins, what each adds, and what is wrong with any."""
    registry = workspace_of(ctx).registry
    if as_json:
        return print_json(
            {"plugins": list(map(vars, registry.plugins.values())), "problems": list(map(vars, registry.problems))}
        )
    print_table(
        {
            "plugin": p.name,
            "version": p.version,
            "adds": ", ".join([*p.models, *p.datasets, *(f"{o}:…" for o in p.openers), *p.techniques]) or "-",
        }
        for p in registry.plugins.values()
    )
    for problem in registry.problems:
        click.echo(f"problem: {problem}")
    return None


@click.group()
def cache() -> None:
    """The results and activations that are kept."""


@cache.command("info")
@json_option
@click.pass_context
def cache_info(ctx: click.Context, as_json: bool) -> None:
    """Where the cache is and what it holds."""
    info = workspace_of(ctx).store.info()
    if as_json:
        return print_json(info)
    click.echo(f"{info['path']}: {gigabytes(info['bytes'])} of at most {gigabytes(info['limit'])}")
    kinds = info["kinds"].items()
    return print_table({"kind": k, "entries": v["entries"], "size": gigabytes(v["bytes"])} for k, v in kinds)


@cache.command("clear")
@json_option
@click.pass_context
def cache_clear(ctx: click.Context, as_json: bool) -> None:
    """Throw all of it away. Uploads and everything else of your own stay."""
    freed = workspace_of(ctx).store.clear()
    if as_json:
        return print_json({"freed": freed})
    return click.echo(f"{gigabytes(freed)} freed.")


@cache.command("explain")
@click.argument("key")
@json_option
@click.pass_context
def cache_explain(ctx: click.Context, key: str, as_json: bool) -> None:
    """How the result with this KEY (or its first letters) was made."""
    workspace = workspace_of(ctx)
    found = [k for k in workspace.store.keys("results") if k.startswith(key)]
    result = workspace.result(found[0]) if len(found) == 1 else None
    if result is None or result.provenance is None:
        some = f"{len(found)} results begin with {key!r}" if len(found) > 1 else f"No result has the key {key!r}"
        raise NotFound(f"{some}. A result's key is printed below it, and is in its provenance: vizkit run … --json")
    provenance = result.provenance.to_json()
    if as_json:
        return print_json(provenance)
    for name, value in provenance.items():
        click.echo(f"{name}: {value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)}")
    return None


def _known_layers(model: ModelAdapter) -> tuple[LayerInfo, ...] | None:
    known: tuple[LayerInfo, ...] | None = getattr(model, "known_layers", model.layers)()
    return known


def _list(
    table: Mapping[str, T],
    about: Callable[[T], dict[str, Any]],
    line: Callable[[Mapping[str, Any]], dict[str, Any]],
    as_json: bool,
    order: Callable[[T], Any] | None = None,
) -> None:
    """What is installed, a row each; one that fails has a problem in its row, and the others stand."""
    from vizkit.workspace import rank

    rows = []
    for name, thing in sorted(table.items(), key=lambda item: (order or rank)(item[1])):
        try:
            rows.append({"name": name, **about(thing)})
        except Exception as error:
            rows.append({"name": name, "problem": in_a_line(error)})
    if as_json:
        return print_json(rows)
    print_table([line(r) for r in rows if "problem" not in r])
    for row in rows:
        for file, reason in row.get("skipped", ()):
            say(f"{row['name']}: skipped {file}: {reason}")
        if "problem" in row:
            say(f"{row['name']}: {row['problem']}")
    return None

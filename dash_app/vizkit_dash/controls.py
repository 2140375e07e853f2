"""Controls from a technique's declaration: a description of each field, which the browser draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vizkit import ModelAdapter, Technique, VizkitError, Workspace
from vizkit.params import Param
from vizkit_dash.choice import Choice, image_param
from vizkit_dash.facts import Facts

_SLIDES = 200  # steps above which a slider is a gamble, and a box for the number is shown alone
_SERIES = (1, 2, 5, 10, 15, 20, 30, 50, 100, 200, 500, 1000)


def fields(technique: Technique[Any], choice: Choice, facts: Facts) -> tuple[list[dict[str, Any]], bool]:
    """What the browser draws, in order: inputs, then parameters. And whether something is still being found out."""
    out: list[dict[str, Any]] = []
    pending = False
    if technique.takes("model") or technique.takes("models"):
        field, waits = _model(facts, _chosen_model(facts.workspace, choice))
        out.append(field)
        pending |= waits
    if technique.takes("dataset") or technique.takes("images"):
        field, waits = _dataset(facts)
        out.append(field)
        pending |= waits
    gallery = image_param(technique)
    model = _chosen_model(facts.workspace, choice)
    for param in technique.signature.params.values():
        if param.name == gallery:
            continue  # the gallery is its control
        field = {"name": param.name, "label": _label(param.name), "help": _help(param), "advanced": _advanced(param)}
        if param.marker and param.marker.kind == "layer":
            layers, waits = _layers(param, model, facts)
            field |= layers
            pending |= waits
        else:
            field |= _kind(param)
        out.append(field)
    return out, pending


def values(technique: Technique[Any], choice: Choice, workspace: Workspace, public: Mapping[str, Any]) -> dict[str, Any]:
    """What each control shows: what was chosen, else what the run found as its default, else the declared default."""
    shown: dict[str, Any] = {}
    for name in ("model", "dataset"):
        shown[name] = getattr(choice, name) or _default(workspace, name)
    for name, param in technique.signature.params.items():
        declared = param.schema.get("default")
        shown[name] = choice.params.get(name, public.get(name, declared))
        if isinstance(shown[name], list | tuple):
            shown[name] = ", ".join(map(str, shown[name]))
        if _kind(param)["kind"] == "switch":
            shown[name] = shown[name] in (True, "true", "True", "1", "yes", "on")
    return shown


def _kind(param: Param) -> dict[str, Any]:
    """The control for one parameter that depends on nothing else."""
    schema: Mapping[str, Any] = next((s for s in param.schema.get("anyOf", ()) if s.get("type") != "null"), param.schema)
    optional = schema is not param.schema
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
    kind = schema.get("type")
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else None):
        empty = [{"value": "", "label": "none"}] if optional else []
        return {"kind": "select", "options": empty + [{"value": c, "label": str(c)} for c in choices]}
    if kind == "boolean":
        return {"kind": "switch"}
    if param.marker and param.marker.kind == "class":
        return {"kind": "text", "placeholder": "a name or an index"}
    if kind in ("integer", "number"):
        whole = kind == "integer"
        bounds = {"min": low, "max": high, "whole": whole, "step": 1 if whole else _step(low, high)}
        steps = None if low is None or high is None else (high - low) / bounds["step"]
        if steps is not None and steps <= _SLIDES and not optional:
            return {"kind": "slider", **bounds}
        within = [n for n in _SERIES if (low is None or n >= low) and (high is None or n <= high)]
        return {"kind": "number", "optional": optional, **bounds, "offers": within if whole and low is not None else []}
    return {"kind": "text", "placeholder": param.allowed() if not param.required else ""}


def _step(low: float | None, high: float | None) -> float:
    """A step of a 1-2-5 series that divides a range into about a hundred."""
    if low is None or high is None:
        return 0.01
    step = 1e-9
    for size in (f * 10.0**e for e in range(-9, 10) for f in (1, 2, 5)):
        if (high - low) / size <= _SLIDES:
            return size
    return step


def _model(facts: Facts, chosen: ModelAdapter | None) -> tuple[dict[str, Any], bool]:
    options, pending = [], False
    for model in facts.models():
        is_chosen = chosen is not None and model.name == chosen.name
        known = facts.layers(model) if is_chosen else facts.known_layers(model)
        pending |= known.pending
        height, width = model.image_size
        count = "" if known.value is None else f"{len(known.value) or '?'} layers, "
        about = known.error or f"{count}{height} × {width} pixels{', random weights' if model.random_weights else ''}"
        options.append({"value": model.name, "label": model.name, "about": about})
    return {"name": "model", "label": "Model", "kind": "picker", "options": options}, pending


def _dataset(facts: Facts) -> tuple[dict[str, Any], bool]:
    options, pending = [], False
    for dataset in facts.datasets():
        known = facts.size(dataset)
        pending |= known.pending
        pictures, classes = known.value or (0, 0)
        about = f"{pictures:,} pictures" if known.value is not None else known.error or "counting …"
        about += f", {classes} classes" if classes else ""
        options.append({"value": dataset.name, "label": dataset.title or dataset.name, "about": about})
    return {"name": "dataset", "label": "Pictures", "kind": "picker", "options": options}, pending


def _layers(param: Param, model: ModelAdapter | None, facts: Facts) -> tuple[dict[str, Any], bool]:
    known = facts.layers(model) if model else None
    if model is None or known is None or known.value is None:
        text = known.error if known and known.error else "loading the model …"
        return {"kind": "picker", "options": [], "placeholder": text}, bool(known and known.pending)
    fits = getattr(param.marker, "fits", lambda layer: True)
    curated = set(model.curated)
    rows = []
    for layer in known.value:
        if fits(layer):
            shape = " × ".join("any" if n is None else str(n) for n in layer.shape)
            about = f"{layer.kind} · {shape} · {layer.channels:,} channels · {layer.params:,} parameters"
            star = layer.path in curated
            rows.append({"value": layer.path, "label": layer.path, "index": layer.index, "about": about, "star": star})
    return {"kind": "picker", "options": rows, "star": "Telling layers ★", "rest": "All, in network order"}, False


def _chosen_model(workspace: Workspace, choice: Choice) -> ModelAdapter | None:
    try:
        return workspace.registry.model(choice.model.split(",")[0]) if choice.model else workspace.model()
    except VizkitError:
        return None


def _default(workspace: Workspace, name: str) -> str | None:
    try:
        return str((workspace.model() if name == "model" else workspace.dataset()).name)
    except VizkitError:
        return None


def _advanced(param: Param) -> bool:
    return bool(param.schema.get("advanced"))


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize() if len(name) > 1 else name


def _help(param: Param) -> str:
    return param.description

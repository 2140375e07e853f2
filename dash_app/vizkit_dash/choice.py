"""What a person has chosen on a panel, as a value, as JSON, and as an address; and the run that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from vizkit import ImageRef, InvalidParameter, NotFound, Technique, VizkitError, Workspace
from vizkit.errors import suggestion
from vizkit.runs import Request, prepare

_INPUTS = ("model", "dataset")


@dataclass(frozen=True)
class Choice:
    """A technique and everything that differs from its defaults. Nothing here is trusted: `request` checks it all."""

    technique: str
    model: str | None = None
    dataset: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        """What `to_json` made, or what a browser sent in its place."""
        model, dataset, params = data.get("model"), data.get("dataset"), data.get("params")
        return cls(
            str(data.get("technique") or ""),
            str(model) if model else None,
            str(dataset) if dataset else None,
            dict(params) if isinstance(params, Mapping) else {},
        )

    @classmethod
    def from_query(cls, technique: str, query: str) -> Choice:
        """What an address asks for after its question mark."""
        given = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True, max_num_fields=200))
        return cls.from_json({"technique": technique, **{k: given.pop(k, None) for k in _INPUTS}, "params": given})

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, ready for a Store."""
        return asdict(self)

    def query(self) -> str:
        """The address's part after the question mark, with the mark; "" where everything is at its default."""
        pairs = [(k, str(getattr(self, k))) for k in _INPUTS if getattr(self, k)]
        pairs += [(k, _text(v)) for k, v in self.params.items()]
        return "?" + urlencode(pairs, quote_via=quote, safe="/:,") if pairs else ""

    def known(self, workspace: Workspace) -> Choice:
        """Without the parameters that this technique does not have: an address may carry more than we asked for."""
        technique = workspace.registry.techniques.get(self.technique)
        if technique is None:
            return self
        names = technique.signature.params
        return replace(self, params={k: self.params[k] for k in names if k in self.params})

    def changed(self, workspace: Workspace, name: str, value: Any) -> Choice:
        """With one thing chosen; what no longer fits it goes back to its default (model before layer, dataset before
        image), and what equals its default is left out."""
        technique = workspace.registry.technique(self.technique)
        if name in _INPUTS and name not in technique.signature.params:
            default = _default(workspace, name)
            given = None if value == default else str(value)
            chosen = replace(self, model=given) if name == "model" else replace(self, dataset=given)
            return chosen._without(technique, _outlived(workspace, name, str(value)))
        if name not in technique.signature.params:
            return self
        param = technique.signature.params[name]
        params = {k: v for k, v in self.params.items() if k != name}
        unset = value is None or value == "" or ("default" in param.schema and value == param.schema["default"])
        if not unset:
            params[name] = value
        chosen = replace(self, params={k: params[k] for k in technique.signature.params if k in params})
        dependent = [n for n, p in technique.signature.params.items() if getattr(p.marker, "of", None) == name]
        return replace(chosen, params={k: v for k, v in chosen.params.items() if k not in dependent})

    def followed(self, workspace: Workspace, link: Mapping[str, Any], item: str) -> Choice:
        """After a click on an element that carries a link: a patch onto what was chosen, for this technique or another."""
        target = workspace.registry.technique(str(link.get("technique", "")))
        patch = {**dict(link.get("params") or {}), **({str(link["bind"]): item} if link.get("bind") else {})}
        start = replace(self, technique=target.id).known(workspace)
        for name, value in patch.items():
            start = start.changed(workspace, str(name), value)
        return start

    def _without(self, technique: Technique[Any], stays: Any) -> Choice:
        kept = {}
        for name, value in self.params.items():
            marker = technique.signature.params[name].marker if name in technique.signature.params else None
            if marker is None or stays(marker, value):
                kept[name] = value
        return replace(self, params=kept)


def image_param(technique: Technique[Any]) -> str | None:
    """The parameter that the gallery fills: the first picture, or None."""
    params = technique.signature.params
    return next((n for n, p in params.items() if p.marker and p.marker.kind == "image" and not p.marker.role), None)


def request(workspace: Workspace, choice: Choice) -> Request:
    """The run that is asked for, every part checked. Only names that the registry knows are followed: no path, no scheme.

    Raises InvalidParameter with a sentence for each field, `model` and `dataset` among them, or another VizkitError.
    """
    registry = workspace.registry
    technique = registry.technique(choice.technique)
    given: dict[str, Any] = {"params": dict(choice.params)}
    wrong: dict[str, str] = {}

    def field(name: str, find: Any) -> Any:
        try:
            return find()
        except VizkitError as error:
            wrong[name] = str(error)
            return None

    if technique.takes("model") and choice.model:
        given["model"] = field("model", lambda: registry.model(choice.model or ""))
    if technique.takes("models") and choice.model:
        given["model"] = field("model", lambda: [registry.model(m) for m in (choice.model or "").split(",")])
    if choice.dataset:
        given["dataset"] = field("dataset", lambda: registry.dataset(choice.dataset or ""))
    for name, param in technique.signature.params.items():
        if param.marker and param.marker.kind == "image" and name in choice.params:
            field(name, lambda name=name: known_image(workspace, str(choice.params[name])))
    try:
        technique.signature.validate(choice.params)
    except InvalidParameter as error:
        wrong = error.fields | wrong
    if wrong:
        raise InvalidParameter(wrong)
    return prepare(workspace, technique, **given)


def known_image(workspace: Workspace, text: str) -> ImageRef:
    """The reference of a picture that this workspace already has. Raises a sentence for anything else, files included."""
    ref = ImageRef.parse(text)
    if ref.source == "upload":
        if workspace.home.upload(ref.id) is None:
            raise NotFound(f"There is no upload {ref.id!r}: it was removed, or made on another machine.")
        return ref
    if ref.source == "result":
        key, _, n = ref.id.rpartition("/")
        if not (key.isalnum() and n.isdecimal()):
            raise NotFound(f"{text!r} names no picture of a result. It looks like result/KEY/0.")
        return ref
    dataset = workspace.registry.dataset(ref.source)
    ids = dataset.ids()
    if ref.id not in ids:
        reason = dict(dataset.skipped()).get(ref.id)
        why = f" That file {reason}." if reason else suggestion(ref.id, ids)
        raise NotFound(f"{dataset.name} has no image {ref.id!r}.{why}")
    return ref


def _default(workspace: Workspace, name: str) -> str | None:
    try:
        return str((workspace.model() if name == "model" else workspace.dataset()).name)
    except VizkitError:
        return None


def _outlived(workspace: Workspace, name: str, value: str) -> Any:
    """Whether a parameter's value stays true once the model or the dataset is another."""

    def stays(marker: Any, given: Any) -> bool:
        if name == "dataset":
            return bool(marker.kind != "image" or str(given).partition("/")[0] in (value, "upload", "result"))
        if marker.kind == "layer":
            model = workspace.registry.models.get(value)
            return model is not None and given in model.curated
        return bool(marker.kind in ("image", "class"))

    return stays


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)

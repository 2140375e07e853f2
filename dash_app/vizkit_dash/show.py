"""What a panel shows at one moment: computed from its choice, its run, and what it has been sent already."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dash import dcc, html

from vizkit import Result, Technique, VizkitError
from vizkit_dash.aio import waiting
from vizkit_dash.attached import Attached, foreign
from vizkit_dash.choice import Choice, image_param
from vizkit_dash.controls import fields, values
from vizkit_dash.jobs import Look, sentence
from vizkit_dash.parts import shape
from vizkit_dash.views import Place, render

_AGAIN = 300  # milliseconds between two looks at a run
_FOREIGN = "This panel was made with another workspace than its app works with. Say which: attach(app, workspace)."
_LISTED = 50  # files left out that are named
_MOMENT = 0.06  # seconds in which a cached result comes, so that nothing flickers


class Panel:
    """One panel's answer to one request. `shown` is what the browser has: the ticket of its run, and a version of each
    part, so that only what is new travels."""

    def __init__(self, own: Attached, prefix: str, choice: Choice, shown: dict[str, Any], id: dict[str, Any]) -> None:
        self.own, self.prefix, self.shown, self.id = own, prefix, dict(shown), id
        self.choice = choice.known(own.workspace)
        self.out: dict[str, Any] = {}
        self.placed: list[tuple[dict[str, Any], dict[str, Any]]] = []  # (id, properties) of what changes in its place

    def update(self) -> dict[str, Any]:
        """The properties to change, as part.property."""
        if foreign(str(self.shown.get("workspace") or ""), self.own.workspace):
            return self._instead(_FOREIGN)
        technique = self.own.workspace.registry.techniques.get(self.choice.technique)
        if technique is None:
            return self._missing()
        look = self._look()
        public = look.request.public if look.request else {}
        if self._new("head", technique.id):
            self.out["head.children"] = _head(technique)
        waits = self._controls(technique, look, public)
        waits |= self._gallery(technique, public)
        self._status(technique, look)
        self._results(technique, look, public)
        self.out["pulse.wait"] = 0 if look.over and not waits else _AGAIN
        self.out["pulse.heard"] = time.time_ns() // 1000 % 2**50
        self.out["shown.data"] = self.shown
        return self.out

    def _new(self, part: str, version: Any) -> bool:
        """Whether the browser has another version of a part; from now on it has this one."""
        if self.shown.get(part) == version:
            return False
        self.shown[part] = version
        return True

    def _look(self) -> Look:
        """The run of this choice, begun now if the browser has the ticket of another."""
        query = self.choice.technique + self.choice.query()
        ticket = str(self.shown.get("ticket") or "")
        look = self.own.runs.look(ticket) if self.shown.get("choice") == query else None
        if look is None:
            ticket = self.own.runs.start(self.choice, ticket)
            self.own.runs.wait(ticket, _MOMENT)
            look = self.own.runs.look(ticket) or Look("checking")
            self.shown |= {"ticket": ticket, "choice": query, "values": None}  # what a person typed may have to be set right
        return look

    def _controls(self, technique: Technique[Any], look: Look, public: Any) -> bool:
        described, waits = fields(technique, self.choice, self.own.facts)
        if self._new("fields", [technique.id, self.choice.model, _digest(described)]):
            self.out["controls.fields"] = described
        now = values(technique, self.choice, self.own.workspace, public)
        if look.phase != "checking" and self._new("values", now):
            self.out["controls.values"] = now
        if look.phase != "checking" and self._new("errors", look.errors):
            self.out["controls.errors"] = look.errors
        return waits

    def _gallery(self, technique: Technique[Any], public: Any) -> bool:
        name = image_param(technique)
        if name is None:
            return False
        workspace = self.own.workspace
        try:
            dataset = workspace.registry.dataset(self.choice.dataset) if self.choice.dataset else workspace.dataset()
        except VizkitError:
            return False
        known = self.own.facts.pictures(dataset)
        left_out = self.own.facts.left_out(dataset)
        version = [dataset.name, len(known.value) if known.value is not None else known.error, len(left_out)]
        if self._new("gallery", version):
            self.out["gallery.items"] = [
                {"id": p.ref, "label": p.label or p.ref.partition("/")[2], "version": p.version} for p in known.value or ()
            ]
            self.out["gallery-head.children"] = [
                html.H3(dataset.title or dataset.name),
                html.P(known.error or dataset.description, className="vk-error" if known.error else "vk-help"),
                *_left_out(left_out),
            ]
        ref = public.get(name) or self.choice.params.get(name)
        error = self.shown.get("errors", {}).get(name, "")
        if (ref or error) and self._new("query", [ref, error, known.pending]):
            self.out["gallery.current"] = ref
            self.out["query.children"] = self._query(str(ref), error)
        return known.pending

    def _query(self, ref: str, error: str) -> list[Any]:
        """The chosen picture, large, beside its name."""
        if error:
            blank = html.Div("No picture", className="vk-tile vk-tile-query vk-nothing")
            return [blank, html.P(error, className="vk-error")]
        found = self.own.facts.picture(ref)
        id = ref.partition("/")[2]
        label = (found.label if found else None) or id
        src = f"{self.prefix}_vizkit/thumb/448/{_quoted(ref)}{f'?v={found.version}' if found else ''}"
        return [
            html.Img(src=src, alt=label, className="vk-large", width=448, height=448),
            html.Div(
                [html.Strong(label, title=label), html.Span(ref, className="vk-help", title=ref)], className="vk-caption"
            ),
        ]

    def _status(self, technique: Technique[Any], look: Look) -> None:
        text, share = _progress(look, technique)
        if self._new("status", [look.phase, text, share]):
            self.out["status-text.children"] = text
            self.out["status-bar.value"] = f"{share:.4f}"
            mode = " vk-stopped" if look.phase == "cancelled" else " vk-idle" if look.over else ""
            self.out["status.className"] = f"vk-status{mode}"
            self.out["cancel.children"] = "Go on" if look.phase == "cancelled" else "Cancel"

    def _results(self, technique: Technique[Any], look: Look, public: Any) -> None:
        result = look.result
        had = self.shown.get("result")
        if look.error or look.errors:
            if look.error and self._new("result", ["error", look.error]):
                self._replace([_alert(look.error)])
            if look.errors and not had:
                self.shown["result"] = ["cancelled"]
                self._replace([_alert("One of the settings does not fit. What is wrong stands beside it.")])
            mode = "vk-failed" if look.error or not had else "vk-stale"
        elif result is not None:
            version = [result.key, _share(look), result.partial]
            if self._new("result", version):
                self._place(self._render(technique, result, public, _share(look)))
            mode = "vk-partial" if result.partial else "vk-done"
        elif look.phase == "cancelled" and not had:
            self.shown["result"] = ["cancelled"]
            self._replace([_alert("Stopped before there was anything to show.", "Stopped")])
            mode = "vk-failed"
        else:
            mode = "vk-stale" if had and had[0] != "cancelled" else "vk-loading"
            if mode == "vk-loading" and had:
                self.shown["result"] = None
                self._replace(waiting())
        if self._new("mode", mode):
            self.out["results.className"] = f"vk-results {mode}"
        said = _said(look, technique)
        if said and self._new("said", said):
            self.out["live.children"] = said

    def _replace(self, children: list[Any], signature: str = "") -> None:
        self.out["results.children"] = children
        self.shown["shape"] = signature

    def _place(self, children: list[Any]) -> None:
        """Show a result: in the place of the last one where both are of one shape, so that focus and clicks stay."""
        signature, parts = shape(children)
        if self.shown.get("shape") == signature:
            self.placed = parts
        else:
            self._replace(children, signature)

    def _render(self, technique: Technique[Any], result: Result, public: Any, step: int) -> list[Any]:
        chosen = frozenset([str(public[n])] if (n := image_param(technique)) and n in public else [])
        place = Place(str(self.id["group"]), str(self.id["aio_id"]), self.prefix, self.own.facts, chosen, step)
        try:
            return render(result, place)
        except Exception as error:  # a plugin's view that cannot be drawn fails in its own card
            return [_alert(f"{technique.title} cannot be shown: {sentence(error)}")]

    def _missing(self) -> dict[str, Any]:
        try:
            self.own.workspace.registry.technique(self.choice.technique)
            text = ""
        except VizkitError as error:
            text = str(error)
        return self._instead(text)

    def _instead(self, text: str) -> dict[str, Any]:
        """A sentence in place of everything."""
        self.shown |= {"result": None, "shape": ""}
        return {
            "results.children": [_alert(text)],
            "live.children": text,
            "shown.data": self.shown,
            "results.className": "vk-results vk-failed",
            "pulse.wait": 0,
        }


def _head(technique: Technique[Any]) -> list[Any]:
    how = [html.Summary("How it works"), dcc.Markdown(technique.explanation)]
    return [
        html.P(technique.title, className="vk-eyebrow"),
        html.H2(technique.question),
        html.P(technique.summary, className="vk-lead"),
        *([html.Details(how)] if technique.explanation else []),
    ]


def _left_out(files: Sequence[tuple[str, str]]) -> list[Any]:
    """The files that a dataset leaves out, folded away."""
    if not files:
        return []
    rows = [html.Li(f"{file}: {reason}") for file, reason in files[:_LISTED]]
    more = [html.Li(f"… and {len(files) - _LISTED:,} more")] if len(files) > _LISTED else []
    count = f"{len(files):,} file{'s' if len(files) > 1 else ''} left out"
    return [html.Details([html.Summary(count), html.Ul([*rows, *more])], className="vk-left-out")]


def _progress(look: Look, technique: Technique[Any]) -> tuple[str, float]:
    """What is going on, in words, and the share that is done."""
    status = look.status
    things, what = ("images", "the score and ranks are") if technique.takes("images") else ("steps", "what is shown is")
    if look.phase == "cancelled":
        if look.result is None or status is None or not look.result.partial:
            return "Stopped.", 0.0
        return f"Stopped after {status.step:,} of {status.total:,} {things}; {what} of these only.", 0.0
    if look.over:
        return "", 0.0
    if status is None or not status.total:
        return "Getting the model ready. The first time takes a few seconds.", 0.0
    text = f"{(status.text or 'working').capitalize()}: {status.step:,} of {status.total:,}"
    if status.seconds_left is not None and status.seconds_left >= 1:
        text += f" · about {_time(status.seconds_left)} left"
    if look.result and look.result.partial:
        text += f". So far {what} of these first {status.step:,} {things}."
    return text, status.step / status.total


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _share(look: Look) -> int:
    """How far a partial result is; a finished one has no such number."""
    return look.status.step if look.status and look.result and look.result.partial else -1


def _said(look: Look, technique: Technique[Any]) -> str:
    """What a screen reader says, once at each turn."""
    if look.errors:
        return " ".join(look.errors.values())
    if look.error:
        return look.error
    if look.phase == "done" and look.result:
        return look.result.summary or f"{technique.title}: done."
    if look.result is not None:
        return "First results are there; the rest is being computed." if look.phase == "running" else "Stopped."
    return "" if look.phase == "checking" else f"{technique.title}: working."


def _alert(text: str, title: str = "This did not work") -> Any:
    return html.Div([html.H4(title), html.P(text)], className="vk-card vk-warning")


def _digest(described: list[dict[str, Any]]) -> str:
    return hashlib.sha1(json.dumps(described, default=str).encode(), usedforsecurity=False).hexdigest()


def _quoted(ref: str) -> str:
    return quote(ref, safe="/")

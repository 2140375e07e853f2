"""Who may import whom: the four rules, held over every Python file that is shipped.

1. `vizkit` imports no plugin, and `vizkit_dash` only inside `serve`.
2. A plugin imports public names of `vizkit` and numerics: no other plugin, no Dash.
3. `vizkit_dash` imports `vizkit` and no plugin, and names no technique.
4. What is heavy is imported inside functions only.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import vizkit as vk

LIGHT = {"numpy", "pluggy", "pydantic", "click", "lazy_loader", "typing_extensions"}
"""What the core may import when it is imported, beside the standard library."""
NUMERICS = {"keras", "numpy", "PIL", "pydantic", "scipy", "skimage", "sklearn", "tensorflow", "typing_extensions", "umap"}
HEAVY = {"keras", "matplotlib", "PIL", "scipy", "skimage", "sklearn", "tensorflow", "umap"}


@dataclass(frozen=True)
class Import:
    """One imported module, or one name from it; `scope` are the functions that it stands in."""

    module: str
    name: str | None
    scope: tuple[str, ...]
    typing_only: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def at_import_time(self) -> bool:
        return not self.scope and not self.typing_only

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(tree: ast.AST, package: str, scope: tuple[str, ...] = (), typing_only: bool = False) -> Iterator[Import]:
    """Every import in a tree, those in functions, below TYPE_CHECKING and by `import_module("…")` too."""
    for node in ast.iter_child_nodes(tree):
        inner, checking = scope, typing_only
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, scope, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package, node.module])) if node.level else node.module or ""
            yield from (Import(module, alias.name, scope, typing_only) for alias in node.names)
        elif isinstance(node, ast.Call) and _named(node.func) in ("import_module", "__import__"):
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            yield from (Import(str(name), None, scope, typing_only) for name in names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = (*scope, getattr(node, "name", "lambda"))
        elif isinstance(node, ast.If) and _named(node.test) == "TYPE_CHECKING":
            for child in node.body:
                yield from imports(ast.Module([child], []), package, scope, True)
            node = ast.Module(node.orelse, [])
        yield from imports(node, package, inner, checking)


def broken(place: str, source: str, techniques: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    """What in a file of a package (`vizkit`, `vizkit_dash` or a plugin's name) breaks a rule."""
    tree = ast.parse(source)
    found = list(imports(tree, place))
    rule = _core if place == "vizkit" else _dash if place == "vizkit_dash" else _plugin
    wrong = {problem for i in found if (problem := rule(place, i))}
    if rule is _plugin:
        wrong |= {f"private: vizkit.{name}" for name in _attributes_of_vizkit(tree) - set(vk.__all__)}
    if rule is _dash:
        wrong |= {f"names a technique: {text}" for text in _texts(tree) if text in techniques}
    return wrong


def _core(place: str, i: Import) -> str | None:
    if i.top.startswith("vizkit_") and not (i.top == "vizkit_dash" and i.scope[-1:] == ("serve",)):
        return f"the core imports {i}"
    if i.at_import_time and i.top not in sys.stdlib_module_names | LIGHT | {"vizkit"}:
        return f"not inside a function: {i}"
    return None


def _plugin(place: str, i: Import) -> str | None:
    if i.top == "vizkit":
        public = i.module == "vizkit" and (i.name is None or i.name in vk.__all__)
        return None if public else f"private: {i}"
    if i.top not in sys.stdlib_module_names | NUMERICS | {place}:
        return f"not numerics: {i}"
    if i.at_import_time and i.top in HEAVY:
        return f"not inside a function: {i}"
    return None


def _dash(place: str, i: Import) -> str | None:
    if i.top.startswith("vizkit_") and i.top != place:
        return f"the app imports {i}"
    if i.at_import_time and i.top in HEAVY:
        return f"not inside a function: {i}"
    return None


def _attributes_of_vizkit(tree: ast.AST) -> set[str]:
    """X of every `vk.X`, where vk is what vizkit was imported as."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "vizkit"
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }


def _texts(tree: ast.AST) -> Iterator[str]:
    """String constants and the steps of paths in them. Not docstrings; not the property of a Dash component, as in
    `Input(id, "search")`, which may be called like a technique."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call) and _named(node.func) in ("Input", "Output", "State"):
            skipped |= {id(a) for a in node.args[1:2]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value
            if not re.search(r"\s", node.value):
                yield from node.value.split("/")


def _named(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize(
    ("place", "source", "expected"),
    [
        ("vizkit", "import numpy, click\nfrom vizkit.runs import run", set()),
        ("vizkit", "import vizkit_search", {"the core imports vizkit_search"}),
        ("vizkit", "def f():\n    from vizkit_search import search", {"the core imports vizkit_search.search"}),
        ("vizkit", "def f():\n    importlib.import_module('vizkit_search')", {"the core imports vizkit_search"}),
        ("vizkit", "def serve():\n    import vizkit_dash", set()),
        ("vizkit", "def other():\n    import vizkit_dash", {"the core imports vizkit_dash"}),
        ("vizkit", "import keras", {"not inside a function: keras"}),
        ("vizkit", "class A:\n    from PIL import Image", {"not inside a function: PIL.Image"}),
        ("vizkit", "def f():\n    import keras, dash", set()),
        ("vizkit", "if TYPE_CHECKING:\n    import keras", set()),
        ("vizkit", "if TYPE_CHECKING:\n    pass\nelse:\n    import keras", {"not inside a function: keras"}),
        ("vizkit", "try:\n    import dash\nexcept ImportError:\n    pass", {"not inside a function: dash"}),
        ("vizkit_nmf", "import vizkit as vk\nfrom vizkit_nmf.solve import f\nfrom .solve import g\nvk.Bars", set()),
        ("vizkit_nmf", "from vizkit import Bars, views", {"private: vizkit.views"}),
        ("vizkit_nmf", "import vizkit.store", {"private: vizkit.store"}),
        ("vizkit_nmf", "from vizkit.runs import run", {"private: vizkit.runs.run"}),
        ("vizkit_nmf", "import vizkit as vk\nvk.store.Store", {"private: vizkit.store"}),
        ("vizkit_nmf", "def f():\n    import vizkit_search", {"not numerics: vizkit_search"}),
        ("vizkit_nmf", "def f():\n    import dash", {"not numerics: dash"}),
        ("vizkit_nmf", "def f():\n    from sklearn.decomposition import NMF", set()),
        ("vizkit_nmf", "from sklearn.decomposition import NMF", {"not inside a function: sklearn.decomposition.NMF"}),
        ("vizkit_dash", "import dash, flask\nfrom vizkit.runs import prepare", set()),
        ("vizkit_dash", "def f():\n    import vizkit_nmf", {"the app imports vizkit_nmf"}),
        ("vizkit_dash", "import tensorflow as tf", {"not inside a function: tensorflow"}),
        ("vizkit_dash", "run('nmf')", {"names a technique: nmf"}),
        ("vizkit_dash", "go('/page/nmf')", {"names a technique: nmf"}),
        ("vizkit_dash", "'''nmf'''\nsay('what nmf does')\nInput('url', 'nmf')", set()),
    ],
)
def test_what_the_rules_find(place: str, source: str, expected: set[str]) -> None:
    assert broken(place, source, {"nmf"}) == expected


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every shipped Python file with the import name of its package."""
    for folder in ("vizkit", "plugins/*", "dash_app/*", "spritemaps/*"):
        for package in root.glob(folder):
            for path in package.rglob("*.py"):
                yield package.name, path


def test_every_file_keeps_the_rules(root: Path, registry: vk.Registry) -> None:
    files = list(_files(root))
    assert {place for place, _ in files} >= {"vizkit", "vizkit_dash", "vizkit_spritemaps", "vizkit_search"}
    ids = set(registry.techniques)
    assert "search" in ids
    found = {str(path.relative_to(root)): broken(place, path.read_text("utf-8"), ids) for place, path in files}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_sheets_are_data_only(root: Path) -> None:
    (code,) = (root / "spritemaps").rglob("*.py")
    assert [type(node) for node in ast.parse(code.read_text("utf-8")).body] == [ast.Expr]  # its docstring


def test_discovery_loads_nothing_heavy() -> None:
    look = "import json, sys, vizkit; r = vizkit.Registry(); print(json.dumps([len(r.techniques), *sys.modules]))"
    said = subprocess.check_output([sys.executable, "-Ic", look], text=True)
    techniques, *modules = json.loads(said)
    assert techniques >= 1
    assert {m.partition(".")[0] for m in modules} & (HEAVY | {"dash", "flask", "plotly", "vizkit_dash"}) == set()

"""Discovery: what a plugin gets wrong is named, and everything else goes on working."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vizkit as vk
from tests.inline import Blocks, Squares, plugin
from vizkit.registry import Problem, source_hash

Make = Callable[..., vk.Workspace]


def say(text: str = "hello") -> Any:
    @vk.technique(text, title=text, question=f"{text}?")
    def f(*, top: int = 1) -> vk.Result:
        """Says it."""
        return vk.Result(vk.Note(text))

    return f


def problems(*plugins: object) -> list[tuple[str, str, str]]:
    """What is wrong with these, beside a plugin that works, and goes on working."""
    registry = vk.Registry([*plugins, plugin("good", models=[Blocks("fine")], datasets=[Squares(name="even")],
                                             techniques=[say("works")])])  # fmt: skip
    assert registry.model("fine")
    assert registry.dataset("even")
    assert registry.technique("works")
    return [(p.plugin, p.stage, p.error) for p in registry.problems]


def hook(name: str, function: Callable[..., Any], kind: str = "techniques") -> Any:
    """A plugin module with one hook."""
    module = types.ModuleType(name)
    function.__name__ = f"register_{kind}"
    setattr(module, f"register_{kind}", vk.hookimpl(function))
    return module


def fails(error: BaseException) -> Callable[[], Any]:
    def f() -> Any:
        raise error

    return f


# --- inline plugins


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad\n  luck"), "ValueError: bad luck"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (vk.VizkitError("Buy a licence."), "Buy a licence."),
    ],
)
def test_a_hook_that_raises(error: BaseException, said: str) -> None:
    assert problems(hook("odd", fails(error))) == [("odd", "register_techniques", said)]


def test_ctrl_c_during_discovery_still_stops() -> None:
    with pytest.raises(KeyboardInterrupt):
        vk.Registry([hook("slow", fails(KeyboardInterrupt()))])


def test_what_came_before_a_failure_in_a_generator_counts() -> None:
    def some() -> Any:
        yield say("first")
        yield 5
        yield say("second")
        raise OSError("gone")

    registry = vk.Registry([hook("half", some)])
    assert list(registry.techniques) == ["first", "second"]
    assert [p.error for p in registry.problems] == ["it gave int, which is no Technique.", "OSError: gone"]


class Half:
    """A model that somebody has not finished."""

    name = title = "half"
    image_size = (8, 8)
    random_weights = True
    offers = frozenset[str]()
    labels = curated = ()


class Explosive(Blocks):
    """A model whose property needs a file that is not there."""

    @property
    def labels(self) -> Any:  # type: ignore[override]
        raise FileNotFoundError(2, "No such file", "labels.txt")


@pytest.mark.parametrize(
    ("kind", "returned", "said"),
    [
        ("techniques", None, "it returned NoneType; it has to return a list of techniques."),
        ("techniques", "search", "it returned str; it has to return a list of techniques."),
        ("techniques", say("alone"), "it returned Technique; it has to return a list of techniques."),
        ("techniques", [None], "it gave NoneType, which is no Technique."),
        ("techniques", [Blocks()], "it gave Blocks, which is no Technique."),
        ("techniques", [fails], "it gave the function fails, which is no Technique. Put @vizkit.technique(…) above it."),
        ("models", [Half()], "it gave Half, which is no ModelAdapter. It lacks"
         " activations, backward, fingerprint, layers, predict."),
        ("models", [Half], "it gave the class Half, which is no ModelAdapter."),
        ("models", [Explosive()], "FileNotFoundError: [Errno 2] No such file: 'labels.txt'"),
        ("datasets", [say("x")], "it gave Technique, which is no Dataset. It lacks description, fingerprint, ids, images,"
                                 " labels, licence, name, skipped, source."),
        ("models", [Blocks("a/b")], "'a/b' is no name: use letters, digits, - and _, with a letter or digit first."),
        ("models", [Blocks("")], "'' is no name: use letters, digits, - and _, with a letter or digit first."),
        ("models", [Blocks(None)], "None is no name: use letters, digits, - and _, with a letter or digit first."),  # type: ignore[arg-type]
        ("datasets", [Squares(name="upload")],
         "the name 'upload' stands for pictures that belong to no dataset. Choose another."),
    ],
)  # fmt: skip
def test_a_hook_that_returns_the_wrong_thing(kind: str, returned: Any, said: str) -> None:
    assert problems(hook("odd", lambda: returned, kind)) == [("odd", f"register_{kind}", said)]


def test_a_taken_name_stays_with_the_first() -> None:
    first, second = Blocks("same", gain=1), Blocks("same", gain=2)
    registry = vk.Registry([plugin("a", models=[first]), plugin("b", models=[second, Blocks("own")])])
    assert registry.model("same") is first
    assert registry.model("own")
    assert registry.problems == [Problem("b", "register_models", "the name 'same' is taken by plugin a")]
    assert registry.plugins["b"].models == ["own"]


def test_two_plugins_of_one_name() -> None:
    registry = vk.Registry([plugin("same", models=[Blocks("x")]), plugin("same", models=[Blocks("y")])])
    assert list(registry.models) == ["x"]
    assert [str(p) for p in registry.problems] == ["plugin same: import: the name is taken by another plugin"]


def test_a_hook_with_arguments_is_named_with_them() -> None:
    def wants(config: Any) -> Any: ...

    ((plugin_name, stage, error),) = problems(hook("odd", wants))
    assert (plugin_name, stage) == ("odd", "register")
    assert "Plugin 'odd' for hook 'register_techniques'" in error
    assert "Argument(s) {'config'} are declared in the hookimpl" in error


def test_a_hook_that_does_not_exist_or_is_not_marked() -> None:
    def nothing() -> Any:
        return []

    wrong = hook("odd", nothing, "technique")
    assert problems(wrong) == [("odd", "register_technique", "there is no such hook. Did you mean 'register_techniques'?")]
    bare = types.ModuleType("bare")
    bare.register_models = list  # type: ignore[attr-defined]
    assert problems(bare) == [("bare", "register_models", "it is not marked as a hook. Put @vizkit.hookimpl above it.")]


def test_a_hook_may_return_any_iterable_and_each_kind_is_attributed() -> None:
    registry = vk.Registry(
        [plugin("p", models=(Blocks("m"),), datasets=iter([Squares(name="d")]), techniques={"t": say("t")}.values())]
    )
    assert registry.problems == []
    found = registry.plugins["p"]
    assert (found.models, found.datasets, found.techniques) == (["m"], ["d"], ["t"])
    assert registry.source_of("models", "m") == registry.source_of("techniques", "t") == found.source != ""
    assert registry.source_of("models", "elsewhere") == ""


def test_what_is_not_there_is_said_with_the_nearest_name() -> None:
    registry = vk.Registry([plugin("p", models=[Blocks()], datasets=[Squares()], techniques=[say()])])
    for ask, sentence in [
        (registry.model, "There is no model 'blokcs'. Did you mean 'blocks'? See: vizkit list models"),
        (registry.dataset, "There is no dataset 'sqares'. Did you mean 'squares'? See: vizkit list datasets"),
        (registry.technique, "There is no technique 'helo'. Did you mean 'hello'? See: vizkit list techniques"),
    ]:
        with pytest.raises(vk.NotFound) as caught:
            ask(sentence.split("'")[1])
        assert str(caught.value) == sentence
    with pytest.raises(vk.NotFound) as caught:
        vk.Registry([]).model("x")
    assert str(caught.value) == "There is no model 'x'. See: vizkit list models"


class Opener:
    """Opens `box:ARGUMENT`."""

    scheme = title = description = "box"

    def open(self, argument: str, alias: str | None = None) -> vk.Dataset:
        box = Squares(name=alias or argument)
        box.origin = f"box:{argument}"  # type: ignore[attr-defined]
        return box


def test_a_dataset_of_ones_own_never_takes_a_name_that_is_taken() -> None:
    registry = vk.Registry([plugin("p", datasets=[Squares(), Opener()])])
    assert registry.open("box:mine").name == "mine"
    assert registry.open("box:mine") is registry.dataset("mine")
    with pytest.raises(vk.VizkitError) as caught:
        registry.open("box:squares")
    assert str(caught.value) == (
        "The name 'squares' is taken by another dataset. Give this one its own: vizkit add box:squares --name NAME"
    )
    with pytest.raises(vk.VizkitError, match="vizkit add 'box:my pictures' --name NAME"):
        registry.open("box:my pictures", "squares")
    with pytest.raises(vk.VizkitError, match="the name 'result' stands for pictures that belong to no dataset"):
        registry.open("box:x", "result")
    with pytest.raises(vk.NotFound, match=r"Nothing opens 'bax'\. Did you mean 'box'\? For example: folder:PATH"):
        registry.open("bax:x")


def test_a_hash_of_the_source_follows_the_source(tmp_path: Path) -> None:
    def module(text: str, package: bool = False) -> types.ModuleType:
        file = tmp_path / ("pack/__init__.py" if package else "single.py")
        file.parent.mkdir(exist_ok=True)
        (file.parent / "helper.py").write_text(text) if package else None
        file.write_text("" if package else text)
        made = types.ModuleType("made")
        made.__file__ = str(file)
        return made

    assert source_hash(module("a = 1")) == source_hash(module("a = 1")) != source_hash(module("a = 2"))
    assert source_hash(module("a = 1", True)) != source_hash(module("a = 2", True))  # a helper beside __init__
    scope: dict[str, Any] = {"__name__": "typed at a prompt"}
    exec("def f(): return [g(1) for g in ()]\ndef g(): return [g(2) for g in ()]", scope)
    assert source_hash(scope["f"]) != source_hash(scope["g"])  # no file to read it from
    assert source_hash(say("x").function) != source_hash(hook)  # two functions of one file


def test_a_technique_made_in_python_has_a_key_of_its_own_source(make_workspace: Make) -> None:
    from vizkit.runs import prepare

    def key(source: str) -> str:
        scope: dict[str, Any] = {"vk": vk, "__name__": "prompt"}
        exec(f"def f(*, top: int = 1): return vk.Result(vk.Note({source!r}))", scope)
        made = vk.technique("same", title="Same", question="?")(scope["f"])
        return prepare(make_workspace(), made, params={}).key

    assert key("one") == key("one")
    assert key("one") != key("two")


# --- entry points, as installed distributions have them


def install(folder: Path, name: str, points: str, *, version: str = "1.0", metadata: bool = True, **modules: str) -> None:
    """A distribution as pip leaves it, without pip."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(f"[vizkit]\n{points}\n")
    if metadata:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


GOOD = """
import vizkit as vk
@vk.technique("good", title="Good", question="Does it work?")
def good(*, top: int = 1) -> vk.Result:
    print("chatter of a technique")
    return vk.Result(vk.Note(f"works {top}"))
@vk.hookimpl
def register_techniques():
    return [good]
"""
DECLARED = GOOD.replace("top: int", "top: list").replace('"good"', '"declared"')
TAKEN = GOOD.replace("works", "impostor")


@pytest.fixture
def shell(tmp_path: Path, clean_env: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process that has one distribution more of every kind of broken plugin."""
    site = tmp_path / "site"
    install(site, "good-dist", "a-good = good_plugin", good_plugin=GOOD)
    install(site, "bad-import", "b-import = bad_import", bad_import="import not_there_at_all")
    install(site, "bad-syntax", "c-syntax = bad_syntax", bad_syntax="def (:")
    install(site, "bad-exit", "d-exit = bad_exit", bad_exit="print('chatter of a plugin')\nimport sys; sys.exit('bye')")
    install(site, "bad-attr", "e-attr = good_plugin:nothing")
    install(site, "bad-declared", "f-declared = bad_declared", bad_declared=DECLARED)
    install(site, "bad-taken", "g-taken = bad_taken", bad_taken=TAKEN)
    install(site, "second-dist", "a-good = second_plugin", second_plugin="raise RuntimeError('never imported')")
    install(site, "bad-metadata", "h-metadata = bad_metadata", bad_metadata="", metadata=False)

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from vizkit.cli import entry; entry()", *arguments],
            env={**clean_env, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]), **env},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


EXPECTED = {
    ("a-good", "import"): "the name is taken by another plugin (good-dist)",
    ("b-import", "import"): "ModuleNotFoundError: No module named 'not_there_at_all'",
    ("c-syntax", "import"): "SyntaxError: invalid syntax (bad_syntax.py, line 1)",
    ("d-exit", "import"): "SystemExit: bye",
    ("e-attr", "import"): "AttributeError: module 'good_plugin' has no attribute 'nothing'",
    (
        "f-declared",
        "import",
    ): "technique 'declared', parameter 'top': the type is list; allowed: bool, int, float, str, Literal,"
    " Enum, tuples of these, and | None; an ImageBatch with Image().",
}


def test_every_broken_plugin_is_named_and_the_rest_works(shell: Callable[..., Any]) -> None:
    found = shell("plugins", "--json")
    assert found.returncode == 0
    report = json.loads(found.stdout)  # what a plugin prints while it is imported is not in it
    assert {(p["plugin"], p["stage"]): p["error"] for p in report["problems"]} == {
        **EXPECTED,
        ("g-taken", "register_techniques"): "the name 'good' is taken by plugin a-good",
    }
    names = {p["name"]: p for p in report["plugins"]}
    assert names["a-good"]["techniques"] == ["good"]
    assert (names["a-good"]["distribution"], names["a-good"]["version"]) == ("good-dist", "1.0")
    assert names["h-metadata"]["version"] == ""  # damaged metadata stop nothing
    assert {"search", "photos", "efficientnet-lite", "folder"} <= set(names)
    assert found.stderr.count("plugin b-import: import: ModuleNotFoundError") == 1
    assert "Traceback" not in found.stderr


def test_problems_are_told_once_and_a_run_works(shell: Callable[..., Any]) -> None:
    found = shell("run", "good", "--top", "3", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["views"][0]["text"] == "works 3"
    lines = found.stderr.splitlines()
    assert len([line for line in lines if line.startswith("vizkit: plugin ")]) == 7
    assert "vizkit: plugin d-exit: import: SystemExit: bye" in lines
    text = shell("plugins")
    assert (
        "problem: plugin c-syntax: import: SyntaxError: invalid syntax (bad_syntax.py, line 1)" in text.stdout.splitlines()
    )
    assert "folder:…" in text.stdout


def test_discovery_can_be_limited(shell: Callable[..., Any]) -> None:
    found = shell("plugins", "--json", VIZKIT_PLUGINS="a-good, serch,digits")
    report = json.loads(found.stdout)
    assert [p["name"] for p in report["plugins"]] == ["a-good", "digits"]
    assert [p["error"] for p in report["problems"]] == [
        "no installed plugin has this name. Did you mean 'search'?",
        "the name is taken by another plugin (good-dist)",
    ]
    none = shell("run", "good", VIZKIT_PLUGINS="digits")
    assert none.returncode == 2
    assert none.stderr == "vizkit: There is no technique 'good'. See: vizkit list techniques\n"
    assert shell("list", "models", VIZKIT_PLUGINS="digits").stdout == "There is nothing here yet.\n"
    run = shell("run", "good", VIZKIT_PLUGINS="a-good")
    assert run.returncode == 0


def test_discovery_imports_nothing_heavy(clean_env: dict[str, str]) -> None:
    heavy = "{'tensorflow', 'keras', 'dash', 'sklearn', 'umap', 'scipy', 'skimage', 'matplotlib', 'PIL'}"
    code = f"import sys, vizkit as vk; r = vk.Registry(); print(sorted({heavy} & set(sys.modules)), r.problems)"
    run = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True)
    assert run.stdout == "[] []\n"

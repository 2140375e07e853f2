"""The command line: what it prints, where, how it exits, and what it never does."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

import vizkit as vk
from tests.inline import Blocks, plugin
from vizkit.cli import cli, main

Make = Callable[..., vk.Workspace]
COMMAND = [sys.executable, "-c", "from vizkit.cli import entry; entry()"]
QUERY = "photo-crops/chelsea-s1-01"

SLOW = """
import os, time
from pathlib import Path
import numpy as np
import vizkit as vk
@vk.technique("slow", title="Slow", question="How long?")
def slow(progress: vk.Progress, *, steps: int = 100, pause: float = 0.05) -> vk.Result:
    done = progress.restore() or {"step": np.zeros(1)}
    start = int(done["step"][0])
    for step in range(start, steps):
        progress.checkpoint(step + 1, {"step": np.array([step + 1])})
        progress.report(step + 1, steps, metrics={"loss": 1 / (step + 1)}, text="climbing")
        if mark := os.environ.get("MARK"):
            Path(mark).write_text(str(step))
        time.sleep(pause)
    return vk.Result(vk.Note(f"{steps} steps, from {start}"))
@vk.hookimpl
def register_techniques():
    return [slow]
"""


@pytest.fixture
def env(tmp_path: Path, clean_env: dict[str, str]) -> dict[str, str]:
    """A process with an empty home and cache, and one slow technique more."""
    info = tmp_path / "site" / "slow-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[vizkit]\nslow = slow_plugin\n")
    (tmp_path / "site" / "slow_plugin.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    return {**clean_env, "PYTHONPATH": path, "MARK": str(tmp_path / "mark")}


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=300)


def begin(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def until(condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@pytest.fixture
def shell(
    workspace: vk.Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process, on a workspace with a warm cache: exit code, output, errors."""
    return in_process(workspace, capsys, monkeypatch)


def in_process(
    workspace: vk.Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr("vizkit.workspace.Workspace", lambda: workspace)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


# --- lists


def test_lists_are_tables_and_json(shell: Callable[..., tuple[int, str, str]]) -> None:
    models = json.loads(shell("list", "models", "--json")[1])
    assert models[0] == {
        "name": "efficientnet-lite0", "title": "EfficientNet-Lite0", "height": 224, "width": 224, "layers": 142,
        "classes": 1000,
        "random_weights": False, "curated": ["stem_relu", "block2_add", "block4_add", "block6_expand_relu", "block9_add",
                                             "block11_expand_relu", "block14_add", "head_relu"],
    }  # fmt: skip
    assert shell("list", "models")[1].splitlines()[1].split() == ["efficientnet-lite0", "224", "x", "224", "142", "1000",
                                                                  "EfficientNet-Lite0"]  # fmt: skip
    layers = json.loads(shell("list", "layers", "efficientnet-lite0", "--json")[1])
    assert [r["index"] for r in layers] == list(range(len(layers)))
    by_path = {r["layer"]: r for r in layers}
    assert by_path["block11_expand_relu"] == {
        "index": by_path["block11_expand_relu"]["index"], "layer": "block11_expand_relu", "type": "ReLU",
        "shape": [14, 14, 672], "channels": 672, "parameters": 0, "signed": False, "curated": True,
    }  # fmt: skip
    assert by_path["block2_add"]["signed"] is True
    datasets = {r["name"]: r for r in json.loads(shell("list", "datasets", "--json")[1])}
    assert (datasets["digits"]["images"], datasets["digits"]["classes"], datasets["digits"]["skipped"]) == (1797, 10, [])
    (search,) = json.loads(shell("list", "techniques", "--json")[1])
    assert (search["name"], search["parameters"]["properties"]["top"]["default"]) == ("search", 15)
    for command in (["list", "models"], ["list", "datasets"], ["list", "techniques"], ["plugins"], ["cache", "info"]):
        code, text, errors = shell(*command)
        assert (code, errors) == (0, "")
        assert text
        json.loads(shell(*command, "--json")[1])


class Broken(Blocks):
    """A model whose class names cannot be read just now."""

    failing = False

    @property
    def labels(self) -> Sequence[str]:  # type: ignore[override]
        if self.failing:
            raise ConnectionError("the labels are on a server")
        return ("a",)

    @labels.setter
    def labels(self, value: Any) -> None: ...


def test_one_broken_model_does_not_spoil_the_list(
    make_workspace: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken("broken")
    shell = in_process(make_workspace(plugin("p", models=[Blocks(), broken])), capsys, monkeypatch)
    broken.failing = True
    code, text, errors = shell("list", "models")
    assert code == 0
    assert text.splitlines()[1].split() == ["blocks", "16", "x", "16", "3", "3", "Blocks"]
    assert errors == "vizkit: broken: ConnectionError: the labels are on a server\n"
    assert json.loads(shell("list", "models", "--json")[1])[1] == {
        "name": "broken",
        "problem": "ConnectionError: the labels are on a server",
    }


def test_lists_and_help_load_nothing_heavy(clean_env: dict[str, str]) -> None:
    code = (
        "import sys; from vizkit.cli import main\n"
        "for command in (['--help'], ['list', 'models'], ['list', 'layers', 'efficientnet-lite0'], ['list', 'techniques'],\n"
        "                ['plugins'], ['run', 'search', '--help'], ['cache', 'info'], ['list', 'datasets']):\n"
        "    heavy = {'tensorflow', 'keras', 'dash', 'umap', 'scipy', 'matplotlib', 'torch'}\n"
        "    code = main(command)\n"
        "    print(command, code, sorted(heavy & set(sys.modules)), 'PIL' in sys.modules, file=sys.stderr)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, timeout=120)
    lines = found.stderr.splitlines()
    assert len(lines) == 8
    assert all(" 0 [] " in line for line in lines)
    assert lines[0] == "['--help'] 0 [] False"


# --- a run


def test_a_search_as_json(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, text, errors = shell(
        "run", "search", "--model", "efficientnet-lite0", "--dataset", "photo-crops", "--query", QUERY,
        "--layer", "head_relu", "--metric", "cosine", "--top", "15", "--json",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    result = json.loads(text)  # the whole of standard output
    assert (result["schema"], result["technique"]) == (1, "search")
    grid = result["views"][0]
    assert (grid["kind"], grid["title"]) == ("image-grid", "Nearest in head_relu")
    items = grid["items"]
    assert [i["rank"] for i in items] == list(range(1, 16))
    assert QUERY not in [i["id"] for i in items]
    assert items[0]["label"] == "cat"
    assert all(0 <= i["similarity"] <= 100 for i in items)
    assert [i["distance"] for i in items] == sorted(i["distance"] for i in items)
    params = result["provenance"]["params"]
    assert (params["query"], params["layer"], params["top"], params["p"]) == (QUERY, "head_relu", 15, 3.0)
    key = result["provenance"]["key"]
    assert json.loads(shell("cache", "explain", key[:8], "--json")[1])["params"] == params
    assert f"key: {key}" in shell("cache", "explain", key)[1]


def test_a_file_may_be_the_query_and_is_kept(
    make_workspace: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @vk.technique("name", title="Name", question="?")
    def name(model: vk.ModelAdapter, *, query: vk.QueryImage) -> vk.Result:
        return vk.Result(vk.Note(str(query.pixels[0, 0, 0].tolist())))

    from PIL import Image

    file = tmp_path / "Mein Bild ü.png"
    Image.new("RGB", (1, 1), (10, 20, 30)).save(file)  # a picture of a single pixel is a picture
    space = make_workspace(plugin("p", models=[Blocks()], techniques=[name]))
    shell = in_process(space, capsys, monkeypatch)
    code, text, errors = shell("run", "name", "--query", str(file), "--json")
    assert (code, errors) == (0, "")
    assert json.loads(text)["views"][0]["text"] == "[10, 20, 30]"
    ref = json.loads(text)["provenance"]["params"]["query"]
    assert ref.startswith("upload/")
    file.unlink()
    assert json.loads(shell("run", "name", "--query", ref, "--json")[1])["provenance"]["params"]["query"] == ref


def test_a_result_as_text_and_as_a_folder(shell: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, text, _ = shell("run", "search", "--top", "2")
    assert code == 0
    assert text.startswith("Most like photo-crops/")
    assert "Search score" in text
    assert text.splitlines()[-1].startswith("Key ")
    out = tmp_path / "my search"
    code, text, errors = shell("run", "search", "--top", "2", "--out", str(out), "--json")
    assert code == 0
    assert errors == f"Written to {out / 'index.html'}\n"
    assert json.loads(text) == json.loads((out / "result.json").read_text())
    assert (out / "index.html").is_file()


def test_a_technique_that_prints_or_leaves(
    make_workspace: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @vk.technique("chatty", title="Chatty", question="?")
    def chatty(*, leave: bool = False, fail: bool = False) -> vk.Result:
        print("hello from the inside")
        if leave:
            sys.exit(5)
        if fail:
            raise RuntimeError("no\nway.")
        return vk.Result(vk.Note("said"))

    shell = in_process(make_workspace(plugin("p", techniques=[chatty])), capsys, monkeypatch)
    code, text, errors = shell("run", "chatty", "--json")
    assert (code, errors) == (0, "hello from the inside\n")
    assert json.loads(text)["views"][0]["text"] == "said"
    code, text, errors = shell("run", "chatty", "--leave")
    assert (code, text) == (2, "")
    assert errors.splitlines()[-1] == "vizkit: chatty tried to end the program (5). See: vizkit plugins"
    code, _, errors = shell("run", "chatty", "--fail")
    assert code == 2
    assert errors.splitlines()[1:] == [
        "vizkit: RuntimeError: no way. This is a fault in vizkit or a plugin; VIZKIT_LOG=debug shows where."
    ]


def test_several_models_are_given_by_repeating_the_flag(
    make_workspace: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @vk.technique("both", title="Both", question="?")
    def both(models: Sequence[vk.ModelAdapter], *, top: int = 1) -> vk.Result:
        return vk.Result(vk.Note(" and ".join(m.name for m in models)))

    shell = in_process(
        make_workspace(plugin("p", models=[Blocks("a"), Blocks("b")], techniques=[both])), capsys, monkeypatch
    )
    found = shell("run", "both", "--model", "b", "--model", "a", "--json")
    assert json.loads(found[1])["views"][0]["text"] == "b and a"


# --- add, cache


def test_add_makes_a_folder_known_from_now_on(env: dict[str, str], tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "Meine Blätter 1"
    folder.mkdir()
    for n in range(2):
        Image.new("RGB", (40, 40), (n * 90, 50, 50)).save(folder / f"{n}.png")
    (folder / "notes.txt").write_text("no picture")
    found = run(env, "add", str(folder), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    added = json.loads(found.stdout)
    assert (added["name"], added["images"], added["spec"]) == ("meine-blatter-1", 2, f"folder:{folder}")
    assert added["skipped"][0][0] == "notes.txt"
    again = run(env, "add", f"folder:{folder}", "--name", "leaves")
    assert again.stdout == "leaves: 2 images. Use it with --dataset leaves\n"
    assert again.stderr.startswith("vizkit: skipped notes.txt: ")
    rows = {r["name"]: r for r in json.loads(run(env, "list", "datasets", "--json").stdout)}
    assert rows["leaves"]["images"] == rows["meine-blatter-1"]["images"] == 2


def test_the_cache_is_told_and_cleared(shell: Callable[..., tuple[int, str, str]]) -> None:
    info = json.loads(shell("cache", "info", "--json")[1])
    assert info["kinds"]["results"]["entries"] == 1
    assert info["bytes"] == sum(k["bytes"] for k in info["kinds"].values()) > 100_000
    assert "of at most 10.0 GB" in shell("cache", "info")[1]
    freed = json.loads(shell("cache", "clear", "--json")[1])["freed"]
    assert freed == info["bytes"]
    assert json.loads(shell("cache", "info", "--json")[1])["bytes"] == 0
    code, _, errors = shell("cache", "explain", "abc")
    assert code == 2
    assert errors == (
        "vizkit: No result has the key 'abc'. A result's key is printed below it, and is in its provenance:"
        " vizkit run … --json\n"
    )


# --- mistakes on the command line itself


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'? See: vizkit --help"),
        (["run", "serch"], "There is no technique 'serch'. Did you mean 'search'? See: vizkit list techniques"),
        (["run", "search", "--tpo", "3"],
         "vizkit run search has no option --tpo. Did you mean '--top'? See: vizkit run search --help"),
        (["run", "search", "--top"], "--top needs a value. See the same command with --help"),
        (["run", "search", "extra"], "Got unexpected extra argument (extra) See: vizkit run search --help"),
        (["cache", "explain"], "Missing argument 'KEY'. See: vizkit cache explain --help"),
        (["serve", "--port", "70000"], "Invalid value for '--port': 70000 is not in the range 0<=x<=65535."
                                       " See: vizkit serve --help"),
        (["serve", "--port", "http"], "Invalid value for '--port': 'http' is not a valid integer range."
                                      " See: vizkit serve --help"),
        (["serve", "--dataset", "fotos"], "There is no dataset 'fotos'. Did you mean 'photos'? See: vizkit list datasets"),
        (["add", "/not/there"], "There is no folder '/not/there'. Give the path of a folder of pictures, or folder:PATH."),
    ],
)  # fmt: skip
def test_mistakes(shell: Callable[..., tuple[int, str, str]], arguments: list[str], said: str) -> None:
    assert shell(*arguments) == (2, "", f"vizkit: {said}\n")


def test_a_command_without_its_rest_shows_the_help(shell: Callable[..., tuple[int, str, str]]) -> None:
    for arguments in ([], ["list"], ["run"], ["cache"]):
        code, _, errors = shell(*arguments)
        assert code == 2
        assert errors.startswith("Usage: vizkit")


def test_every_command_that_shows_something_has_json() -> None:
    def leaves(group: click.Group) -> list[click.Command]:
        return [x for c in group.commands.values() for x in (leaves(c) if isinstance(c, click.Group) else [c])]

    with_json = {c.name for c in leaves(cli) if any("--json" in p.opts for p in c.params)}
    assert with_json == {"models", "datasets", "techniques", "layers", "plugins", "add", "info", "clear", "explain"}
    assert {c.name for c in leaves(cli)} - with_json == {"serve"}


def test_a_log_level_that_is_none(env: dict[str, str]) -> None:
    found = run({**env, "VIZKIT_LOG": "loud"}, "plugins")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "vizkit: VIZKIT_LOG is 'loud'; it must be one of debug, info, warning, error, critical.\n"


# --- processes: pipes, terminals, signals


def test_a_reader_that_leaves_is_no_mistake(env: dict[str, str]) -> None:
    command = " ".join(["python -c 'from vizkit.cli import entry; entry()'", "list layers efficientnet-lite0 --json"])
    command = command.replace("python", sys.executable, 1)
    found = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"], env=env, capture_output=True, text=True, timeout=60
    )
    assert (found.stdout, found.stderr) == ("0\n", "")
    if Path("/dev/full").exists():
        found = subprocess.run(["bash", "-c", f"{command} > /dev/full"], env=env, capture_output=True, text=True, timeout=60)
        assert found.returncode == 2
        assert found.stderr == "vizkit: The output could not be written: No space left on device.\n"


def test_an_output_that_knows_no_umlauts_gets_escapes(env: dict[str, str], tmp_path: Path) -> None:
    found = run({**env, "PYTHONIOENCODING": "ascii"}, "run", "slow", "--steps", "1", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["views"][0]["text"] == "1 steps, from 0"


def test_progress_is_shown_on_a_terminal_only_and_only_after_a_second(env: dict[str, str]) -> None:
    def on_terminal(*arguments: str) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen([*COMMAND, *arguments], env=env, stdout=subprocess.DEVNULL, stderr=theirs, text=True)
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            seen += piece
        assert process.wait(60) == 0
        os.close(ours)
        return seen.decode()

    seen = on_terminal("run", "slow", "--steps", "30", "--pause", "0.05")
    lines = seen.split("\r\033[K")
    assert len(lines) > 3
    step, rate, left = lines[1].split("  ")[:3]
    assert step.endswith("/30")
    assert int(step.split("/")[0]) > 5  # nothing in the first second
    assert rate.endswith("/s")
    assert left.endswith(" s left")
    assert "climbing" in lines[1]
    assert "loss 0." in lines[1]
    assert lines[-1] == ""  # and nothing of it stays
    assert on_terminal("run", "slow", "--steps", "3", "--pause", "0.05") == ""
    quiet = run(env, "run", "slow", "--steps", "31", "--pause", "0.05")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_ctrl_c_stops_within_a_step_and_the_next_run_goes_on(env: dict[str, str], tmp_path: Path) -> None:
    process = begin(env, "run", "slow", "--steps", "2000")
    until((tmp_path / "mark").exists)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (130, "", "Stopped.\n")
    (found,) = [p for p in (tmp_path / "own-cache").rglob("*") if p.is_file() and "checkpoints" in p.parts]
    assert found.stat().st_size
    assert not list((tmp_path / "own-cache" / "results").rglob("*.json"))


def test_kill_nine_leaves_a_cache_that_the_next_run_goes_on_from(env: dict[str, str], tmp_path: Path) -> None:
    process = begin(env, "run", "slow", "--steps", "60")
    until(lambda: (tmp_path / "mark").exists() and int((tmp_path / "mark").read_text() or 0) >= 10)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()
    found = run(env, "run", "slow", "--steps", "60", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    steps, start = json.loads(found.stdout)["views"][0]["text"].split(" steps, from ")
    assert steps == "60"
    assert int(start) >= 10
    assert run(env, "cache", "info", "--json").returncode == 0


def test_tensorflow_is_never_heard_and_ctrl_c_in_it_loses_nothing(env: dict[str, str], tmp_path: Path) -> None:
    arguments = ["run", "search", "--dataset", "photos", "--query", "photos/chelsea", "--top", "3", "--json"]
    process = begin(env, *arguments)
    maps = Path(f"/proc/{process.pid}/maps")
    until(lambda: "tensorflow" in maps.read_text())  # in the middle of loading it
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out, errors) == (130, "", "Stopped.\n")
    found = run(env, *arguments)
    assert (found.returncode, found.stderr) == (0, "")
    first = json.loads(found.stdout)
    assert [i["rank"] for i in first["views"][0]["items"]] == [1, 2, 3]
    cached = run(env, *arguments)
    assert json.loads(cached.stdout) == first


def test_ctrl_c_twice_does_not_wait_for_a_step(env: dict[str, str], tmp_path: Path) -> None:
    process = begin(env, "run", "slow", "--steps", "2", "--pause", "60")
    until((tmp_path / "mark").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it waits for the end of the step
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (130, "", "Stopped.\n")


def test_what_tensorflow_says_is_shown_only_where_its_import_fails(tmp_path: Path, clean_env: dict[str, str]) -> None:
    (tmp_path / "tensorflow.py").write_text(
        "import os, signal\nos.write(2, b'loading the wrong library\\n')\n"
        "if os.environ['HOW'] == 'stop': os.kill(os.getpid(), signal.SIGINT)\n"
        "raise ImportError('libcuda is missing')\n"
    )
    code = (
        "from vizkit.quiet import quiet_tensorflow\n"
        "try:\n  with quiet_tensorflow(): pass\nexcept BaseException as e: print(repr(e))"
    )

    def found(how: str) -> subprocess.CompletedProcess[str]:
        env = {**clean_env, "PYTHONPATH": str(tmp_path), "HOW": how}
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    failed = found("fail")
    assert (failed.stdout, failed.stderr) == ("ImportError('libcuda is missing')\n", "loading the wrong library\n")
    stopped = found("stop")
    assert (stopped.stdout, stopped.stderr) == ("KeyboardInterrupt()\n", "")

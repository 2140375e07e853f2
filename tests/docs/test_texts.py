"""What people read: its commands exist, its code parses, its links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import click
import pytest

import vizkit as vk
from vizkit.cli import cli
from vizkit.store import Home, Store

BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", flags=re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def blocks(paths: tuple[Path, ...], language: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a language: where, and what."""
    for path in paths:
        for tongue, code in BLOCK.findall(path.read_text("utf-8")):
            if tongue == language and path.parent.name != "reference":
                yield path.name, code


@pytest.fixture(scope="module")
def readme(documents: tuple[Path, ...]) -> str:
    return next(p for p in documents if p.name == "README.md").read_text("utf-8")


def test_the_first_two_commands_of_the_readme_set_up_all_they_need(readme: str) -> None:
    first, second = (code.strip() for language, code in BLOCK.findall(readme)[:2] if language == "sh")
    assert "\n" not in first + second
    for line in (first, second):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert first.endswith(".venv/bin/vizkit serve")
    assert second.endswith(".venv/bin/python -m pytest")
    assert readme.index(second) < 2_000  # on the first screen


def test_ci_finds_the_same_two_commands(readme: str, docs: Path) -> None:
    script = (docs.parent / ".ci" / "run").read_text("utf-8")
    function = re.search(r"^readme\(\) \{.*?^\}", script, flags=re.M | re.S)
    assert function
    for word, number in (("vizkit serve", 0), ("pytest", 1)):
        said = subprocess.check_output(["bash", "-c", f"{function[0]}\nreadme '{word}'"], cwd=docs.parent, text=True)
        assert said.strip() == BLOCK.findall(readme)[number][1].strip()


def _toml(text: str) -> None:
    tomllib.loads(text)


@pytest.mark.parametrize(("language", "read"), [("python", ast.parse), ("json", json.loads), ("toml", _toml)])
def test_code_parses(language: str, read: Callable[[str], Any], documents: tuple[Path, ...]) -> None:
    for where, code in blocks(documents, language):
        try:
            read(code)
        except (SyntaxError, ValueError) as error:
            pytest.fail(f"{where}: {error}\n{code}")


def test_python_uses_public_names_only(documents: tuple[Path, ...]) -> None:
    unknown = {
        f"{where}: vk.{name}"
        for where, code in blocks(documents, "python")
        for name in re.findall(r"\bvk\.(\w+)", code)
        if name not in vk.__all__ and name != "__version__"
    }
    assert unknown == set()


def test_shell_parses(documents: tuple[Path, ...]) -> None:
    for where, code in blocks(documents, "sh"):
        done = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True)
        assert done.returncode == 0, f"{where}: {done.stderr}"


def calls(code: str) -> Iterator[list[str]]:
    """The arguments of every call of `vizkit` in a shell text."""
    for line in code.replace("\\\n", " ").splitlines():
        for piece in re.split(r"&&|\|\|?|;|\$\(", line.partition(" #")[0]):
            words = [w for w in shlex.split(piece.strip(" )")) if not re.fullmatch(r"[A-Z_]+=.*", w)]
            if words and words[0].rpartition("/")[2] == "vizkit":
                yield words[1:]


def test_what_a_call_is() -> None:
    text = "A=1 .venv/bin/vizkit run search \\\n --top 3 | head  # nice\npip install vizkit && vizkit serve\n# vizkit x\n"
    assert list(calls(text)) == [["run", "search", "--top", "3"], ["serve"]]


def resolve(arguments: list[str], command: click.Command, context: click.Context) -> None:
    """Let click read a command line as far as it goes without doing anything. Raises for what does not exist."""
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        child = command.get_command(context, name)
        if child is None:
            raise click.UsageError(f"no command {name}")
        context = click.Context(child, info_name=name, parent=context)
        command = child
    if not {"--help", "-h", "--version"} & set(arguments):
        command.make_parser(context).parse_args(list(arguments))


def test_every_command_in_the_texts_exists(make: ModuleType, documents: tuple[Path, ...], tmp_path: Path) -> None:
    workspace = vk.Workspace(make.first_party(), Store(tmp_path), Home(tmp_path))

    def check(arguments: list[str]) -> None:
        resolve(arguments, cli, click.Context(cli, info_name="vizkit", obj=workspace))

    check(["run", "search", "--top", "3"])
    with pytest.raises(click.UsageError, match="no command fly"):
        check(["list", "fly"])
    with pytest.raises(click.NoSuchOption):
        check(["run", "search", "--tops", "3"])
    with pytest.raises(vk.NotFound):
        check(["run", "serch"])
    for where, code in blocks(documents, "sh"):
        for arguments in calls(code):
            try:
                check(arguments)
            except (click.ClickException, vk.VizkitError) as error:
                pytest.fail(f"{where}: vizkit {shlex.join(arguments)}: {error}")


def anchors(text: str) -> set[str]:
    """The names that the headings of a page have in links."""
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(path: Path) -> list[str]:
    """The links of a page that lead to no file or no heading. Other sites are not asked."""
    found = []
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", BLOCK.sub("", path.read_text("utf-8")))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            found.append(f"{path.name}: {target}")
    return found


def test_what_a_broken_link_is(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One `two`, three\n[a](#one-two-three) [b](#four) [c](b.md) [d](a.md#x) `[e](f)` [g](https://h.i/j)\n")
    assert broken_links(page) == ["a.md: #four", "a.md: b.md", "a.md: a.md#x"]


def test_links_lead_somewhere(documents: tuple[Path, ...]) -> None:
    assert len(documents) >= 6
    assert [link for path in documents for link in broken_links(path)] == []

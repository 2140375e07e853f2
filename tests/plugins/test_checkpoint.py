"""Checkpoints are read as arrays, in both layouts, and a hostile one is a sentence: nothing in it runs."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vizkit_efficientnet_lite.checkpoint import read_checkpoint

from vizkit import VizkitError

# A state dict, written instruction by instruction as torch.save writes it.


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def plain(value: Any) -> bytes:
    """A number, text, list or dict as pickle itself writes it."""
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def group(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def storage(count: int, key: str = "0", kind: str = "FloatStorage", *view: bytes) -> bytes:
    return group(plain("storage"), name("torch", kind), plain(key), plain("cpu"), plain(count), *view) + b"Q"


def tensor(storage: bytes, offset: Any, shape: Any, strides: Any) -> bytes:
    arguments = (storage, plain(offset), plain(shape), plain(strides), b"\x89", ORDERED_DICT)
    return name("torch._utils", "_rebuild_tensor_v2") + group(*arguments) + b"R"


def state(**tensors: bytes) -> bytes:
    items = b"".join(plain(key) + value for key, value in tensors.items())
    metadata = b"}" + plain("_metadata") + ORDERED_DICT + b"sb"
    return pickled(ORDERED_DICT + b"(" + items + b"u" + metadata)


def legacy(body: bytes, storages: Mapping[str, NDArray[Any]]) -> bytes:
    head = [plain(0x1950A86A20F9469CFC6C), plain(1001), plain({"protocol_version": 1001, "little_endian": True})]
    raw = (len(a).to_bytes(8, "little") + a.tobytes() for a in storages.values())
    return b"".join([*map(pickled, head), body, pickled(plain(list(storages))), *raw])


def zipped(body: bytes, storages: Mapping[str, NDArray[Any]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("model/data.pkl", body)
        archive.writestr("model/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"model/data/{key}", values.tobytes())
        archive.writestr("model/version", "3\n")
    return file.getvalue()


Layout = Callable[[bytes, Mapping[str, NDArray[Any]]], bytes]
NUMBERS = np.arange(24, dtype="<f4")
ONE = state(a=tensor(storage(24), 0, (24,), (1,)))


@pytest.fixture(params=[legacy, zipped])
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], dict[str, NDArray[Any]]]:
    """Write bytes to a file and read it."""

    def read(data: bytes) -> dict[str, NDArray[Any]]:
        (tmp_path / "model.pth").write_bytes(data)
        return read_checkpoint(tmp_path / "model.pth")

    return read


@pytest.fixture
def refuse(read: Callable[[bytes], Any]) -> Callable[[bytes, str], None]:
    """Assert that the bytes are refused in one line: the file, this reason, what is allowed and the next step."""

    def refuse(data: bytes, reason: str) -> None:
        with pytest.raises(VizkitError) as caught:
            read(data)
        text = str(caught.value)
        assert f"model.pth: {reason}" in text
        assert "Only a plain PyTorch state dict" in text
        assert text.endswith("or install the package that carries it again.")
        assert "\n" not in text
        assert len(text) < 1000

    return refuse


def test_a_state_dict_comes_back_as_it_was(layout: Layout, read: Callable[[bytes], dict[str, NDArray[Any]]]) -> None:
    body = state(
        straight=tensor(storage(24), 0, (2, 3, 4), (12, 4, 1)),
        transposed=tensor(storage(24), 0, (4, 3, 2), (1, 4, 12)),
        inside=tensor(storage(24), 5, (2, 2), (8, 2)),
        repeated=tensor(storage(24), 3, (2, 4), (0, 1)),
        scalar=tensor(storage(1, "1", "LongStorage"), 0, (), ()),
        last=tensor(storage(24), 23, (), ()),
        empty=tensor(storage(0, "2"), 0, (0, 3), (3, 1)),
    )
    storages = {"0": NUMBERS, "1": np.array([-7], "<i8"), "2": NUMBERS[:0]}
    read_back = read(layout(body, storages))
    cube = NUMBERS.reshape(2, 3, 4)
    expected = {
        "straight": cube,
        "transposed": cube.T,
        "inside": np.array([[5, 7], [13, 15]], "<f4"),
        "repeated": np.array([[3, 4, 5, 6], [3, 4, 5, 6]], "<f4"),
        "scalar": np.array(-7, "<i8"),
        "last": np.array(23, "<f4"),
        "empty": np.zeros((0, 3), "<f4"),
    }
    assert list(read_back) == list(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(read_back[key], array, strict=True)
        assert not read_back[key].flags.writeable
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "<f8"),
        ("FloatStorage", "<f4"),
        ("HalfStorage", "<f2"),
        ("LongStorage", "<i8"),
        ("IntStorage", "<i4"),
        ("ShortStorage", "<i2"),
        ("CharStorage", "i1"),
        ("ByteStorage", "u1"),
        ("BoolStorage", "?"),
    ],
)
def test_every_plain_storage(kind: str, dtype: str, layout: Layout, read: Callable[[bytes], Any]) -> None:
    values = np.array([0, 1, 1, 0, 1]).astype(dtype)
    body = state(a=tensor(storage(5, "94120", kind), 0, (5,), (1,)))
    np.testing.assert_array_equal(read(layout(body, {"94120": values}))["a"], values, strict=True)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_command_is_named_and_never_run(
    protocol: int, layout: Layout, refuse: Callable[[bytes, str], None], tmp_path: Path
) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    refuse(layout(pickle.dumps(Command(), protocol), {}), f"it asks for '{os.system.__module__}.system'")
    refuse(layout(pickle.dumps({"a": [Command()]}, protocol), {}), "it" if protocol else "its pickle uses")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", range(5))
def test_each_of_the_five_old_pickles_is_read_with_the_same_care(
    place: int, refuse: Callable[[bytes, str], None], tmp_path: Path
) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    parts = [pickled(plain(v)) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts += [ONE, pickled(plain(["0"]))]
    parts[place] = pickle.dumps(Command(), 2)
    reason = "it is not a PyTorch checkpoint" if place == 0 else f"it asks for '{os.system.__module__}.system'"
    refuse(b"".join(parts), reason)
    assert not (tmp_path / "ran").exists()


CALL_EVAL = plain("1") + b"\x85R"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (pickled(name("builtins", "eval") + CALL_EVAL), "it asks for 'builtins.eval'"),
        (pickled(name("torch", "load") + CALL_EVAL), "it asks for 'torch.load'"),
        (pickled(name("torch._utils", "_rebuild_parameter")), "it asks for 'torch._utils._rebuild_parameter'"),
        (pickled(name("collections", "OrderedDict.fromkeys")), "it asks for 'collections.OrderedDict.fromkeys'"),
        (pickled(plain("os") + plain("system") + b"\x93"), "it asks for 'os.system'"),
        (pickled(b"(" + plain("1") + b"ios\nsystem\n"), "its pickle uses the instruction INST"),
        (pickled(name("collections", "OrderedDict") + b")\x81"), "its pickle uses the instruction NEWOBJ"),
        (pickled(b"\x82\x01"), "its pickle uses the instruction EXT1"),
        (pickled(b"P0\n"), "its pickle uses the instruction PERSID"),
        (pickled(name("torch", "FloatStorage") + CALL_EVAL), "it calls torch.FloatStorage with"),
        (pickled(plain("collections.OrderedDict") + b")R"), "its pickle has a value of type str where one of type name"),
        (pickled(name("torch._utils", "_rebuild_tensor_v2") + CALL_EVAL), "it calls torch._utils._rebuild_tensor_v2"),
        (pickled(name("collections", "OrderedDict") + plain({"x": 1}) + b"b"), "its pickle has a value of type name where"),
        (pickled(plain("elsewhere") + b"\x85Q"), "it refers to something outside that is not a storage"),
        (pickled(plain([1, 2])), "it holds no dict of tensors but a value of type list"),
        (pickled(plain({"epoch": 3})), "'epoch' is not a tensor but a value of type int"),
        (pickled(plain({"model": {}})), "'model' is not a tensor but a value of type dict"),
        (pickled(b"}" + b")" + b"\x85" * 200_000 + b"Ns"), "its pickle has a value of type tuple where"),
        (pickled(b"r\xff\xff\xff\xff"), "its pickle is damaged or cut off"),
        (pickled(b"u"), "its pickle is damaged or cut off"),
        (pickled(b"\x8d" + b"\xff" * 7 + b"\x0f"), "its pickle is damaged or cut off"),
        (b"\x80\x02" + b"}", "its pickle is damaged or cut off"),
    ],
)
def test_anything_but_a_state_dict_is_refused(
    body: bytes, reason: str, layout: Layout, refuse: Callable[[bytes, str], None]
) -> None:
    refuse(layout(body, {}), reason)


@pytest.mark.parametrize(
    ("a", "reason"),
    [
        (tensor(storage(2**40), 0, (2**40,), (1,)), "storage '0' "),
        (tensor(storage(25), 0, (24,), (1,)), "storage '0' "),
        (tensor(storage(-24), 0, (24,), (1,)), "storage '0' claims -24 numbers"),
        (tensor(storage(24, kind="DoubleStorage"), 0, (24,), (1,)), "storage '0' claims 192 bytes and has 96"),
        (tensor(storage(24, kind="OrderedDict"), 0, (24,), (1,)), "it asks for 'torch.OrderedDict'"),
        (tensor(storage(24, "missing"), 0, (24,), (1,)), ""),
        (tensor(storage(24, "../../etc/passwd"), 0, (24,), (1,)), "a storage is named '../../etc/passwd'"),
        (tensor(storage(24, "0", "FloatStorage", plain(("1", 0, 24))), 0, (24,), (1,)), "storage '0' is a view"),
        (tensor(plain([0.0]), 0, (1,), (1,)), ""),
        (tensor(storage(24), 0, (25,), (1,)), "'a' reaches beyond its storage of 24 numbers"),
        (tensor(storage(24), 1, (24,), (1,)), "'a' reaches beyond its storage of 24 numbers"),
        (tensor(storage(24), 24, (), ()), "'a' reaches beyond its storage of 24 numbers"),
        (tensor(storage(24), 0, (2, 2), (23, 1)), "'a' reaches beyond its storage of 24 numbers"),
        (tensor(storage(24), 0, (2**20, 2**20), (0, 0)), "'a' reaches beyond its storage of 24 numbers"),
        (tensor(storage(24), -1, (2,), (1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), 4, (2,), (-1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), 0, (-2,), (1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), 0, (2, 3), (1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), "0", (2,), (1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), 0, [2], (1,)), "the shape, strides or offset of 'a' are not whole numbers from 0"),
        (tensor(storage(24), 0, (1,) * 99, (1,) * 99), "the shape, strides or offset of 'a' are not whole numbers"),
        (tensor(storage(24), 0, (0, 2**62), (1, 1)), "the shape or strides of 'a' are larger than an array's"),
    ],
)
def test_claims_are_held_against_the_bytes(
    a: bytes, reason: str, layout: Layout, refuse: Callable[[bytes, str], None]
) -> None:
    refuse(layout(state(a=a), {"0": NUMBERS}), reason)


def test_one_storage_is_described_in_one_way(layout: Layout, refuse: Callable[[bytes, str], None]) -> None:
    body = state(a=tensor(storage(24), 0, (24,), (1,)), b=tensor(storage(48, kind="HalfStorage"), 0, (48,), (1,)))
    refuse(layout(body, {"0": NUMBERS}), "storage '0' is described twice, and not alike")


def test_claims_of_an_old_file_outside_its_pickle(refuse: Callable[[bytes, str], None]) -> None:
    whole = legacy(ONE, {"0": NUMBERS})
    refuse(whole[:-1], "storage '0' claims 96 bytes and has 95")
    refuse(whole[:-104] + (2**40).to_bytes(8, "little") + whole[-96:], f"storage '0' is given as 24 numbers and as {2**40}")
    refuse(legacy(ONE, {"0": NUMBERS, "1": NUMBERS}), "its list of storages has '1', which no tensor uses")
    refuse(legacy(ONE, {}), "storage '0' claims 96 bytes and has 0")
    refuse(whole.replace(pickled(plain(1001)), pickled(plain(1000)), 1), "its protocol is not 1001 but 1000")
    refuse(whole.replace(b"\x88", b"\x89", 1), "its numbers are not stored little-endian")


def test_claims_of_an_archive(refuse: Callable[[bytes, str], None], tmp_path: Path) -> None:
    refuse(zipped(ONE, {"0": NUMBERS}, zipfile.ZIP_DEFLATED), "its archive is compressed or encrypted")
    refuse(zipped(ONE, {"../../0": NUMBERS}), "storage '0' is not in its archive")
    refuse(zipped(ONE, {"0": NUMBERS}).replace(b"little", b"bigger"), "its archive is damaged")
    refuse(zipped(ONE, {"0": NUMBERS}).replace(b"model/data.pkl", b"model/data.txt"), "its archive has 0 pickles")
    refuse(zipped(ONE, {"0": NUMBERS}).replace(b"model/data.pkl", b"/odel/data.pkl"), "its archive has 0 pickles")
    assert [p.name for p in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize("data", [b"", b"not a checkpoint", b"\x89PNG\r\n\x1a\n", b"\x80\x02}.", b"\x00" * 4096])
def test_a_file_that_is_no_checkpoint(data: bytes, refuse: Callable[[bytes, str], None]) -> None:
    refuse(data, "it is not a PyTorch checkpoint")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VizkitError, match=r"Cannot read the checkpoint .*gone\.pth: No such file or directory\. Install"):
        read_checkpoint(tmp_path / "gone.pth")


def test_cut_off_anywhere_it_is_refused(layout: Layout, read: Callable[[bytes], Any]) -> None:
    whole = layout(ONE, {"0": NUMBERS})
    assert read(whole)["a"].sum() == 276
    for length in range(len(whole)):
        with pytest.raises(VizkitError):
            read(whole[:length])


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning:pickletools")
def test_damaged_anywhere_it_is_read_or_refused(layout: Layout, read: Callable[[bytes], Any]) -> None:
    whole = np.frombuffer(layout(ONE, {"0": NUMBERS}), np.uint8)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        data = whole.copy()
        data[random.integers(len(data), size=random.integers(1, 4))] = random.integers(256)
        try:
            assert all(a.nbytes <= NUMBERS.nbytes for a in read(data.tobytes()).values())
        except VizkitError:
            refused += 1
    assert refused > 500

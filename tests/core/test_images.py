"""Opening pictures: pixels known beforehand, and one sentence for what is no picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from vizkit.errors import BadImage
from vizkit.images import MAX_PIXELS, Geometry, encode_thumbnail, fault, fit, open_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def pixels(source: Path | bytes) -> list[list[tuple[int, ...]]]:
    """The opened picture as rows of (r, g, b)."""
    image = open_image(source)
    assert image.mode == "RGB"
    return [[tuple(int(v) for v in p) for p in row] for row in np.asarray(image)]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that does not compress."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file of a few bytes whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, photometric: int, data: bytes) -> bytes:
    """A little-endian grey TIFF of one uncompressed strip."""
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
            (277, 3, 1), (278, 3, height), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    offset = 8 + len(data) + len(data) % 2
    return (
        b"II*\0"
        + struct.pack("<I", offset)
        + data.ljust(offset - 8, b"\0")
        + struct.pack("<H", len(tags))
        + entries
        + b"\0\0\0\0"
    )


# Which side of the picture the stored row 0 and column 0 are, for each value of the EXIF tag: the standard's own table.
SIDES = {1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
         5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom")}  # fmt: skip


def as_seen(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels put where the standard's table says, one by one."""
    row_0, column_0 = SIDES[orientation]
    rows, columns = stored.shape[:2]
    upright = row_0 in ("top", "bottom")
    seen = np.zeros((rows, columns, 3) if upright else (columns, rows, 3), np.uint8)
    for r in range(rows):
        for c in range(columns):
            along_row = r if row_0 in ("top", "left") else rows - 1 - r
            along_column = c if column_0 in ("top", "left") else columns - 1 - c
            seen[(along_row, along_column) if upright else (along_column, along_row)] = stored[r, c]
    return seen


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_exif_orientation_is_applied_once_and_exactly(orientation: int, kind: str, options: dict[str, bool]) -> None:
    stored = np.random.default_rng(orientation).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = np.asarray(open_image(saved(Image.fromarray(stored), kind, exif=exif, **options)))
    np.testing.assert_array_equal(found, as_seen(stored, orientation))


def test_a_phone_s_jpeg_is_upright() -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = RED  # column 0 is the top (orientation 6): red above black
    exif = Image.Exif()
    exif[0x0112] = 6
    found = np.asarray(open_image(saved(Image.fromarray(stored), "JPEG", exif=exif, quality=95, subsampling=0)))
    assert found.shape == (32, 16, 3)
    assert found[4, 8, 0] > 240
    assert found[28, 8, 0] < 15


def test_an_orientation_out_of_range_and_damaged_exif_leave_the_picture_as_it_lies() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    two = Image.new("RGB", (2, 1), RED)
    two.putpixel((1, 0), BLUE)
    assert pixels(saved(two, "PNG", exif=exif)) == [[RED, BLUE]]
    assert pixels(saved(two, "PNG", exif=b"Exif\0\0MM\0*\0\0")) == [[RED, BLUE]]


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("L", 77, "PNG", (77, 77, 77)),
        ("1", 1, "PNG", WHITE),
        ("LA", (0, 255), "PNG", (0, 0, 0)),
        ("LA", (0, 0), "PNG", WHITE),
        ("RGBA", (255, 0, 0, 255), "PNG", RED),
        ("RGBA", (255, 0, 0, 0), "PNG", WHITE),
        ("RGBA", (255, 0, 0, 51), "PNG", (255, 204, 204)),  # a fifth of red over white
        ("RGBA", (255, 0, 0, 51), "TIFF", (255, 204, 204)),
        ("CMYK", (0, 255, 255, 0), "TIFF", RED),
        ("CMYK", (0, 0, 0, 255), "TIFF", (0, 0, 0)),
        ("CMYK", (0, 0, 0, 0), "TIFF", WHITE),
        ("RGB", (1, 2, 3), "BMP", (1, 2, 3)),
        ("RGB", (255, 0, 0), "GIF", RED),
    ],
)
def test_modes_become_rgb(mode: str, colour: int | tuple[int, ...], kind: str, expected: tuple[int, ...]) -> None:
    assert pixels(saved(Image.new(mode, (1, 1), colour), kind)) == [[expected]]


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), "JPEG", RED),
        ("YCbCr", (76, 85, 255), "JPEG", RED),
        ("LAB", (255, 128, 128), "TIFF", WHITE),
    ],
)
def test_colours_that_are_computed_come_out_within_three_levels(
    mode: str, colour: tuple[int, ...], kind: str, expected: tuple[int, ...]
) -> None:
    found = pixels(saved(Image.new(mode, (16, 16), colour), kind, quality=95))[8][8]
    assert np.abs(np.subtract(found, expected)).max() <= 3


def test_a_palette_with_transparency_lies_on_white() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    for x in range(3):
        image.putpixel((x, 0), x)
    assert pixels(saved(image, "PNG")) == [[RED, GREEN, BLUE]]
    assert pixels(saved(image, "PNG", transparency=1)) == [[RED, WHITE, BLUE]]
    assert pixels(saved(image, "PNG", transparency=bytes([255, 255, 0]))) == [[RED, GREEN, WHITE]]


def test_grey_of_sixteen_bits_is_scaled_and_not_clipped() -> None:
    values = np.array([[0, 256, 257, 32768, 65280, 65535]], np.uint16)
    expected = [0, 1, 1, 128, 254, 255]  # round(255 * value / 65535)
    for kind in ("PNG", "TIFF"):
        assert [p[0] for p in pixels(saved(Image.fromarray(values), kind))[0]] == expected


def test_a_tiff_s_bits_and_its_sense_of_white_are_heeded() -> None:
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00])  # twelve bits each: 0, 2048, 4095, 0
    assert [p[0] for p in pixels(tiff(4, 1, 12, 1, packed))[0]] == [0, 128, 255, 0]
    white_is_zero = np.array([0, 65535, 257], "<u2").tobytes()
    assert [p[0] for p in pixels(tiff(3, 1, 16, 0, white_is_zero))[0]] == [255, 0, 254]


def test_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("GIF", "WEBP", "TIFF"):
        file = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(np.subtract(pixels(file)[0][0], RED)).max() <= 3


def test_a_jpeg_with_further_pictures_in_it_opens() -> None:
    file = saved(noise(16, 16), "MPO", save_all=True, append_images=[noise(16, 16, 1)])
    np.testing.assert_array_equal(np.asarray(open_image(file)), np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


@pytest.mark.parametrize("side", [8945, 10_000, 20_000, 60_000])  # above our bound; Pillow's warning; its error; far above
def test_a_bomb_is_refused_before_it_is_decoded(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadImage) as error:
        open_image(png_of_size(side, side))
    text = str(error.value)
    assert text.startswith(f"This upload has {side * side:,} pixels")
    assert "at most 80 million pixels" in text
    assert "\n" not in text


def test_the_largest_picture_allowed_passes_the_check_of_size(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    with pytest.raises(BadImage, match="cut short or damaged"):  # the header was accepted; the pixels are not there
        open_image(png_of_size(side, side))


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "a.jpg"), ("PNG", "a.png"), ("GIF", "a.gif"), ("WEBP", "a.webp"),
                                            ("BMP", "a.bmp"), ("TIFF", "a.tif")])  # fmt: skip
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, kind: str, name: str) -> None:
    whole = saved(noise(64, 64), kind)
    file = tmp_path / name
    file.write_bytes(whole)
    assert fault(file) is None
    file.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(BadImage, match=f"^{name} is (cut short or damaged|not a picture)") as error:
        open_image(file)
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)
    assert (fault(file) or "").startswith(("is cut short or damaged", "is not a picture"))


def test_damage_in_the_middle_of_a_png_is_found_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(saved(noise(64, 64), "PNG"))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert "damaged" in (fault(tmp_path / "a.png") or "")


def test_a_whole_jpeg_with_something_after_its_end_is_decoded_to_see(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(saved(noise(32, 32), "JPEG") + b"a film of the same moment")
    assert fault(file) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "This upload is empty."),
        (b"just some words", "This upload is not a picture of a kind that vizkit opens."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "This upload is not a picture of a kind that vizkit opens."),
        (saved(Image.new("RGB", (1, 1)), "PPM"), "This upload is not a picture of a kind that vizkit opens."),
        (saved(Image.new("F", (1, 1), 0.5), "TIFF"), "This upload holds numbers (F, 32 bits a pixel) with no agreed"),
    ],
)
def test_what_is_no_picture_is_said_in_one_line_with_a_next_step(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as error:
        open_image(data)
    text = str(error.value)
    assert text.startswith(reason)
    assert text.endswith("save it again as one of these, or choose another picture.")
    assert "JPEG, PNG, WebP, BMP, TIFF and GIF" in text
    assert "\n" not in text


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"^gone\.png is no longer there"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(BadImage, match="is a folder"):
        open_image(tmp_path)
    with pytest.raises(BadImage, match="is not a file but a device or pipe"):
        open_image(Path("/dev/null"))


def test_one_pixel_fills_any_frame() -> None:
    image = open_image(saved(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"))
    for size in ((1, 1), (224, 224), (32, 96)):
        np.testing.assert_array_equal(fit(image, size), np.full((*size, 3), (9, 8, 7), np.uint8))
        np.testing.assert_array_equal(fit(image, size, Geometry("stretch")), np.full((*size, 3), (9, 8, 7), np.uint8))


def test_the_centre_is_cut_out_of_the_resized_picture() -> None:
    image = noise(300, 200)
    resized = np.asarray(image.resize((144, 96), Image.Resampling.BICUBIC))  # the short side is 64 + 32
    np.testing.assert_array_equal(fit(image, (64, 64)), resized[16:80, 40:104])
    no_margin = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(fit(image, (64, 64), Geometry("crop", 0, "bilinear")), no_margin[:, 16:80])


def test_a_picture_of_the_right_size_is_cut_without_resampling() -> None:
    image = noise(96, 96)
    np.testing.assert_array_equal(fit(image, (64, 64)), np.asarray(image)[16:80, 16:80])


def test_a_frame_that_is_not_square_is_covered() -> None:
    image = noise(300, 200)
    resized = np.asarray(image.resize((132, 88), Image.Resampling.BICUBIC))  # 132 = 100 + 32; 88 >= 40 + 32
    np.testing.assert_array_equal(fit(image, (40, 100)), resized[24:64, 16:116])


def test_stretch_takes_the_whole_picture() -> None:
    two = Image.new("RGB", (2, 1), RED)
    two.putpixel((1, 0), BLUE)
    found = fit(two, (2, 4), Geometry("stretch", resampling="nearest"))
    np.testing.assert_array_equal(found, np.array([[RED, RED, BLUE, BLUE]] * 2, np.uint8))


def test_a_very_long_picture_shows_its_middle_and_takes_no_memory() -> None:
    long = Image.new("RGB", (60_000, 1), RED)  # resized whole it would have 256 x 15,360,000 pixels
    long.paste(GREEN, (29_990, 0, 30_010, 1))
    np.testing.assert_array_equal(fit(long, (224, 224)), np.full((224, 224, 3), GREEN, np.uint8))


def test_a_geometry_has_a_stable_text() -> None:
    assert str(Geometry()) == "crop +32 bicubic"
    assert str(Geometry("crop", 0, "lanczos")) == "crop +0 lanczos"
    assert str(Geometry("stretch", 5)) == "stretch bicubic"  # a margin that changes nothing is not named
    with pytest.raises(ValueError, match="0 pixels or more"):
        Geometry(margin=-1)


def test_a_thumbnail_is_a_webp_of_the_same_pixels_and_the_same_bytes() -> None:
    flat = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    data = encode_thumbnail(flat)
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    assert data == encode_thumbnail(flat.copy())
    assert np.abs(np.asarray(open_image(data)).astype(int) - flat).max() <= 4

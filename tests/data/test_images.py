"""Decoding, resizing and hashing of images."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vsr_cli.data.images import (
    BARS,
    LONGEST,
    MAX_PIXELS,
    ImageProblem,
    decode_image,
    fit_image,
    read_image,
    unfit_image,
    upright_rgb,
)
from vsr_cli.errors import VsrError


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes | Path, size: int | None = None) -> np.ndarray:
    image = decode_image(data, where="story 1, image 1", size=size)
    assert image.mode == "RGB"
    return np.asarray(image)


def problem(source: bytes | Path) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        decode_image(source, where="story 1, image 1")
    message = str(caught.value)
    assert isinstance(caught.value, VsrError)
    assert message.startswith("story 1, image 1: ")
    assert "\n" not in message
    assert "; " in message
    return caught.value


def quadrants() -> Image.Image:
    """An image of 32 x 24 whose corners tell which way is up: red, green / blue, white."""
    image = Image.new("RGB", (32, 24), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 15, 11), fill="red")
    draw.rectangle((16, 0, 31, 11), fill="lime")
    draw.rectangle((0, 12, 15, 23), fill="blue")
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_format_is_detected_by_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "misnamed.xyz"
    path.write_bytes(encode(quadrants(), kind, **({"subsampling": 0} if kind == "JPEG" else {})))
    array = decode(path)
    assert array.shape == (24, 32, 3)
    for (y, x), colour in {(4, 4): (255, 0, 0), (4, 28): (0, 255, 0), (20, 4): (0, 0, 255)}.items():
        np.testing.assert_allclose(array[y, x], colour, atol=6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    # How a camera that is held so stores the upright image.
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.ROTATE_90, Image.Transpose.FLIP_TOP_BOTTOM],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.ROTATE_270, Image.Transpose.FLIP_TOP_BOTTOM],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = quadrants()
    for step in turned[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    array = decode(encode(stored, kind, exif=exif))
    assert array.shape == (24, 32, 3)
    np.testing.assert_allclose(array[::16, ::20], np.asarray(quadrants())[::16, ::20], atol=8)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_invalid_orientation_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode(encode(quadrants(), "JPEG", exif=exif)).shape[2] == 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "entries", [b"\xff\xff\xff\xff", b"\x00\x01" + struct.pack(">HHI4sI", 0x0112, 2, 4, b"left", 0)]
)
def test_damaged_exif_is_ignored(entries: bytes) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + entries
    assert decode(encode(quadrants(), "JPEG", exif=exif)).shape == (24, 32, 3)


def test_sixteen_bit_grey_is_scaled() -> None:
    ramp = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    big_endian = png(5, 1, depth=16, colour=0, rows=b"\0" + ramp.astype(">u2").tobytes())
    for data in (big_endian, encode(Image.fromarray(ramp), "TIFF"), encode(Image.fromarray(ramp), "PNG")):
        np.testing.assert_array_equal(decode(data)[0, :, 0], [0, 0, 1, 128, 255])


def test_sixteen_bit_big_endian_tiff() -> None:
    image = Image.frombytes("I;16B", (2, 1), np.array([0x1234, 0xFFFF], dtype=">u2").tobytes())
    np.testing.assert_array_equal(decode(encode(image, "TIFF"))[0, :, 0], [0x12, 255])


def test_sixteen_bit_colour() -> None:
    rows = b"\0" + np.array([[65535, 0, 32768]], dtype=">u2").tobytes()
    np.testing.assert_array_equal(decode(png(1, 1, depth=16, colour=2, rows=rows))[0, 0], [255, 0, 128])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], dtype=np.int32), [0, 1, 255]),
        (np.array([[-100_000, 0, 100_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[-2.0, 0.0, 2.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.0, np.inf, 1.0]], dtype=np.float32), [0, 0, 0, 255]),
        (np.array([[-3e38, 0.0, 3e38]], dtype=np.float32), [0, 128, 255]),
    ],
)
def test_deep_modes_are_scaled_to_their_range(values: np.ndarray, expected: list[int]) -> None:
    array = decode(encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_allclose(array[0, :, 0], expected, atol=1)
    assert (array == array[:, :, :1]).all()


def test_transparency_is_composited_on_white() -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encode(half, kind))[0], [[255, 0, 0], [255, 255, 255]])
    np.testing.assert_array_equal(decode(encode(Image.new("LA", (1, 1), (0, 128)), "PNG"))[0, 0], [127] * 3)


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode(encode(image, "PNG"))[0], [[255, 0, 0], [0, 0, 255]])
    data = encode(image, "PNG", transparency=1)
    np.testing.assert_array_equal(decode(data)[0], [[255, 0, 0], [255, 255, 255]])


def test_transparent_color_of_an_rgb_image() -> None:
    data = encode(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    np.testing.assert_array_equal(decode(data)[0, 0], [255, 255, 255])


def test_one_bit() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode(encode(image, "PNG"))[0, :, 0], [0, 255])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    # Pillow writes JPEG CMYK inverted, as Adobe does, and reads it back so.
    assert decode(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), kind))[4, 4].tolist() == pytest.approx(
        [0, 255, 255], abs=3
    )


def test_other_colour_spaces() -> None:
    assert decode(encode(Image.new("LAB", (8, 8), (200, 128, 128)), "TIFF")).shape == (8, 8, 3)
    # Not from a TIFF, which Pillow 12 writes with too few bytes.
    grey = upright_rgb(Image.new("YCbCr", (8, 8), (200, 128, 128)), where="x")
    assert (grey.mode, grey.getpixel((0, 0))) == ("RGB", (200, 200, 200))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(data)[4, 4], [255, 0, 0], atol=6)


def test_a_smaller_target_decodes_a_jpeg_at_a_fraction() -> None:
    data = encode(quadrants().resize((1600, 1200)), "JPEG")
    array = decode(data, size=64)
    assert array.shape == (150, 200, 3)
    whole, draft = (fit_image(decode_image(data, where="x", size=size), 64, "stretch") for size in (None, 64))
    assert np.abs(whole.astype(int) - draft).mean() < 1


def test_missing_and_misplaced_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    assert problem(tmp_path / "none.jpg").code == "missing_image"
    assert problem(tmp_path / "text.jpg" / "none.jpg").code == "missing_image"
    for name in ("", "empty.jpg", "pipe.jpg", "text.jpg", "x" * 5000, "a\0b"):
        assert problem(tmp_path / name).code == "unreadable_image", name
    assert problem(b"").code == "unreadable_image"


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P6 1 1 255\nabc"])
def test_rarer_formats_are_not_parsed(data: bytes) -> None:
    assert problem(data).code == "unreadable_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_truncated_file(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, kind)
    assert problem(data[: len(data) // 2]).code == "truncated_image"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 10_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header(side: int) -> None:
    before = Image.MAX_IMAGE_PIXELS
    assert side * side > MAX_PIXELS
    assert problem(png(side, side, depth=8, colour=2, rows=b"")).code == "image_too_large"
    assert before == Image.MAX_IMAGE_PIXELS


def test_pixel_limit_does_not_depend_on_pillow_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert problem(png(60_000, 60_000, depth=8, colour=2, rows=b"")).code == "image_too_large"


SAMPLES = [
    encode(quadrants(), "JPEG"),
    encode(quadrants(), "PNG"),
    encode(quadrants().convert("P"), "GIF"),
    encode(quadrants(), "WEBP"),
    encode(quadrants(), "TIFF", compression="tiff_lzw"),
    encode(quadrants(), "BMP"),
]


@settings(max_examples=400, deadline=None)
@given(
    data=st.sampled_from(SAMPLES),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@pytest.mark.filterwarnings("ignore")
def test_random_damage_is_decoded_or_an_image_problem(data: bytes, flips: list[tuple[float, int]], keep: float) -> None:
    damaged = bytearray(data)
    for position, flip in flips:
        damaged[int(position * len(damaged))] ^= flip
    try:
        image = decode_image(bytes(damaged[: int(keep * len(damaged))]), where="x", size=16)
        outcome, message = image.mode, ""
    except ImageProblem as error:
        outcome, message = error.code, str(error)
    assert outcome in {"RGB", "unreadable_image", "truncated_image", "image_too_large"}
    assert "\n" not in message


FITS = ("stretch", "letterbox", "crop")


sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def hatched(width: int, height: int) -> Image.Image:
    """An image whose corners, edges and middle all differ."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 2 * 40], axis=2).astype(np.uint8))


@pytest.mark.parametrize("fit", FITS)
def test_resizing_is_antialiased(fit: str) -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    array = fit_image(Image.fromarray(stripes), 16, fit)
    assert array.shape == (16, 16, 3)
    assert array.dtype == np.uint8
    np.testing.assert_allclose(array, 127.5, atol=12)


@pytest.mark.parametrize("fit", FITS)
def test_resized_image_is_a_copy(fit: str) -> None:
    image = Image.new("RGB", (16, 16))
    fit_image(image, 16, fit)[:] = 255
    assert image.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("fit", FITS)
def test_square_image_is_unchanged(fit: str) -> None:
    image = hatched(24, 24)
    np.testing.assert_array_equal(fit_image(image, 24, fit), np.asarray(image))
    np.testing.assert_array_equal(unfit_image(image, width=24, height=24, resize=fit), np.asarray(image))


@given(size=st.integers(1, 64), shape=sizes, fit=st.sampled_from(FITS))
def test_any_shape_is_resized_to_any_square(size: int, shape: tuple[int, int], fit: str) -> None:
    assert fit_image(hatched(*shape), size, fit).shape == (size, size, 3)


def test_stretch_keeps_everything_and_crop_the_center() -> None:
    image = Image.new("RGB", (64, 16), "red")
    image.paste("lime", (24, 0, 40, 16))  # the middle square
    assert {tuple(pixel) for pixel in fit_image(image, 16, "crop").reshape(-1, 3)} == {(0, 255, 0)}
    stretched = fit_image(image, 16, "stretch")
    assert [tuple(stretched[8, x]) for x in (0, 8, 15)] == [(255, 0, 0), (0, 255, 0), (255, 0, 0)]
    upright = image.transpose(Image.Transpose.ROTATE_90)
    assert {tuple(pixel) for pixel in fit_image(upright, 16, "crop").reshape(-1, 3)} == {(0, 255, 0)}


@pytest.mark.parametrize(("shape", "rows"), [((64, 16), 4), ((575, 240), 7), ((5000, 1), 1)])
def test_letterbox_keeps_proportions_between_bars(shape: tuple[int, int], rows: int) -> None:
    for turn in (False, True):
        image = Image.new("RGB", shape, "red")
        array = fit_image(image.transpose(Image.Transpose.ROTATE_90) if turn else image, 16, "letterbox")
        inside = (array.swapaxes(0, 1) if turn else array) == (255, 0, 0)
        assert np.flatnonzero(inside.all(axis=(1, 2))).tolist() == list(
            range((16 - rows) // 2, (16 - rows) // 2 + rows)
        )
        assert {tuple(pixel) for pixel in array.reshape(-1, 3)} == {(255, 0, 0), BARS}


@given(size=st.integers(8, 64), shape=sizes)
def test_unfit_removes_exactly_the_letterbox_bars(size: int, shape: tuple[int, int]) -> None:
    square = fit_image(Image.new("RGB", shape, "red"), size, "letterbox")
    back = unfit_image(Image.fromarray(square), width=shape[0], height=shape[1], resize="letterbox")
    assert {tuple(pixel) for pixel in np.asarray(back).reshape(-1, 3)} == {(255, 0, 0)}
    assert np.count_nonzero((square == (255, 0, 0)).all(axis=2)) == back.width * back.height
    assert max(back.size) == size


@pytest.mark.parametrize(
    ("shape", "size"), [((600, 400), (96, 64)), ((400, 600), (64, 96)), ((5, 5), (64, 64)), ((5000, 1), (512, 1))]
)
def test_unfit_of_stretch_restores_proportions(shape: tuple[int, int], size: tuple[int, int]) -> None:
    square = Image.fromarray(fit_image(hatched(*shape), 64, "stretch"))
    assert unfit_image(square, width=shape[0], height=shape[1], resize="stretch").size == size
    assert max(size) <= LONGEST * 64


def test_unfit_of_stretch_restores_pixels() -> None:
    image = hatched(96, 48)
    back = unfit_image(Image.fromarray(fit_image(image, 48, "stretch")), width=96, height=48, resize="stretch")
    np.testing.assert_allclose(np.asarray(back)[:, :, :2], np.asarray(image)[:, :, :2], atol=6)


def test_unfit_of_crop_is_unchanged() -> None:
    square = Image.fromarray(fit_image(hatched(90, 30), 30, "crop"))
    assert unfit_image(square, width=90, height=30, resize="crop") is square


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_upright_image(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_image(encode(quadrants(), kind, exif=exif), where="x", size=16, resize="stretch")
    assert (picture.width, picture.height) == ((32, 24) if orientation < 5 else (24, 32))
    assert picture.pixels.shape == (16, 16, 3)


@pytest.mark.parametrize("fit", FITS)
def test_large_jpeg_decoded_at_a_fraction_keeps_its_size(fit: str) -> None:
    data = encode(hatched(1153, 481), "JPEG")
    picture = read_image(data, where="x", size=32, resize=fit)
    assert (picture.width, picture.height) == (1153, 481)
    assert decode_image(data, where="x", size=32).size != (1153, 481)
    whole = fit_image(decode_image(data, where="x"), 32, fit)
    assert np.abs(whole.astype(int) - picture.pixels).mean() < 3


@pytest.mark.parametrize("height", range(401, 471, 7))
def test_letterbox_bars_follow_the_source_s_proportions(height: int) -> None:
    data = encode(Image.new("RGB", (1203, height), "red"), "JPEG", subsampling=0)
    picture = read_image(data, where="x", size=64, resize="letterbox")
    back = unfit_image(Image.fromarray(picture.pixels), width=1203, height=height, resize="letterbox")
    np.testing.assert_allclose(np.asarray(back), np.broadcast_to((255, 0, 0), (*back.size[::-1], 3)), atol=6)


def test_read_picture_names_an_invalid_image() -> None:
    with pytest.raises(ImageProblem, match=r"^story 1, image 1: "):
        read_image(b"no picture", where="story 1, image 1", size=16, resize="crop")

"""Image folders: right pixels in a fixed order, and one clear error for each way a folder can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamina.datasets import load_image_folder
from lamina.errors import ArgumentError, DataError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> None:
    """Write a one-coloured image, (width, height) in size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: apples red and green, and a blue bird."""
    save(tmp_path / "apple" / "b.png", GREEN)
    save(tmp_path / "apple" / "a.png", RED)
    save(tmp_path / "bird" / "only.png", BLUE)
    return tmp_path


def test_images_come_class_by_class_in_sorted_order(folder):
    x, y, class_names = load_image_folder(folder, image_size=(6, 8))
    assert class_names == ["apple", "bird"]
    assert y.tolist() == [0, 0, 1] and y.dtype == np.int64
    assert x.shape == (3, 6, 8, 3) and x.dtype == np.uint8
    for image, colour in zip(x, (RED, GREEN, BLUE), strict=True):
        np.testing.assert_array_equal(image, np.broadcast_to(colour, (6, 8, 3)))


def test_pixels_of_an_image_of_the_right_size_are_kept(tmp_path):
    pixels = np.random.randint(0, 256, (5, 7, 3), np.uint8)
    (tmp_path / "class").mkdir()
    Image.fromarray(pixels).save(tmp_path / "class" / "noise.png")
    x, _, _ = load_image_folder(str(tmp_path), image_size=(5, 7))
    np.testing.assert_array_equal(x[0], pixels)


def test_images_of_many_sizes_are_resized_to_one(tmp_path):
    save(tmp_path / "class" / "wide.png", RED, (40, 10))
    save(tmp_path / "class" / "tall.bmp", RED, (3, 30))
    x, _, _ = load_image_folder(tmp_path, image_size=12)
    np.testing.assert_array_equal(x, np.broadcast_to(RED, (2, 12, 12, 3)))


def test_resizing_is_bilinear(tmp_path):
    (tmp_path / "class").mkdir()
    Image.fromarray(np.array([[0, 100]], np.uint8)).save(tmp_path / "class" / "step.png")
    x, _, _ = load_image_folder(tmp_path, image_size=(1, 4), color_mode="grayscale")
    assert x.ravel().tolist() == [0, 25, 75, 100]  # centres at -1/4, 1/4, 3/4, 5/4 of the step from 0 to 1


def test_color_modes_give_one_three_or_four_channels(folder):
    by_mode = {mode: load_image_folder(folder, 4, color_mode=mode)[0][0, 0, 0] for mode in ("grayscale", "rgb", "rgba")}
    assert by_mode["grayscale"].tolist() == [76]  # 0.299 * 255, the luma of red
    assert by_mode["rgb"].tolist() == [255, 0, 0]
    assert by_mode["rgba"].tolist() == [255, 0, 0, 255]


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    (tmp_path / "class").mkdir()
    Image.fromarray(np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "class" / "scan.png")
    for mode in ("grayscale", "rgb"):
        x, _, _ = load_image_folder(tmp_path, image_size=(1, 4), color_mode=mode)
        assert x[0, 0, :, 0].tolist() == [0, 0x40, 0x80, 0xFF]


def test_photographs_are_turned_upright(tmp_path):
    (tmp_path / "class").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera lay on its side, turn by 90 degrees clockwise
    Image.fromarray(np.array([[10, 200]], np.uint8)).save(tmp_path / "class" / "photo.png", exif=exif)
    x, _, _ = load_image_folder(tmp_path, image_size=(2, 1), color_mode="grayscale")
    assert x[0, :, 0, 0].tolist() == [10, 200]


def test_hidden_files_and_other_files_are_passed_over(folder):
    (folder / ".hidden").mkdir()
    (folder / "readme.txt").write_text("loose file beside the classes")
    (folder / "apple" / ".a.png").write_bytes(b"no image")
    (folder / "apple" / "notes.txt").write_text("no image")
    save(folder / "apple" / ".thumbnails" / "a.png", BLUE)
    _, y, class_names = load_image_folder(folder, 4)
    assert class_names == ["apple", "bird"] and y.tolist() == [0, 0, 1]


def test_folders_inside_a_class_belong_to_it(folder):
    save(folder / "bird" / "more" / "deep" / "another.JPG", BLUE)
    _, y, _ = load_image_folder(folder, 4)
    assert y.tolist() == [0, 0, 1, 1]


def test_one_thread_and_many_give_the_same_arrays(tmp_path):
    for number in range(30):
        save(tmp_path / f"class{number % 3}" / f"{number:02}.png", (number, 2 * number, 255 - number), (number + 1, 9))
    one, many = (load_image_folder(tmp_path, 5, workers=workers) for workers in (1, 8))
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])
    assert [image[0, 0, 0] for image in one[0]] == sorted(range(30), key=lambda number: (number % 3, number))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"The folder '.*nowhere' does not exist[\s\S]*one subfolder a class"):
        load_image_folder(tmp_path / "nowhere")


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"archive\.zip' is a file, not a folder"):
        load_image_folder(tmp_path / "archive.zip")


def test_a_folder_without_subfolders_is_refused(tmp_path):
    save(tmp_path / "loose.png", RED)
    with pytest.raises(
        DataError,
        match=r"has no subfolders[\s\S]*1 file\(s\) and no subfolder[\s\S]*into a subfolder with the class's name",
    ):
        load_image_folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(DataError, match=r"has no subfolders[\s\S]*an empty folder"):
        load_image_folder(tmp_path)


def test_an_empty_class_is_named(folder):
    (folder / "cat").mkdir()
    with pytest.raises(
        DataError, match=r"The class 'cat' has no images[\s\S]*0 other file\(s\)[\s\S]*remove the subfolder"
    ):
        load_image_folder(folder)


def test_a_class_of_other_files_is_named_with_the_endings_that_count(folder):
    (folder / "cat").mkdir()
    (folder / "cat" / "cat.mp4").write_bytes(b"film")
    with pytest.raises(DataError, match=r"The class 'cat' has no images[\s\S]*\.png[\s\S]*1 other file\(s\)"):
        load_image_folder(folder)


def test_a_file_that_is_no_image_is_named(folder):
    (folder / "bird" / "fake.png").write_bytes(b"this is not a png")
    with pytest.raises(DataError, match=r"The image '.*bird.fake\.png' cannot be read[\s\S]*UnidentifiedImageError"):
        load_image_folder(folder)


def test_a_truncated_image_is_named(folder):
    pixels = np.random.randint(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "apple" / "cut.png")
    whole = (folder / "apple" / "cut.png").read_bytes()
    (folder / "apple" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"The image '.*cut\.png' cannot be read[\s\S]*replace the file or remove it"):
        load_image_folder(folder)


def test_of_several_bad_images_the_first_is_named(folder):
    for name in ("z.png", "k.png", "c.png"):
        (folder / "apple" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"c\.png' cannot be read"):
        load_image_folder(folder)


def test_floating_point_pixels_are_refused(folder):
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "bird" / "height.tiff")
    with pytest.raises(DataError, match=r"height\.tiff' cannot be read[\s\S]*no agreed range"):
        load_image_folder(folder)


def test_a_folder_that_may_not_be_listed_is_named(folder, monkeypatch):
    def refuse(path: Path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(
        DataError, match=r"The folder '.*' cannot be read: Permission denied[\s\S]*check its permissions"
    ):
        load_image_folder(folder)


@pytest.mark.parametrize("image_size", [0, (4,), (4, -1), (4, 4, 3), "big", (2.5, 2)])
def test_a_size_that_is_none_is_refused(folder, image_size):
    with pytest.raises(ArgumentError, match=r"This is no image size[\s\S]*\(height, width\)"):
        load_image_folder(folder, image_size)


def test_an_unknown_color_mode_is_refused(folder):
    with pytest.raises(ArgumentError, match=r"Unknown color mode[\s\S]*'grayscale', 'rgb', 'rgba'[\s\S]*'hsv'"):
        load_image_folder(folder, color_mode="hsv")


def test_no_workers_are_refused(folder):
    with pytest.raises(ArgumentError, match="at least 1 worker"):
        load_image_folder(folder, workers=0)

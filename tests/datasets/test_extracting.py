"""Archives of data: what is in them comes out, and what is hostile stays in."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from lamina.datasets.extracting import extract_archive
from lamina.errors import ArgumentError, LoadError


@pytest.fixture
def place(tmp_path):
    """A folder to unpack in, with a canary beside it that must stay what it is."""
    (tmp_path / "canary").write_text("alive")
    return tmp_path / "inner" / "out"


def expect_refused(path, place, words):
    """The archive is refused with these words, and nothing but the archive and the canary is there afterwards."""
    root = place.parents[1]
    before = sorted(p.relative_to(root).as_posix() for p in root.rglob("*"))
    with pytest.raises(LoadError, match=words) as caught:
        extract_archive(path, place)
    assert caught.value.fix
    left = {p.relative_to(root).as_posix() for p in root.rglob("*")} - set(before)
    assert left <= {"inner"}, left
    assert (root / "canary").read_text() == "alive"


def tar_with(path, *members, mode="w"):
    """A tar archive of members: names with contents, or records of `tarfile` as they are."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                record = tarfile.TarInfo(member[0])
                record.size = len(member[1])
                archive.addfile(record, io.BytesIO(member[1]))
    return path


def special(name, kind, target=""):
    record = tarfile.TarInfo(name)
    record.type, record.linkname = kind, target
    return record


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_archive_is_unpacked(mode, tmp_path, place):
    folder = special("./a", tarfile.DIRTYPE)
    path = tar_with(tmp_path / "x.tar", folder, ("./a/b.txt", b"one"), ("c/d/e.txt", b""), mode=mode)
    extract_archive(path, place)
    found = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    assert found == {"a/b.txt": b"one", "c/d/e.txt": b""}


def test_a_zip_archive_is_unpacked(tmp_path, place):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "one" * 1000)
        archive.mkdir("empty") if hasattr(archive, "mkdir") else archive.writestr("empty/", "")
    extract_archive(tmp_path / "x.zip", place)
    assert (place / "a" / "b.txt").read_text() == "one" * 1000 and (place / "empty").is_dir()


def test_what_was_there_is_replaced(tmp_path, place):
    place.mkdir(parents=True)
    (place / "old").write_text("old")
    extract_archive(tar_with(tmp_path / "x.tar", ("new", b"new")), place)
    assert os.listdir(place) == ["new"]


def test_a_link_at_the_final_place_is_not_followed(tmp_path, place):
    place.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("kept")
    place.symlink_to(tmp_path / "elsewhere")
    extract_archive(tar_with(tmp_path / "x.tar", ("new", b"new")), place)
    assert os.listdir(tmp_path / "elsewhere") == ["kept"] and not place.is_symlink()


def test_no_file_is_made_executable_or_owned_by_another(tmp_path, place):
    record = tarfile.TarInfo("run.sh")
    record.mode, record.uid, record.gid = 0o6777, 12345, 12345
    extract_archive(tar_with(tmp_path / "x.tar", record), place)
    found = (place / "run.sh").stat()
    assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111) and found.st_uid == os.getuid()


NAMES = {
    "up": ("../canary", "leads out"),
    "further up": ("a/../../../canary", "leads out"),
    "absolute": ("/tmp/lamina-canary", "is absolute"),
    "a drive": ("C:/canary", "is absolute"),
    "backslashes": ("..\\..\\canary", "leads out"),
    "a backslash": ("a\\canary", "has a backslash"),
    "a control character": ("a\x01b", "characters that no path has"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_tar_name_that_leads_elsewhere_is_refused(kind, tmp_path, place):
    name, words = NAMES[kind]
    expect_refused(tar_with(tmp_path / "x.tar", ("good", b"good"), (name, b"dead")), place, words)


@pytest.mark.parametrize("kind", NAMES)
def test_a_zip_name_that_leads_elsewhere_is_refused(kind, tmp_path, place):
    name, words = NAMES[kind]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("good", "good")
        record = zipfile.ZipInfo("placeholder")
        record.filename = record.orig_filename = name
        archive.writestr(record, "dead")
    expect_refused(tmp_path / "x.zip", place, words)


SPECIAL = {
    "a symbolic link": special("link", tarfile.SYMTYPE, "../../canary"),
    "a symbolic link to a folder": special("link", tarfile.SYMTYPE, "../.."),
    "an absolute symbolic link": special("link", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": special("link", tarfile.LNKTYPE, "../../canary"),
    "a hard link inside": special("link", tarfile.LNKTYPE, "good"),
    "a character device": special("device", tarfile.CHRTYPE),
    "a block device": special("device", tarfile.BLKTYPE),
    "a pipe": special("pipe", tarfile.FIFOTYPE),
    "a sparse file": special("sparse", tarfile.GNUTYPE_SPARSE),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused(kind, tmp_path, place):
    words = "no file|damaged" if kind == "a sparse file" else "no file"
    path = tar_with(tmp_path / "x.tar", ("good", b"good"), SPECIAL[kind], ("link/canary", b"dead"))
    expect_refused(path, place, words)


def test_a_symbolic_link_in_a_zip_archive_is_refused(tmp_path, place):
    record = zipfile.ZipInfo("link")
    record.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(record, "../../canary")
    expect_refused(tmp_path / "x.zip", place, "a member that is no file")


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_two_members_of_one_place_are_refused(names, tmp_path, place):
    path = tar_with(tmp_path / "x.tar", *((name, b"x") for name in names))
    expect_refused(path, place, "two members of one name")


def test_a_gzip_bomb_stops_early(tmp_path, place, monkeypatch):
    record = tarfile.TarInfo("zeros")
    record.size = 64 * 2**20
    with tarfile.open(tmp_path / "x.tgz", "w:gz", compresslevel=9) as archive:
        archive.addfile(record, io.BytesIO(bytes(record.size)))
    monkeypatch.setattr("lamina.datasets.extracting.MAX_RATIO", 100)  # what gzip reaches is just below the real one
    expect_refused(tmp_path / "x.tgz", place, "unfolds to too much")


def test_more_than_the_disk_holds_is_refused(tmp_path, place, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    expect_refused(tar_with(tmp_path / "x.tar", ("a", bytes(5000))), place, "unfolds to too much")


def lying_zip(path, size):
    """A zip archive whose member says that it is of another size than it is."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", size)
    path.write_bytes(data)


@pytest.mark.parametrize("size", [10, 200_000, 2**32 - 2])
def test_a_zip_archive_that_lies_about_a_size_is_refused(size, tmp_path, place):
    lying_zip(tmp_path / "x.zip", size)
    expect_refused(tmp_path / "x.zip", place, "unfolds to far more|not of the size|damaged|cannot be read")


def test_members_that_overlap_are_refused(tmp_path, place):
    """Fifield's bomb: every entry of the table of contents leads to the same bytes."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
        record = archive.getinfo("a")
        for number in range(50):
            copied = zipfile.ZipInfo("a")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copied, field, getattr(record, field))
            copied.filename = copied.orig_filename = f"b{number}"
            archive.filelist.append(copied)
        archive._didModify = True
    expect_refused(tmp_path / "x.zip", place, "overlap")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04", b"\x1f\x8b\x08" + bytes(20)])
def test_what_is_no_archive_is_refused(content, tmp_path, place):
    (tmp_path / "x").write_bytes(content)
    expect_refused(tmp_path / "x", place, "no archive|damaged|cannot be read")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_archive_cut_short_leaves_nothing(mode, share, tmp_path, place):
    path = tar_with(tmp_path / "x", ("a", os.urandom(100_000)), ("b", os.urandom(100_000)), mode=mode)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    expect_refused(path, place, "damaged|not of the size|no archive")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="no such format"):
        extract_archive(tmp_path / "x", tmp_path / "y", "rar")


def test_a_format_that_is_not_asked_for_is_refused(tmp_path, place):
    path = tar_with(tmp_path / "x.tar", ("a", b"a"))
    with pytest.raises(LoadError, match="no archive that can be unpacked"):
        extract_archive(path, place, "zip")

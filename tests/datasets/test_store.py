"""Files that come with the package, and downloads: checked, kept, and refused when they are not what was asked for."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lamina.datasets import store
from lamina.errors import ArgumentError, LoadError
from lamina.utils import get_file


def test_arrays_come_as_they_were_saved(tmp_path, monkeypatch):
    np.savez(tmp_path / "saved.npz", x=np.eye(2), y=np.array([3, 4]))
    monkeypatch.setattr(store.resources, "files", lambda package: tmp_path)
    arrays = store.packaged_arrays("saved.npz")
    assert set(arrays) == {"x", "y"}
    np.testing.assert_array_equal(arrays["x"], np.eye(2))
    np.testing.assert_array_equal(arrays["y"], [3, 4])


def test_pickled_objects_are_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "objects.npz", x=np.array([object()], dtype=object))
    monkeypatch.setattr(store.resources, "files", lambda package: tmp_path)
    with pytest.raises(LoadError, match="Python objects"):
        store.packaged_arrays("objects.npz")


# ---------------------------------------------------------------------- downloads
CONTENT = b"1,2,3\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word, and counts."""

    requests: list[str] = []

    def log_message(self, *arguments):
        self.requests.append(self.path)


@pytest.fixture
def served(tmp_path):
    """A folder, and the address under which a server on this machine gives what is in it."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "data.csv").write_bytes(CONTENT)
    Handler.requests.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_a_file_is_downloaded_once(served, cache):
    _, address = served
    first = get_file(origin=f"{address}/data.csv", file_hash=SHA256, cache_dir=cache)
    second = get_file(origin=f"{address}/data.csv", file_hash=SHA256, cache_dir=cache)
    assert first == second == str(cache / "datasets" / "data.csv")
    assert (cache / "datasets" / "data.csv").read_bytes() == CONTENT
    assert len(Handler.requests) == 1
    assert os.listdir(cache / "datasets") == ["data.csv"], "something was left behind"


def test_a_forced_download_replaces_the_file(served, cache):
    folder, address = served
    get_file(origin=f"{address}/data.csv", cache_dir=cache)
    (folder / "data.csv").write_bytes(b"new")
    path = get_file(origin=f"{address}/data.csv", cache_dir=cache)
    assert Path(path).read_bytes() == CONTENT
    get_file(origin=f"{address}/data.csv", cache_dir=cache, force_download=True)
    assert Path(path).read_bytes() == b"new"


def test_a_file_that_has_changed_here_is_downloaded_again(served, cache):
    _, address = served
    path = get_file("kept.csv", f"{address}/data.csv", file_hash=SHA256, cache_dir=cache)
    with open(path, "ab") as file:
        file.write(b"more")
    get_file("kept.csv", f"{address}/data.csv", file_hash=SHA256, cache_dir=cache)
    assert Path(path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "arguments",
    [{"file_hash": SHA256.upper()}, {"md5_hash": MD5}, {"file_hash": MD5}, {"file_hash": MD5, "hash_algorithm": "md5"}],
)
def test_hashes_of_every_form_are_checked(arguments, served, cache):
    folder, address = served
    get_file(origin=f"{address}/data.csv", cache_dir=cache, **arguments)
    (folder / "data.csv").write_bytes(b"something else")
    with pytest.raises(LoadError, match="is not the file that was expected") as caught:
        get_file(origin=f"{address}/data.csv", cache_dir=cache, force_download=True, **arguments)
    assert (cache / "datasets" / "data.csv").read_bytes() == CONTENT, "the good file was given up"
    assert hashlib.sha256(b"something else").hexdigest() in caught.value.received or "md5" in caught.value.received


def test_what_cannot_be_downloaded_leaves_nothing(served, cache):
    _, address = served
    with pytest.raises(LoadError, match="cannot be downloaded"):
        get_file(origin=f"{address}/missing.csv", cache_dir=cache)
    assert os.listdir(cache / "datasets") == []


def test_a_file_on_this_machine_is_copied(tmp_path, cache):
    (tmp_path / "a b.csv").write_bytes(CONTENT)
    path = get_file(origin=(tmp_path / "a b.csv").as_uri(), cache_dir=cache, cache_subdir="tables")
    assert path == str(cache / "tables" / "a b.csv") and Path(path).read_bytes() == CONTENT


def test_the_folder_is_that_of_the_variable(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_bytes(CONTENT)
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    assert get_file(origin=(tmp_path / "x.csv").as_uri()) == str(tmp_path / "home" / "datasets" / "x.csv")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", "C:evil", "a\\b", "a\0b", ""])
def test_a_name_that_is_a_path_is_refused(name, tmp_path, cache):
    (tmp_path / "x.csv").write_bytes(CONTENT)
    with pytest.raises(ArgumentError, match="a name, and not a path"):
        get_file(name, (tmp_path / "x.csv").as_uri(), cache_dir=cache)
    assert not cache.exists()


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:9/a/..%2f..%2fevil", "http://127.0.0.1:9/", "http://127.0.0.1:9/.."]
)
def test_an_address_that_hides_a_path_is_refused(origin, cache):
    with pytest.raises((ArgumentError, LoadError)):
        get_file(origin=origin, cache_dir=cache)
    assert not list(cache.rglob("*evil*")) and not list(cache.parent.glob("evil*"))


@pytest.mark.parametrize("origin", ["data:text/plain,x", "javascript:1", "/etc/passwd", "gopher://x/y"])
def test_other_addresses_are_refused(origin, cache):
    with pytest.raises(ArgumentError, match="Nothing can be downloaded from there"):
        get_file("x", origin, cache_dir=cache)


def test_a_file_of_another_machine_is_not_asked_for(cache):
    with pytest.raises(LoadError, match="cannot be downloaded"):
        get_file("x", "file://example.org/etc/passwd", cache_dir=cache)


@pytest.mark.parametrize("digits", ["abc", "g" * 64, ""])
def test_a_hash_that_is_none_is_refused(digits, tmp_path, cache):
    (tmp_path / "x.csv").write_bytes(CONTENT)
    with pytest.raises(ArgumentError, match="no hash of a file"):
        get_file("x", (tmp_path / "x.csv").as_uri(), file_hash=digits, cache_dir=cache)


def test_an_unknown_algorithm_is_refused(tmp_path, cache):
    (tmp_path / "x.csv").write_bytes(CONTENT)
    with pytest.raises(ArgumentError, match="no such hash"):
        get_file("x", (tmp_path / "x.csv").as_uri(), file_hash=SHA256, hash_algorithm="sha999", cache_dir=cache)


@pytest.mark.parametrize(
    ("fname", "options", "folder"),
    [
        (None, {"extract": True}, "pack.zip"),
        ("mine", {"extract": True}, "mine"),
        ("mine.zip", {"extract": True, "archive_format": "zip"}, "mine_extracted"),
    ],
)
def test_an_archive_is_unpacked_where_keras_unpacks_it(fname, options, folder, tmp_path, cache):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("a/b.txt", "text")
    found = get_file(fname, (tmp_path / "pack.zip").as_uri(), cache_dir=cache, **options)
    assert found == str(cache / "datasets" / folder)
    assert (cache / "datasets" / folder / "a" / "b.txt").read_text() == "text"


def test_a_hostile_archive_is_downloaded_and_not_unpacked(tmp_path, cache):
    with tarfile.open(tmp_path / "pack.tgz", "w:gz") as archive:
        (tmp_path / "x").write_text("canary")
        archive.add(tmp_path / "x", "../../escaped")
    with pytest.raises(LoadError, match="leads out of the folder"):
        get_file(origin=(tmp_path / "pack.tgz").as_uri(), untar=True, cache_dir=cache)
    assert not list(tmp_path.rglob("escaped"))
    assert os.listdir(cache / "datasets") == ["pack.tgz_archive"]

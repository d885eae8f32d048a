"""How much memory hostile files take before they are refused: measured in a process of its own."""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hostile_files import changed_hdf5, dense, keras2_config, keras2_file, keras_file, keras_parts, small_model

import lamina
from lamina.errors import LoadError

FREE = 96 * 2**20
TIMES = 8

PROGRAM = """
import json, resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from lamina.errors import LaminaError
from lamina.saving import inspect_model, legacy, load_model, load_weights, model_from_json
import lamina, torch, h5py

def status(word):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(word):
            return int(line.split()[1]) * 1024

def load(path):
    if path.suffix == ".keras":
        return load_model(path)
    if path.suffix == ".json":
        return model_from_json(path.read_text())
    if path.suffix == ".h5" and not path.name.endswith(".weights.h5"):
        return legacy.load_h5(path)
    return load_weights(model, path)

model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, name="dense")])
for good in sys.argv[1].split(","):
    load(Path(good)), inspect_model(good)
resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + 2**30, -1))
for name in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    ends = []
    for action in (lambda: load(Path(name)), lambda: inspect_model(name)):
        try:
            action()
            ends.append("read")
        except LaminaError as error:
            ends.append("refused")
    print(json.dumps([name, ends, status("VmHWM") - before]))
"""


def made(folder: Path) -> dict[str, Path]:
    """Small files that ask for a great deal of memory, each in a way of its own."""
    parts = keras_parts(small_model(), folder)
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2, name="dense")])
    model.save_weights(folder / "good.weights.h5")
    found: dict[str, Path] = {}

    def config(name: str, **arguments: object) -> None:
        text = copy.deepcopy(parts["config.json"])
        text["config"]["layers"][1]["config"].update(arguments)
        found[f"{name} (.keras)"] = keras_file(folder / f"{name}.keras", {**parts, "config.json": text})

    config("units", units=10**8)
    config("units-of-exabytes", units=10**17)
    text = copy.deepcopy(parts["config.json"])
    text["compile_config"]["metrics"] = [
        {"class_name": "AUC", "module": "keras.metrics", "config": {"num_thresholds": 10**9}}
    ]
    found["thresholds"] = keras_file(folder / "thresholds.keras", {**parts, "config.json": text})
    found["units (.h5)"] = keras2_file(folder / "units.h5", keras2_config([dense(units=10**9)]))

    def unwritten(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars"].create_dataset("0", (2**28,), "f4", chunks=(2**10,))

    def packed(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars"].create_dataset(
            "0", data=np.zeros((3, 2**24), "f4"), compression="gzip", compression_opts=9
        )

    for name, change in (("unwritten", unwritten), ("packed", packed)):
        (folder / f"{name}.weights.h5").write_bytes(changed_hdf5(folder / "good.weights.h5", change))
        found[f"{name} (.weights.h5)"] = folder / f"{name}.weights.h5"
    with h5py.File(folder / "texts.h5", "w") as file:
        file.attrs["model_config"] = "{" + " " * 5_000_000
        file.attrs.create("layer_names", ["x"] * 4000, dtype=h5py.string_dtype())
    found["texts"] = folder / "texts.h5"
    for member in ("config.json", "model.weights.h5"):
        path = found[f"zip bomb in {member}"] = folder / f"bomb-{member}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**parts, member: bytes(500_000_000)}.items():
                archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    array = io.BytesIO()
    np.save(array, np.zeros(5 * 10**8, "u1"))
    for suffix, member in ((".npz", "dense.kernel.npy"), (".pt", "archive/data/0")):
        path = found[f"zip bomb as {suffix}"] = folder / f"bomb{suffix}"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, array.getvalue())
            archive.writestr("archive/data.pkl", b"\x80\x02}.")
    header = json.dumps({"dense.kernel": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})
    found["safetensors"] = folder / "w.safetensors"
    found["safetensors"].write_bytes(len(header).to_bytes(8, "little") + header.encode())
    found["brackets"] = folder / "brackets.json"
    found["brackets"].write_text('{"class_name": "Sequential", "config": ' + "[" * 5_000_000)
    found["values"] = folder / "values.json"
    found["values"].write_text('{"class_name": "Sequential", "config": [' + "[]," * 3_000_000 + "[]]}")
    return found


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures by /proc")
def test_no_hostile_file_takes_much_more_memory_than_its_own_size(tmp_path):
    files = made(tmp_path)
    good = ",".join(str(tmp_path / name) for name in ("good.keras", "good.weights.h5"))
    environment = {**os.environ, "PYTHONPATH": str(Path(lamina.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, good, *map(str, files.values())],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == len(files)
    for kind, (name, ends, grown) in zip(files, lines, strict=True):
        print(f"{kind}: {Path(name).stat().st_size:,} bytes, {ends}, {grown / 2**20:.1f} MiB")
        assert ends[0] == "refused", kind
        assert grown <= FREE + TIMES * Path(name).stat().st_size, (kind, f"{grown:,}")


def unbuilt(folder: Path, units: int) -> Path:
    """A model that does not know its input, with the weights of a small one."""
    parts = keras_parts(lamina.Sequential([lamina.Input((6,)), lamina.layers.Dense(5, name="d")]), folder)
    config = parts["config.json"]
    config["config"]["layers"] = config["config"]["layers"][1:]
    config["config"].pop("build_input_shape", None)
    for entry in (config, *config["config"]["layers"]):
        entry.pop("build_config", None)
    config["config"]["layers"][0]["config"]["units"] = units
    return keras_file(folder / "unbuilt.keras", parts)


@pytest.mark.parametrize("how", ["called", "built"])
def test_a_model_that_is_built_later_cannot_be_larger_than_its_file_either(how, tmp_path):
    model = lamina.saving.load_model(unbuilt(tmp_path, 10**9))
    assert not model.built
    with pytest.raises(LoadError, match="more weights than the file holds"):
        model(np.zeros((1, 6), "float32")) if how == "called" else model.build((None, 6))
    model = lamina.saving.load_model(unbuilt(tmp_path, 5))
    assert model(np.zeros((1, 6), "float32")).shape == (1, 5)

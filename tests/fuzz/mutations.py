"""Files made hostile: by bytes, and by the structure that their format has, so that what is inside is reached too."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 10**6, 2**31, 2**32 + 1, 2**53, 2**63, 2**64, 10**30, -(2**31), 0.5, -1.5, 1e308]
NUMBERS += [float("nan"), float("inf"), float("-inf"), 1e-320]
TEXTS = [
    "",
    "Dense",
    "Sequential",
    "Functional",
    "Lambda",
    "LSTM",
    "relu",
    "float16",
    "mixed_bfloat16",
    "\0",
    "a" * 5000,
]
TEXTS += ["../../etc/passwd", "/etc/passwd", "__lambda__", "__tensor__", "__class__", "None", "é\ud83d\ude00", "valid"]
TEXTS += ["4wEAAAAAAAAAAAAAAAABAAAAUwAAAHMEAAAAfABTACkB", "os.system", "channels_first", "same", "bijk,k->ij", "%s%s%n"]


def gadgets(canary: str) -> list[Any]:
    """Descriptions that run code, read files or switch safety off, in loaders that import what they are told."""
    command = f"touch {canary}"
    return [
        {"module": "os", "class_name": "system", "config": command, "registered_name": "system"},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", canary]}, "registered_name": None},
        {"module": "builtins", "class_name": "eval", "config": {"source": f"open({canary!r}, 'w')"}},
        {"class_name": "function", "config": "eval", "module": "builtins", "registered_name": "function"},
        {"class_name": "__lambda__", "config": {"value": TEXTS[-5]}},
        {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///etc/passwd"}},
        {"module": "lamina.saving", "class_name": "load_model", "config": {"filepath": "x", "safe_mode": False}},
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
        {"module": "lamina.config", "class_name": "set_floatx", "config": {"value": "float64"}},
        {"class_name": "Lambda", "config": {"function": [TEXTS[-5], None, None], "function_type": "lambda"}},
        {"class_name": "TFOpLambda", "config": {"function": "io.read_file", "name": "x"}},
        {"class_name": "TorchOperation", "config": {"function": "torch.load", "name": "x"}},
        {"class_name": "TorchOperation", "config": {"function": "operator.attrgetter"}},
        {"class_name": "__typespec__", "config": [], "module": "os"},
        {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    ]


class Mutator:
    """Makes one hostile file of a good one.

    Args:
        chance: where its choices come from.
        canary: the file that gadgets would make.
    """

    def __init__(self, chance: random.Random, canary: str) -> None:
        self.chance = chance
        self.gadgets = gadgets(canary)

    def mutate(self, data: bytes, kind: str) -> bytes:
        """A hostile file of that kind."""
        if self.chance.random() < 0.25:
            return self.bytes(data)
        try:
            return getattr(self, f"_{kind}")(data)
        except Exception:  # a mutation that does not work out is none
            return self.bytes(data)

    # ------------------------------------------------------------------ bytes
    def bytes(self, data: bytes) -> bytes:
        """Some bytes changed, moved, repeated or cut."""
        out = bytearray(data)
        for _ in range(self.chance.choice([1, 1, 1, 2, 4, 16])):
            if not out:
                break
            at = self.chance.randrange(len(out))
            length = min(self.chance.choice([1, 1, 2, 4, 8, 64]), len(out) - at)
            action = self.chance.randrange(7)
            if action == 0:
                out[at] ^= 1 << self.chance.randrange(8)
            elif action == 1:
                out[at : at + length] = self.chance.randbytes(length)
            elif action == 2:
                value = self.chance.choice([0, 2**64 - 1, 2**63 - 1, 2**32 - 1, 2**31 - 1, 1, 255, 10**6])
                out[at : at + length] = value.to_bytes(8, "little")[:length]
            elif action == 3:
                del out[at : at + length]
            elif action == 4:
                out[at:at] = out[at : at + length] * self.chance.choice([1, 2, 50])
            elif action == 5 and self.chance.random() < 0.3:
                del out[at:]
            else:
                other = self.chance.randrange(len(out))
                out[at : at + length] = out[other : other + length]
        return bytes(out)

    # ------------------------------------------------------------------ JSON
    def tree(self, value: Any) -> Any:
        """Parsed JSON with some of its values replaced, swapped, removed or nested."""
        root = [copy.deepcopy(value)]
        for _ in range(self.chance.choice([1, 1, 1, 2, 3, 6])):
            places = list(_places(root))
            owner, key = self.chance.choice(places)
            action = self.chance.randrange(10)
            if action <= 2:
                owner[key] = self._value()
            elif action == 3:
                other, place = self.chance.choice(places)
                owner[key] = copy.deepcopy(other[place])
            elif action == 4 and owner is not root:
                del owner[key]
            elif action == 5:
                for _ in range(self.chance.choice([1, 3, 150, 600])):
                    owner[key] = [owner[key]] if self.chance.random() < 0.5 else {"config": owner[key]}
            elif action == 6:
                owner[key] = self.chance.choice(self.gadgets)
            elif action == 7 and isinstance(owner[key], (int, float)) and not isinstance(owner[key], bool):
                owner[key] = owner[key] * self.chance.choice([-1, 2, 1000, 10**7, 10**15])
            elif action == 8 and isinstance(owner[key], (list, str)):
                owner[key] = owner[key] * self.chance.choice([0, 2, 20])
            elif action == 9 and isinstance(owner[key], dict) and owner[key]:
                name = self.chance.choice(list(owner[key]))
                owner[key][self.chance.choice(TEXTS)] = owner[key].pop(name)
            else:
                owner[key] = self._value()
        return root[0]

    def _value(self) -> Any:
        kind = self.chance.randrange(6)
        if kind == 0:
            return self.chance.choice(NUMBERS)
        if kind == 1:
            return self.chance.choice(TEXTS)
        if kind == 2:
            return self.chance.choice([None, True, False, [], {}, [None], [[]], {"class_name": "Dense"}])
        if kind == 3:
            return [self.chance.choice(NUMBERS) for _ in range(self.chance.randrange(5))]
        if kind == 4:
            return copy.deepcopy(self.chance.choice(self.gadgets))
        name = self.chance.choice(CLASSES)
        return {"class_name": name, "config": {"name": "x", "units": 3, "filters": 2, "kernel_size": 2}, "name": "x"}

    def _json(self, data: bytes) -> bytes:
        text = json.dumps(self.tree(json.loads(data)))
        if self.chance.random() < 0.05:
            return text.encode()[: self.chance.randrange(len(text) + 1)]
        if self.chance.random() < 0.05:
            return b"[" * 100_000 + text.encode()
        return text.encode()

    def _yaml(self, data: bytes) -> bytes:
        lines = data.decode().split("\n")
        for _ in range(self.chance.choice([1, 2, 5])):
            at = self.chance.randrange(len(lines))
            key, _, _ = lines[at].partition(":")
            lines[at] = self.chance.choice(
                [
                    f"{key}: !!python/object/apply:os.system ['true']",
                    f"{key}: &a [*a, *a]",
                    f"{key}: {self.chance.choice(NUMBERS)}",
                    f"{key}: {self.chance.choice(TEXTS)!r}",
                    f"  {lines[at]}",
                    lines[at].strip(),
                    f"{key}: {'[' * 300}",
                    "",
                    f"{key}: *undefined",
                    "? " + lines[at],
                    self.chance.choice(lines),
                ]
            )
        return "\n".join(lines).encode()

    # ------------------------------------------------------------------ archives
    def _zipped(self, data: bytes, inner: dict[str, str], packing: int) -> bytes:
        """One member changed by its own kind, and the archive packed anew so that its checksums are right."""
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        at = self.chance.randrange(len(members))
        likely = [n for n, (name, _) in enumerate(members) if name.rpartition(".")[2] in ("json", "pkl", "h5")]
        if likely and self.chance.random() < 0.8:
            at = self.chance.choice(likely)
        name, content = members[at]
        action = self.chance.random()
        if action < 0.85:
            kind = next((kind for end, kind in inner.items() if name.endswith(end)), "")
            members[at] = name, self.mutate(content, kind) if kind else self.bytes(content)
        elif action < 0.88:
            del members[at]
        elif action < 0.91:
            members.append((name, self.bytes(content)))
        elif action < 0.94:
            members[at] = self.chance.choice(["../" + name, "/" + name, name.upper(), name + "\\x"]), content
        else:
            members[at] = name, bytes(self.chance.choice([0, 10, 10**6, 5 * 10**7]))
        made = io.BytesIO()
        with zipfile.ZipFile(
            made, "w", self.chance.choice([packing, packing, packing, zipfile.ZIP_DEFLATED])
        ) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, compress_type=archive.compression)
        return self.bytes(made.getvalue()) if self.chance.random() < 0.05 else made.getvalue()

    def _keras(self, data: bytes) -> bytes:
        return self._zipped(data, {".json": "json", ".h5": "h5"}, zipfile.ZIP_STORED)

    def _npz(self, data: bytes) -> bytes:
        return self._zipped(data, {".npy": "npy"}, zipfile.ZIP_STORED)

    def _npy(self, data: bytes) -> bytes:
        length = struct.unpack("<H", data[8:10])[0]
        header, rest = data[10 : 10 + length].decode(), data[10 + length :]
        old, new = self.chance.choice(
            [
                (
                    "'<f4'",
                    self.chance.choice(["'|O'", "'<f8'", "'<U1000000000'", "'|V8'", "[('a', '<f4')]", "'<M8[s]'"]),
                ),
                ("(", self.chance.choice(["(99999999999, ", "(-1, ", "(1.5, ", "(0, ", "(2**9, ", "(" * 200])),
                ("False", self.chance.choice(["True", "None", "__import__('os')", "1e999"])),
                ("{", self.chance.choice(["{'x': 1, ", "[", "{" * 50, ""])),
            ]
        )
        header = header.replace(old, new, 1)
        return data[:8] + struct.pack("<H", len(header)) + header.encode() + rest

    def _pt(self, data: bytes) -> bytes:
        return self._zipped(data, {".pkl": "pkl"}, zipfile.ZIP_STORED)

    def _pkl(self, data: bytes) -> bytes:
        pieces = [
            b"cos\nsystem\n(S'true'\ntR",
            b"\x80\x02",
            b"]",
            b"}",
            b"(",
            b"t",
            b"R",
            b"0",
            b"2",
            b"h\x00",
            b"q\x00",
        ]
        pieces += [
            b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R",
            b"ctorch\nload\n",
            b"J\xff\xff\xff\x7f",
            b"K\x00",
            b"a",
        ]
        pieces += [
            b"\x8a\xff" + b"\xff" * 255,
            b"X\xff\xff\xff\x7fabc",
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b".",
            b"b",
        ]
        out = bytearray(data)
        at = self.chance.randrange(len(out))
        piece = self.chance.choice(pieces)
        if self.chance.random() < 0.5:
            out[at:at] = piece
        else:
            out[at : at + len(piece)] = piece
        return bytes(out)

    def _old_pt(self, data: bytes) -> bytes:
        return self._pkl(data)

    def _safetensors(self, data: bytes) -> bytes:
        length = struct.unpack("<Q", data[:8])[0]
        header = json.dumps(self.tree(json.loads(data[8 : 8 + length]))).encode()
        stated = len(header) if self.chance.random() < 0.9 else self.chance.choice([0, 1, 2**40, 2**63, 2**64 - 1])
        return struct.pack("<Q", stated) + header + data[8 + length :]

    def _state(self, data: bytes) -> bytes:
        start = data.index(b"\n") + 1
        length = int.from_bytes(data[start : start + 8], "little")
        text = json.dumps(self.tree(json.loads(data[start + 8 : start + 8 + length]))).encode()
        made = data[:start] + len(text).to_bytes(8, "little") + text + data[start + 8 + length : -4]
        return made + zlib.crc32(made).to_bytes(4, "little")

    # ------------------------------------------------------------------ HDF5
    def _h5(self, data: bytes) -> bytes:
        import h5py
        import numpy as np

        made = io.BytesIO(data)
        with h5py.File(made, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            for _ in range(self.chance.choice([1, 1, 2, 4])):
                name = self.chance.choice(["/", *names])
                owner = file.get(name)
                if owner is None:
                    continue
                self._h5_step(file, owner, name, h5py, np)
        return self.bytes(made.getvalue()) if self.chance.random() < 0.1 else made.getvalue()

    def _h5_step(self, file: Any, owner: Any, name: str, h5py: Any, np: Any) -> None:
        action = self.chance.random()
        texts = [key for key in file.attrs if isinstance(file.attrs[key], str) and file.attrs[key].startswith("{")]
        if texts and action < 0.5:
            key = self.chance.choice(texts)
            file.attrs[key] = json.dumps(self.tree(json.loads(file.attrs[key])))
        elif action < 0.65 and len(owner.attrs):
            key = self.chance.choice(list(owner.attrs))
            if self.chance.random() < 0.3:
                del owner.attrs[key]
            else:
                values = [
                    np.float32(3),
                    "text",
                    b"bytes",
                    [b"a", b"b"],
                    np.arange(5),
                    h5py.Empty("f"),
                    owner.ref,
                    ["x"] * 9,
                ]
                owner.attrs[key] = self.chance.choice([*values, owner.attrs[self.chance.choice(list(owner.attrs))]])
        elif name != "/":
            parent, _, last = name.rpartition("/")
            group = file[parent or "/"]
            del group[last]
            which = self.chance.randrange(9)
            if which == 0:
                group[last] = h5py.SoftLink("/")
            elif which == 1:
                group[last] = h5py.ExternalLink("/etc/hostname", "/")
            elif which == 2:
                group[last] = file["/"]
            elif which == 3:
                shape = self.chance.choice([(10**9,), (2**20, 2**20), (2**40,), (0, 10**12)])
                group.create_dataset(last, shape, "f4", chunks=(2**10,) * len(shape), compression="gzip")
            elif which == 4:
                layout = h5py.VirtualLayout((4,), "f4")
                layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
                group.create_virtual_dataset(last, layout)
            elif which == 5:
                group.create_dataset(last, (4,), "f4", external=[("/etc/hostname", 0, 16)])
            elif which == 6:
                group[last] = self.chance.choice([np.zeros((3, 4)), np.zeros(()), np.array([b"x"]), np.zeros(3, "c8")])
            elif which == 7:
                group[last] = np.dtype("f4")
            else:
                group.create_group(last).attrs["weight_names"] = [b"x"]


CLASSES = (
    "Dense Conv2D LSTM GRU Bidirectional Embedding BatchNormalization Flatten Reshape RepeatVector Permute Sequential "
    "Functional Model InputLayer Dropout UpSampling2D ZeroPadding2D Cropping2D TimeDistributed RNN StackedRNNCells "
    "Conv2DTranspose SeparableConv2D MaxPooling2D GlobalAveragePooling2D Concatenate Dot Adam MeanSquaredError L2 "
    "Zeros Constant Orthogonal Identity VarianceScaling ExponentialDecay AUC MeanIoU Masking Softmax Activation"
).split()


def _places(root: Any) -> Any:
    """Every place in a nest: its owner, and its key there."""
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        for key in range(len(owner)) if isinstance(owner, list) else list(owner):
            yield owner, key
            if isinstance(owner[key], (list, dict)):
                waiting.append(owner[key])

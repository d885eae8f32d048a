"""Records the tables under tests/inspection/golden: what Keras 2.1.1 and tf_keras print of `keras2_networks`.

Run by hand, in an environment with tf_keras 2.21, from the root of the repository:

    pip download --no-deps Keras==2.1.1 && unzip Keras-2.1.1-py2.py3-none-any.whl -d keras211
    python tests/support/record_keras2.py keras211/keras/utils/layer_utils.py

Keras 2.1.1 itself runs on no Python of today, so its function prints models of tf_keras, whose attributes are given the
names that they had.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from keras2_networks import CHAINS, NETWORKS, TABLES

GOLDEN = Path(__file__).parents[1] / "inspection" / "golden"


def old_print_summary(path: str) -> Any:
    """The function of Keras 2.1.1, of which only the file that it is in is loaded."""
    for name in ("old", "old.utils", "old.backend", "old.utils.conv_utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["old"].backend = sys.modules["old.backend"]
    sys.modules["old.backend"].count_params = lambda weight: weight.deref().shape.num_elements()
    sys.modules["old.utils.conv_utils"].convert_kernel = None
    spec = importlib.util.spec_from_file_location("old.utils.layer_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.print_summary


class OldNode:
    def __init__(self, node):
        found = list(node.iterate_inbound())
        self.inbound_layers = [entry[0] for entry in found]
        self.node_indices = [entry[1] for entry in found]
        self.tensor_indices = [entry[2] for entry in found]


class OldLayer:
    def __init__(self, layer, nodes):
        self.name, self.count_params, self._layer = layer.name, layer.count_params, layer
        self.inbound_nodes = [nodes.setdefault(id(node), OldNode(node)) for node in layer._inbound_nodes]

    @property
    def output_shape(self):
        shape = self._layer.output_shape
        return shape[0] if type(self._layer).__name__ == "InputLayer" else shape


def old_model(model: Any) -> Any:
    """`model` with the attributes of Keras 2.1.1."""
    nodes: dict[int, OldNode] = {}
    layers = []
    for layer in model.layers:
        old = type(type(layer).__name__, (OldLayer,), {})(layer, nodes)
        layers.append(old)
    attributes = {
        "layers": layers,
        "nodes_by_depth": {
            depth: [nodes.setdefault(id(node), OldNode(node)) for node in found]
            for depth, found in getattr(model, "_nodes_by_depth", {}).items()
        },
        "trainable_weights": [weight.ref() for weight in model.trainable_weights],  # Variables have no hash today
        "non_trainable_weights": [weight.ref() for weight in model.non_trainable_weights],
        "_check_trainable_weights_consistency": lambda: None,
    }
    found = type(type(model).__name__, (), {})()
    for key, value in attributes.items():
        setattr(found, key, value)
    return found


def write(folder: str, name: str, lines: list[str]) -> None:
    path = GOLDEN / folder / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    import tf_keras  # here, as tests that look for doctests import this file

    print_old = old_print_summary(sys.argv[1])
    for name, (network, options) in TABLES.items():
        lines: list[str] = []
        print_old(old_model(NETWORKS[network](tf_keras)), print_fn=lines.append, **options)
        write("keras_2_1_1", name, lines)
    for name, make in NETWORKS.items():
        lines = []
        # So long that nothing is folded.
        options = {"line_length": 240, "positions": [0.33, 0.55, 0.67, 1.0]}
        if name in CHAINS:
            options["positions"] = [0.45, 0.85, 1.0]
        make(tf_keras).summary(print_fn=lines.append, expand_nested=True, show_trainable=True, **options)
        write("tf_keras", name, [line.rstrip() for line in lines])


if __name__ == "__main__":
    main()

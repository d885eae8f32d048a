"""`to_torch`: a model as a module of torch's own classes."""

from __future__ import annotations

from typing import Any

from torch import fx

from lamina.engine import nest
from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, NotBuiltError
from lamina.saving.exporting.builder import Builder
from lamina.saving.exporting.calls import call_layer, taking_calls
from lamina.saving.exporting.layouts import channels_last, channels_second
from lamina.saving.exporting.signatures import Signature, signature_of
from lamina.saving.exporting.symbols import Symbol
from lamina.saving.exporting.verifying import IMAGES, verify

_FORMATS = ("channels_last", "channels_first")


def to_torch(model: Layer, data_format: str = "channels_last", inference: bool = False) -> fx.GraphModule:
    """A module of torch's own classes that computes what `model` computes, with copies of its weights.

    The module is a `torch.fx.GraphModule`: `torch.nn.Linear`, `Conv2d`, `BatchNorm2d`, `LSTM` and so on under the names
    of the layers, and straight-line code, `module.code`, that calls them. Nothing of lamina is in it, so it can be
    trained, pickled and loaded where lamina is not installed; `module.to_folder("folder")` writes it down as source.
    Its weights have torch's names and shapes (`conv1.weight`, `bn.running_mean`, `lstm.weight_ih_l0`). Several inputs
    are arguments, by the names of the model's inputs: `module(image, age)` or `module(**data)`.

    What has no module in torch is functions in that code: the way between channels last and first, padding that is
    not the same on both sides, masks, torch functions and `Lambda` layers of the model. A layer that is nothing but
    torch functions, such as `UnitNormalization`, a recurrent layer with other activations than torch's, or a layer of
    your own, is written out; its weights keep their names and shapes. Where code of your own was written out, the
    module is compared with a copy of the model on made-up data, as far as both take them.

    Where training differs from lamina's: penalties (`kernel_regularizer` and the like), constraints and seeds of
    layers stay behind; `BatchNorm` follows the unbiased variance, as torch does; a model in mixed precision computes
    in the dtype of its weights unless the module is called under `torch.autocast`. A bias that torch has twice is
    trained once.

    Args:
        model: a built model or layer.
        data_format: `"channels_last"` for images as the model takes them; `"channels_first"` for a module that takes
            and gives images (and volumes) with the channels on axis 1, as torch's users have them, and whose first
            `Linear` behind a `Flatten` has its columns in that order.
        inference: whether the module is never to be trained. Dropout and noise are then left out, and layers whose
            training torch does not know are taken as well.

    Returns:
        The module, in the mode that the model is in; with `inference` in eval mode.

    Raises:
        ExportError: a layer cannot be written with torch alone; the message says which and what to do.
        NotBuiltError: the model has no weights yet.
        ArgumentError: there is no such data format.

    Example:
        >>> import lamina, torch
        >>> model = lamina.Sequential([lamina.layers.Input((8, 8, 3)), lamina.layers.Conv2D(4, 3, name="conv")])
        >>> module = to_torch(model, data_format="channels_first")
        >>> [name for name, _ in module.named_parameters()], module(torch.zeros(2, 3, 8, 8)).shape
        (['conv.weight', 'conv.bias'], torch.Size([2, 4, 6, 6]))
    """
    return built(model, signature_of(checked(model)), data_format, inference)


def built(
    model: Layer, signature: Signature, data_format: str = "channels_last", inference: bool = False, flat: bool = False
) -> fx.GraphModule:
    """`to_torch` for given inputs.

    Args:
        model: a built model or layer.
        signature: what it takes.
        data_format: where the channels of images stand.
        inference: whether the module is never to be trained.
        flat: whether the module gives a tuple of its outputs in place of a nest.
    """
    if data_format not in _FORMATS:
        raise ArgumentError(
            "There is no such data format.",
            expected=" or ".join(map(repr, _FORMATS)),
            received=f"data_format={data_format!r}",
            fix="leave it out for data as the model takes them",
        )
    builder = Builder(model, inference, data_format == "channels_first" and _turned(model))
    with taking_calls(builder):
        leaves = [_input(builder, *each) for each in zip(signature.names, signature.specs, strict=True)]
        outputs = call_layer(builder, model, (signature.packed(leaves),), {})
        outputs = nest.map_nest(lambda y: _output(builder, y), outputs)
    names, leaves = names_of(model, outputs), nest.flatten(outputs)
    specs = [builder.specs.get(leaf.node) if isinstance(leaf, Symbol) else None for leaf in leaves]
    module = builder.finish(tuple(leaves) if flat else outputs, type(model).__name__)
    if flat:
        module.meta.update(output_names=names, output_specs=specs)
    module.train(model.training and not inference)
    if builder.wrote_out:
        verify(model, module, signature, builder.channels_first)
    return module


def names_of(model: Any, outputs: Any) -> list[str]:
    """A name for each output: its key, the name that the model gives it, or a number.

    Args:
        model: the model.
        outputs: a nest.
    """
    count = len(nest.flatten(outputs))
    if isinstance(outputs, dict) and len(outputs) == count:
        return [str(key) for key in outputs]
    names = getattr(model, "output_names", None) or []
    if len(names) == count:
        return list(names)
    return ["output"] if count == 1 else [f"output_{place}" for place in range(count)]


def checked(model: Any) -> Layer:
    """`model`, if it is a layer that has its weights.

    Args:
        model: what was passed.

    Raises:
        ArgumentError: it is no layer.
        NotBuiltError: it has no weights yet.
    """
    if not isinstance(model, Layer):
        raise ArgumentError(
            "to_torch takes a lamina model or layer.",
            expected="a model",
            received=type(model).__name__,
            fix="a torch module needs no conversion: torch.export and torch.onnx take it as it is",
        )
    if not model.built:
        raise NotBuiltError(
            f"{type(model).__name__} {model.name!r} is not built, so it has no weights to convert.",
            expected="a model that knows the shape of its input",
            received="no input shape yet",
            fix="call model.build((None, ...)) with the shape of a batch, or call it on data first",
        )
    return model


def _turned(model: Layer) -> bool:
    """Whether images must be turned to be taken with the channels first: the model itself has them last.

    Raises:
        ArgumentError: some layers have them here, some there.
    """
    found = {
        str(part.data_format) for part in model.modules() if hasattr(part, "rank") and hasattr(part, "data_format")
    }
    if len(found) > 1:
        raise ArgumentError(
            "Some layers of this model have the channels last, some first.",
            expected="layers with one data_format",
            received=" and ".join(sorted(found)),
            fix="leave data_format out, for images as the model takes them",
        )
    return found != {"channels_first"}


def _input(builder: Builder, name: str, spec: Spec) -> Any:
    """The symbol of an input as the model has it; the module may take it with the channels first."""
    x = builder.create_proxy("placeholder", name, (), {})
    if builder.channels_first and len(spec.shape) in IMAGES:
        x = channels_last(builder, x, len(spec.shape))
    builder.specs[x.node] = spec
    return x


def _output(builder: Builder, y: Any) -> Any:
    """An output as the module gives it."""
    if not builder.channels_first or not hasattr(y, "node"):
        return y
    spec, order = builder.specs.get(y.node), builder.orders.get(y.node)
    rank = order.kind if order is not None else len(spec.shape) if spec is not None else None
    return channels_second(builder, y, rank) if rank in IMAGES else y

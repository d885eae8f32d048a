"""Files: written whole or not at all, and read without running anything in them."""

from lamina.atomic import atomic_path as atomic_path
from lamina.custom_objects import CustomObjectScope as CustomObjectScope
from lamina.custom_objects import custom_object_scope as custom_object_scope
from lamina.custom_objects import get_custom_objects as get_custom_objects
from lamina.custom_objects import get_registered_name as get_registered_name
from lamina.custom_objects import get_registered_object as get_registered_object
from lamina.custom_objects import register_keras_serializable as register_keras_serializable
from lamina.custom_objects import register_serializable as register_serializable
from lamina.saving.archive import save_model as save_model
from lamina.saving.exporting import export as export
from lamina.saving.exporting import to_torch as to_torch
from lamina.saving.inspecting import Inspection as Inspection
from lamina.saving.inspecting import inspect_model as inspect_model
from lamina.saving.legacy import LoadReport as LoadReport
from lamina.saving.loading import load_model as load_model
from lamina.saving.loading import model_from_json as model_from_json
from lamina.saving.loading import model_from_yaml as model_from_yaml
from lamina.saving.objects import deserialize_keras_object as deserialize_keras_object
from lamina.saving.objects import serialize_keras_object as serialize_keras_object
from lamina.saving.report import WeightsReport as WeightsReport
from lamina.saving.torch_weights import load_torch_weights as load_torch_weights
from lamina.saving.weights import load_weights as load_weights
from lamina.saving.weights import save_weights as save_weights

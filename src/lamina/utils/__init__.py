"""Helpers for users; the library itself imports nothing from here."""

from lamina.datasets.store import get_file as get_file
from lamina.inspection import plot_model as plot_model
from lamina.naming import reset_names as clear_session
from lamina.seeds import set_random_seed as set_random_seed
from lamina.training.batches import pack_x_y_sample_weight as pack_x_y_sample_weight
from lamina.training.batches import unpack_x_y_sample_weight as unpack_x_y_sample_weight
from lamina.training.pydataset import PyDataset as PyDataset
from lamina.utils.labels import normalize as normalize
from lamina.utils.labels import to_categorical as to_categorical

__all__ = [
    "PyDataset",
    "clear_session",
    "get_file",
    "normalize",
    "pack_x_y_sample_weight",
    "plot_model",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

"""Files: written whole or not at all, and read without running anything in them."""

from lamina.saving.atomic import atomic_path as atomic_path
from lamina.saving.exporting import export as export
from lamina.saving.exporting import to_torch as to_torch
from lamina.saving.tensors import load_weights as load_weights
from lamina.saving.tensors import save_weights as save_weights

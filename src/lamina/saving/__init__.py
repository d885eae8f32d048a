"""Files: written whole or not at all, and read without running anything in them."""

from lamina.atomic import atomic_path as atomic_path
from lamina.saving.tensors import load_weights as load_weights
from lamina.saving.tensors import save_weights as save_weights

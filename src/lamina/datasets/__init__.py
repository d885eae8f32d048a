"""Data sets as NumPy arrays: real ones that come with the package, and readers for one's own."""

from lamina.datasets import digits as digits
from lamina.datasets.images import load_image_folder as load_image_folder
from lamina.datasets.splitting import split as split

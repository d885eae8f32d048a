"""Kernels in C++ for what torch has no fast way to do on a CPU, compiled on the user's machine when first needed."""

from lamina.kernels.native.library import library as library
from lamina.kernels.native.library import prepare as prepare
from lamina.kernels.native.library import reason as reason
from lamina.kernels.native.library import switched_off as switched_off

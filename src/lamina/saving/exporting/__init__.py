"""The ways out of lamina: a plain torch module, a file for ONNX runtimes, a program of `torch.export`."""

from lamina.saving.exporting import dense as dense
from lamina.saving.exporting import elementwise as elementwise
from lamina.saving.exporting import normalizations as normalizations
from lamina.saving.exporting import recurrent as recurrent
from lamina.saving.exporting import spatial as spatial
from lamina.saving.exporting import windows as windows
from lamina.saving.exporting.files import export as export
from lamina.saving.exporting.modules import to_torch as to_torch

"""The training loop: data in, batches to the device, steps, callbacks."""

from lamina.training.adapters import make_adapter as make_adapter
from lamina.training.batches import pack_x_y_sample_weight as pack_x_y_sample_weight
from lamina.training.batches import unpack_x_y_sample_weight as unpack_x_y_sample_weight
from lamina.training.epochs import DataAdapter as DataAdapter
from lamina.training.memory import split_validation as split_validation
from lamina.training.pydataset import PyDataset as PyDataset
from lamina.training.resuming import Resume as Resume

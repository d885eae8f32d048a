"""The engine: symbolic tensors, graphs, and the layer that every other layer is."""

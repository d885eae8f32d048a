"""Where the speed is: each kernel takes and gives tensors in Keras's logical layout."""

"""`hypernetworks bench`: speed and memory of every network and path, beside torch.nn.LSTM and others' implementations."""

"""One set of weights per sample: `call.py` chooses between the whole batch (`served/`) and vmap (`vmapped.py`)."""

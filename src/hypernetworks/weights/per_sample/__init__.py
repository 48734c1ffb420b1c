"""One set of weights per sample: `call.py` chooses between the whole batch (`served.py`) and vmap (`vmapped.py`)."""

"""Continue a text with an exported model. This needs numpy and onnxruntime, neither PyTorch nor this library.

hypernetworks text export runs/first --to onnx --out model.onnx
python examples/generate_onnx.py model.onnx "ROMEO:" 200
"""

import json
import re
import sys
from collections.abc import Iterator

import numpy as np
import onnxruntime


def generate(path: str, prompt: str, length: int, temperature: float = 0.7, seed: int = 0) -> Iterator[str]:
    """The characters after a prompt, one by one; for a model of words, words and characters."""
    session, random = onnxruntime.InferenceSession(path), np.random.default_rng(seed)
    metadata = session.get_modelmeta().custom_metadata_map
    alphabet = json.loads(metadata["alphabet"])
    _, *inputs = session.get_inputs()
    state = [np.zeros((each.shape[0], 1, each.shape[2]), np.float32) for each in inputs]
    words = re.findall(metadata.get("pattern", "(?s)."), prompt)  # a word that the alphabet lacks is spelled
    ids = [alphabet.index(symbol) for word in words for symbol in ([word] if word in alphabet else word)]
    for _ in range(length):
        read = {"ids": np.array(ids)[:, None]} | {each.name: s for each, s in zip(inputs, state, strict=True)}
        logits, *state = session.run(None, read)
        p = np.exp((logits[-1, 0] - logits[-1, 0].max()) / temperature)
        ids = [random.choice(len(alphabet), p=p / p.sum())]
        yield alphabet[ids[0]]


if __name__ == "__main__":
    for character in generate(sys.argv[1], sys.argv[2], int(sys.argv[3])):
        print(character, end="", flush=True)
    print()

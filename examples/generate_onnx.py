"""Continue a text with an exported model. This needs numpy and onnxruntime, neither PyTorch nor this library.

hypernetworks text export runs/first --to onnx --out model.onnx
python examples/generate_onnx.py model.onnx "ROMEO:" 200
"""

import argparse
import json
import re
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
    parser = argparse.ArgumentParser(description="Continue a text with an exported model.")
    parser.add_argument("model", help="the file that `hypernetworks text export --to onnx` wrote")
    parser.add_argument("prompt", help="the beginning of the text")
    parser.add_argument(
        "length", type=int, help="how many characters to add; for a model of words, words and characters"
    )
    given = parser.parse_args()
    for character in generate(given.model, given.prompt, given.length):
        print(character, end="", flush=True)
    print()

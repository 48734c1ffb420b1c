"""Train a HyperLSTM with the Trainer of Hugging Face transformers to predict the next character of a text.

pip install transformers accelerate
python examples/train_transformers.py README.md
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

import hypernetworks as hn


class CharactersConfig(PretrainedConfig):
    """The arguments of the model, which are saved with it."""

    model_type = "hypernetworks-characters"

    def __init__(self, symbols: int = 2, hidden_size: int = 64, **others) -> None:
        self.symbols, self.hidden_size = symbols, hidden_size
        super().__init__(**others)


class Characters(PreTrainedModel):
    """An embedding, a HyperLSTM, and a head: ids (batch, time) -> logits (batch, time, symbols)."""

    config_class = CharactersConfig

    def __init__(self, config: CharactersConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.symbols, 32)
        self.rnn = hn.HyperLSTM(32, config.hidden_size, batch_first=True, hyper_size=16, hyper_embedding_size=4)
        self.head = nn.Linear(config.hidden_size, config.symbols)
        self.post_init()

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Predict the next character at each step, and score the prediction if it is known."""
        logits = self.head(self.rnn(self.embedding(ids))[0])
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits.mT, labels), "logits": logits}


def train(text: str, folder: Path, steps: int = 300, length: int = 64) -> Characters:
    """Train on a text, and save the model."""
    alphabet = sorted(set(text))
    ids = torch.tensor([alphabet.index(character) for character in text])
    windows = [{"ids": window[:-1], "labels": window[1:]} for window in ids.unfold(0, length + 1, length)]
    model = Characters(CharactersConfig(len(alphabet)))
    arguments = TrainingArguments(
        str(folder), max_steps=steps, learning_rate=5e-3, per_device_train_batch_size=16, logging_steps=10, report_to=[]
    )
    trainer = Trainer(model, arguments, train_dataset=windows)
    trainer.train()
    trainer.save_model()
    return model


if __name__ == "__main__":
    train(Path(sys.argv[1]).read_text(encoding="utf-8"), Path("runs/transformers"))
    print(Characters.from_pretrained("runs/transformers"))

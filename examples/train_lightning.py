"""Train a HyperLSTM with Lightning to predict the next character of a text.

pip install lightning
python examples/train_lightning.py README.md
"""

import sys
from pathlib import Path

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hypernetworks as hn


class Characters(lightning.LightningModule):
    """An embedding, a HyperLSTM, and a head: ids (batch, time) -> logits (batch, time, symbols)."""

    def __init__(self, symbols: int, hidden_size: int = 64, rate: float = 5e-3) -> None:
        super().__init__()
        self.save_hyperparameters()  # from these, load_from_checkpoint makes the same network
        self.embedding = nn.Embedding(symbols, 32)
        self.rnn = hn.HyperLSTM(32, hidden_size, batch_first=True, hyper_size=16, hyper_embedding_size=4)
        self.head = nn.Linear(hidden_size, symbols)

    def forward(self, ids: Tensor) -> Tensor:
        """Predict the next character at each step."""
        return self.head(self.rnn(self.embedding(ids))[0])

    def training_step(self, windows: Tensor, index: int) -> Tensor:
        """The loss of a batch of windows (batch, time + 1)."""
        loss = F.cross_entropy(self(windows[:, :-1]).mT, windows[:, 1:])
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam for all parameters, those of the hyper cell included."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["rate"])


def train(text: str, folder: Path, steps: int = 300, length: int = 64) -> tuple[Characters, Path]:
    """Train on a text: the module, and the path of its checkpoint."""
    alphabet = sorted(set(text))
    ids = torch.tensor([alphabet.index(character) for character in text])
    batches = DataLoader(list(ids.unfold(0, length + 1, length)), batch_size=16, shuffle=True)
    module = Characters(len(alphabet))
    trainer = lightning.Trainer(max_steps=steps, gradient_clip_val=1.0, log_every_n_steps=10, default_root_dir=folder)
    trainer.fit(module, batches)
    trainer.save_checkpoint(folder / "characters.ckpt")
    return module, folder / "characters.ckpt"


if __name__ == "__main__":
    _, path = train(Path(sys.argv[1]).read_text(encoding="utf-8"), Path("runs/lightning"))
    print(Characters.load_from_checkpoint(path, weights_only=True))

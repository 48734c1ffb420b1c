"""LoRAs for a frozen language model, generated from descriptions of tasks in words.

    c = E n                              n: how often each word occurs in the description;  E: an embedding of each word
    W = W_frozen + (α / r) B(c) A(c)     for every linear layer of a transformer; one per row of a mixed batch

A small transformer is trained on Shakespeare's text, one character at a time, and frozen. A task is the text in another form:
in upper case, with dashes for spaces, with other vowels, backwards, or several of these. One hypernetwork learns eleven forms
together, each batch with all of them. Four more combinations are only described to it, never shown. For comparison each task
also gets a LoRA of its own. How much of its gain do the generated ones recover?

    recovered = (loss of the frozen model − generated) / (loss of the frozen model − own)

After Charakorn et al., "Text-to-LoRA", arXiv 2506.06105.

python examples/text_to_lora.py --seeds 3 --peft adapters        requires tinyshakespeare.txt (fetched on first use)
"""

from collections.abc import Callable, Iterable
from itertools import combinations, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from seeds import over_seeds
from torch import Tensor, nn

import hypernetworks as hn
from hypernetworks.text import Corpus, load_corpus

WIDTH, HEADS, LAYERS, LENGTH, RANK = 64, 4, 2, 64, 4
BATCH, OF_EACH = 32, 3  # pieces of one task alone, and of each task in a mixed batch
PHRASES = ("in upper case", "with dashes for spaces", "with other vowels", "backwards")
NEVER_SHOWN = ({0, 1}, {2, 3}, {0, 2, 3}, {0, 1, 2})
TASKS = [set(parts) for size in (1, 2, 3, 4) for parts in combinations(range(4), size)]
ADAPTED = [f"blocks.*.{layer}.weight" for layer in ("q", "k", "v", "o", "w_1", "w_2")] + ["head.weight"]
SHOWN = [parts for parts in TASKS if parts not in NEVER_SHOWN]


class Block(nn.Module):
    """x + attention(norm(x)), then x + W_2 gelu(W_1 norm(x)). A position sees itself and earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.w_1, self.w_2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        h = self.norm_1(x)
        q, k, v = (layer(h).unflatten(-1, (HEADS, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.w_2(F.gelu(self.w_1(self.norm_2(x))))


class LanguageModel(nn.Module):
    """A transformer over characters."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbol, self.place = nn.Embedding(symbols, WIDTH), nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, symbols)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the next symbol, (B, T, symbols), after ids (B, T)."""
        return self.head(self.norm(self.blocks(self.symbol(ids) + self.place[: ids.shape[1]])))


def described(task: set[int]) -> str:
    """For instance "in upper case and backwards"."""
    return " and ".join(PHRASES[part] for part in sorted(task))


def counted(description: str) -> Tensor:
    """n: how often each word of all phrases occurs in a description, (words,)."""
    words = sorted({word for phrase in PHRASES for word in phrase.split()})
    return torch.tensor([description.split().count(word) for word in words], dtype=torch.float32)


class Texts:
    """Draws pieces of the text in the form of a task."""

    def __init__(self, corpus: Corpus) -> None:
        self.streams = {"train": corpus.train.long(), "validation": corpus.validation.long()}
        vowels = {a: b for pair in ("aeioua", "AEIOUA") for a, b in pairwise(pair)}
        changes: list[Callable[[str], str]] = [
            str.upper,
            lambda symbol: "-" if symbol == " " else symbol,
            lambda symbol: vowels.get(symbol, symbol),
        ]
        self.tables = [corpus.encode("".join(map(change, corpus.alphabet))).long() for change in changes]

    def draw(self, split: str, task: set[int], pieces: int) -> Tensor:
        """Pieces of LENGTH + 1 symbols, (pieces, LENGTH + 1)."""
        stream = self.streams[split]
        start = torch.randint(len(stream) - LENGTH, (pieces, 1))
        ids = stream[start + torch.arange(LENGTH + 1)]
        for part in sorted(task):
            ids = ids.flip(1) if PHRASES[part] == "backwards" else self.tables[part][ids]
        return ids


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Nats per symbol."""
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def fit(parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Train with Adam and a rate that decays along a cosine."""
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()


def make_net(model: nn.Module) -> hn.HyperNetwork:
    """The hypernetwork that adapts a frozen model to descriptions."""
    # c = E n, W = W_frozen + (α / r) B(c) A(c)
    encoder = nn.Linear(len(counted("")), 32, bias=False)
    nn.init.normal_(encoder.weight, std=0.4)  # c has variance 1 with six words
    generator = hn.SharedLowRankGenerator(32, RANK, hidden=(128,))
    return hn.HyperNetwork(model, hn.EncodedGenerator(encoder, generator, encoder.in_features), ADAPTED)


def own_lora(model: nn.Module, texts: Texts, task: set[int], steps: int, rate: float) -> tuple[hn.HyperNetwork, Tensor]:
    """A LoRA of one task alone, as a hypernetwork with one constant condition."""
    net = hn.HyperNetwork(model, hn.LowRankGenerator(1, RANK, hidden=()), ADAPTED)
    c = torch.ones(1)

    def loss() -> Tensor:
        ids = texts.draw("train", task, BATCH)
        return cross_entropy(net(ids[:, :-1], condition=c), ids)

    fit(net.generator.parameters(), loss, steps, rate)
    return net, c


def experiment(
    seed: int, base_steps: int, own_steps: int, steps: int, own_rate: float, rate: float, peft: Path | None
) -> dict[str, float]:
    """The recovered share of the tasks shown and of those only described, in per cent, and the losses it is made of."""
    texts = Texts(corpus := load_corpus("tiny-shakespeare"))
    model = LanguageModel(len(corpus.alphabet))

    def base_loss() -> Tensor:
        ids = texts.draw("train", set(), BATCH)
        return cross_entropy(model(ids[:, :-1]), ids)

    fit(model.parameters(), base_loss, base_steps, 3e-3)
    model.requires_grad_(False)

    net = make_net(model)
    n = {described(task): counted(described(task)) for task in TASKS}
    conditions = torch.stack([n[described(task)] for task in SHOWN]).repeat_interleave(OF_EACH, 0)

    def mixed_loss() -> Tensor:
        ids = torch.cat([texts.draw("train", task, OF_EACH) for task in SHOWN])  # all tasks in one batch
        return cross_entropy(net(ids[:, :-1], condition=conditions), ids)

    fit(net.generator.parameters(), mixed_loss, steps, rate)

    shares: dict[str, list[float]] = {"shown": [], "only described": []}
    for task in TASKS:
        own, c = own_lora(model, texts, task, own_steps, own_rate)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1000)  # the same validation pieces for all
            ids = texts.draw("validation", task, 256)
            frozen = cross_entropy(model(ids[:, :-1]), ids).item()
            gained = cross_entropy(own(ids[:, :-1], condition=c), ids).item()
            made = cross_entropy(net(ids[:, :-1], condition=n[described(task)]), ids).item()
        # recovered = (frozen − generated) / (frozen − own)
        share = 100 * (frozen - made) / (frozen - gained)
        kind = "only described" if task in NEVER_SHOWN else "shown"
        shares[kind].append(share)
        print(f"  {described(task):80}{kind:16}{frozen:6.2f}{gained:6.2f}{made:6.2f}{share:8.1f} %", flush=True)
    if peft:
        for task in TASKS:
            hn.interop.save_peft(net, n[described(task)], peft / described(task).replace(" ", "-"))
    return {kind: sum(each) / len(each) for kind, each in shares.items()}


if __name__ == "__main__":
    over_seeds(experiment, base_steps=500, own_steps=60, steps=640, own_rate=1e-2, rate=6e-4, peft=None)

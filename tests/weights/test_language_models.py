"""Weights for each sample in small language models of transformers, with masks of padding: equal to a loop over the samples.

Skipped where transformers is not installed.
"""

import pytest
import torch
import torch.nn.functional as F

import hypernetworks as hn

from ..optional import optional
from .loops import served, why
from .targets import C, close

transformers = optional("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers are its own

B, T = 4, 4
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "vocab_size": 37,
    "max_position_embeddings": 20,
}
KEPT = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}


def gpt2():
    dropped = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    own = {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 37, "n_positions": 20}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**own, **dropped))


def t5():
    own = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 37, "dropout_rate": 0.0}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**own))


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=2, **SIZES))


def mistral():
    return transformers.MistralForCausalLM(transformers.MistralConfig(num_key_value_heads=2, sliding_window=3, **SIZES))


MODELS = {
    "BERT": (
        lambda: transformers.BertModel(transformers.BertConfig(**SIZES, **KEPT)),
        ["*layer.*", "embeddings.*"],
        "last_hidden_state",
    ),
    "GPT-2": (gpt2, ["*.h.*", "*.wpe.*"], "logits"),
    "Llama": (llama, "*_proj.weight", "logits"),
    "Mistral": (mistral, "*_proj.weight", "logits"),
    "T5": (t5, ["*SelfAttention.?.weight", "*DenseReluDense*", "*layer_norm*"], "logits"),
}
GENERATORS = {
    "low-rank": lambda: hn.LowRankGenerator(C, rank=2),
    "row-scale": lambda: hn.RowScaleGenerator(C),
    "full": lambda: hn.FullGenerator(C, hidden=()),
}


def inputs(model):
    ids = torch.randint(1, 37, (B, T))
    mask = torch.ones(B, T, dtype=torch.long)
    mask[1, 3:] = mask[2, 2:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    return given | ({"decoder_input_ids": torch.randint(1, 37, (B, 3))} if model == "T5" else {})


def one(given, n):
    return {name: tensor[n : n + 1] for name, tensor in given.items()}


def made(model, generator):
    build, modules, answer = MODELS[model]
    net = hn.HyperNetwork(build().double(), GENERATORS[generator](), modules)
    with torch.no_grad():
        for parameter in net.generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net, answer


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("model", MODELS)
def test_masked_batches(model, generator, train):
    net, answer = made(model, generator)
    net.train(train)
    given, c = inputs(model), torch.randn(B, C, dtype=torch.float64)
    for masked in (True, False):
        if not masked:
            del given["attention_mask"]
        y = net(**given, condition=c)[answer]
        assert served(net), why(net)
        each = torch.cat([net(**one(given, n), condition=c[n])[answer] for n in range(B)])
        tol = 1e-5 if model in ("Llama", "Mistral", "T5") else 1e-10  # their norms compute in float32
        close(y, each, tol)
        cotangent = torch.randn_like(y)
        net.zero_grad()
        y.backward(cotangent)
        mine = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
        net.zero_grad()
        each.backward(cotangent)
        for name, gradient in mine.items():
            close(gradient, net.get_parameter(name).grad, tol)


@pytest.mark.parametrize("model", ["GPT-2", "Llama"])
def test_gradient_checkpointing(model):
    net, answer = made(model, "low-rank")
    given, c = inputs(model), torch.randn(B, C, dtype=torch.float64)

    def gradients():
        net.zero_grad()
        net(**given, condition=c, use_cache=False)[answer].square().sum().backward()
        return [parameter.grad.clone() for parameter in net.generator.parameters()]

    plain = gradients()
    net.target.gradient_checkpointing_enable({"use_reentrant": False})
    for a, b in zip(gradients(), plain, strict=True):
        close(a, b, 1e-6)
    assert served(net), why(net)


@pytest.mark.parametrize("model", ["GPT-2", "Llama"])
def test_the_models_own_loss_has_no_samples(model):
    """It is the mean over all samples: with a mask it can be computed in no way, and the way out is in the message."""
    net, _ = made(model, "low-rank")
    given, c = inputs(model), torch.randn(B, C, dtype=torch.float64)
    message = (
        r"has no samples in dimension 0\. .*leave out labels.*decides by the values of a tensor.*A loop always can"
    )
    with pytest.raises(RuntimeError, match=message) as caught:
        net(**given, labels=given["input_ids"], condition=c)
    assert "github.com" not in str(caught.value)
    # what the message says to do
    logits, labels = net(**given, condition=c).logits[:, :-1], given["input_ids"][:, 1:]
    each = torch.stack([F.cross_entropy(own, right) for own, right in zip(logits, labels, strict=True)])
    alone = [net(**one(given, n), labels=given["input_ids"][n : n + 1], condition=c[n]).loss for n in range(B)]
    close(each, torch.stack(alone), 1e-5)


CACHES = {
    "made by the model": lambda config: None,
    "DynamicCache": lambda config: transformers.DynamicCache(config=config),
    "StaticCache": lambda config: transformers.StaticCache(config=config, max_cache_len=T + 3),
}


def in_steps(net, given, more, c, cache):
    """The logits of a prompt, and then of one token after another, each with the cache of those before."""
    mask, cache, logits = given["attention_mask"], CACHES[cache](net.target.config), []
    for ids in (given["input_ids"], *more.split(1, 1)):
        y = net(ids, attention_mask=mask, past_key_values=cache, use_cache=True, condition=c)
        cache = y.past_key_values
        logits.append(y.logits)
        mask = torch.cat((mask, torch.ones_like(mask[:, :1])), 1)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("model", ["GPT-2", "Llama", "Mistral"])
def test_steps_with_a_cache(model, cache):
    """Each sample has a cache that its own weights have filled, as in a loop over the samples."""
    net, _ = made(model, "low-rank")
    net.eval()
    given, more, c = inputs(model), torch.randint(1, 37, (B, 3)), torch.randn(B, C, dtype=torch.float64)
    given["attention_mask"] = given["attention_mask"].flip(1)  # padding on the left, as in generation
    y = in_steps(net, given, more, c, cache)
    assert served(net), why(net)
    each = torch.cat([in_steps(net, one(given, n), more[n : n + 1], c[n], cache) for n in range(B)])
    seen = torch.cat((given["attention_mask"], torch.ones_like(more)), 1).bool()
    tol = 1e-5 if model != "GPT-2" else 1e-10  # their norms compute in float32
    close(y[seen], each[seen], tol)
    if cache == "StaticCache":
        return  # it is written in place, so there are no gradients
    cotangent = torch.randn_like(y[seen])
    net.zero_grad()
    y[seen].backward(cotangent)
    mine = [parameter.grad for parameter in net.generator.parameters()]
    net.zero_grad()
    each[seen].backward(cotangent)
    for a, b in zip(mine, net.generator.parameters(), strict=True):
        close(a, b.grad, tol)

"""Language models of Hugging Face's transformers as targets: their own generate with its caches, and gradient checkpointing."""

import pytest
import torch

import hypernetworks as hn

from .targets import C, close, shake

try:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
except ImportError:
    pytest.skip("needs transformers", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def llama():
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=37, max_position_embeddings=64, **sizes, **TOKENS))


def gpt2():
    no_dropout = {"attn_pdrop": 0, "embd_pdrop": 0, "resid_pdrop": 0}
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(vocab_size=37, **sizes, **no_dropout, **TOKENS))


MODELS = {"llama": (llama, "*_proj.weight"), "gpt2": (gpt2, "*c_attn.weight")}


def adapted_model(name):
    make, selection = MODELS[name]
    net = hn.HyperNetwork(make().double(), hn.LowRankGenerator(C, rank=2), selection)
    shake(net)
    return net, torch.randint(3, 37, (2, 5)), torch.randn(C, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_own_generate_runs_with_the_weights(name):
    net, tokens, c = adapted_model(name)
    net.eval()
    plain = net.materialize(c)
    close(net(tokens, condition=c).logits, plain(tokens).logits)
    with net.using(c) as adapted:
        made = adapted.generate(tokens, max_new_tokens=10, do_sample=False)
    assert torch.equal(made, plain.generate(tokens, max_new_tokens=10, do_sample=False))
    assert not torch.equal(made, net.target.generate(tokens, max_new_tokens=10, do_sample=False))


@pytest.mark.parametrize("name", MODELS)
def test_gradient_checkpointing(name):
    net, tokens, c = adapted_model(name)

    def gradients():
        net.zero_grad()
        net(tokens, labels=tokens, condition=c).loss.backward()
        return [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]

    plain = gradients()
    net.target.gradient_checkpointing_enable({"use_reentrant": False})
    for recomputed, expected in zip(gradients(), plain, strict=True):
        close(recomputed, expected)
    net.target.gradient_checkpointing_disable()
    net.target.gradient_checkpointing_enable({"use_reentrant": True})
    net.target.enable_input_require_grads()
    with pytest.raises(RuntimeError, match=r"gradient_checkpointing_enable\({'use_reentrant': False}\)"):
        gradients()

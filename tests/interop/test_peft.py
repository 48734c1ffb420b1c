"""LoRA adapters go out to PEFT, which computes the same with them, and come in as targets to imitate."""

import copy
import json
import warnings

import pytest
import torch
from torch import nn

import hypernetworks as hn
from hypernetworks.errors import UsageError
from hypernetworks.interop import load_peft, save_peft

from ..optional import optional

C = 3


class Small(nn.Module):
    """Every kind of layer that PEFT adapts, and names that end in other names."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.conv = nn.Conv1d(8, 6, 3, stride=2, padding=1)
        self.inner = nn.ModuleDict({"fc": nn.Linear(6, 6)})
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        y = self.conv(self.table(x).mT).mT
        return self.fc(self.inner["fc"](y).relu())


def small():
    return Small(), torch.randint(11, (2, 9))


def gpt2():
    transformers = optional("transformers")
    config = transformers.GPT2Config(vocab_size=13, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config), torch.randint(13, (2, 7))


def llama():
    transformers = optional("transformers")
    config = transformers.LlamaConfig(
        vocab_size=13, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.LlamaForCausalLM(config), torch.randint(13, (2, 7))


def logits(output):
    return output if isinstance(output, torch.Tensor) else output.logits


CASES = {
    "all kinds": (small, "*.weight", lambda: hn.LowRankGenerator(C, rank=2, alpha=3)),
    "a name that others end in": (small, "fc.weight", lambda: hn.LowRankGenerator(C, rank=2)),
    "several ranks": (
        small,
        "*.weight",
        lambda: hn.GeneratorSplit(
            {
                "fc.weight": hn.LowRankGenerator(C, rank=1, alpha=5),
                nn.Linear: hn.LowRankGenerator(C, rank=3),
                None: hn.LowRankGenerator(C, rank=2),
            }
        ),
    ),
    "gpt-2": (gpt2, ["*.c_attn.weight", "*.c_fc.weight"], lambda: hn.LowRankGenerator(C, rank=2)),
    "llama": (llama, ["*.q_proj.weight", "*.v_proj.weight"], lambda: hn.LowRankGenerator(C, rank=2, alpha=8)),
}


def made(case):
    """A hypernetwork with random updates, its input, and a copy of its target."""
    make, modules, generator = CASES[case]
    target, x = make()
    target = target.double().eval().requires_grad_(False)
    plain = copy.deepcopy(target)
    net = hn.HyperNetwork(target, generator(), modules).eval()
    for parameter in net.generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net, x, plain


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft reads it
@pytest.mark.parametrize("case", CASES)
def test_peft_computes_the_same(case, tmp_path):
    peft = optional("peft")
    net, x, plain = made(case)
    c = torch.randn(C, dtype=torch.float64)
    save_peft(net, c, tmp_path, base_model="plain")
    model = peft.PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path).eval()
    adapted = {name.removeprefix("base_model.model.") for name, m in model.named_modules() if hasattr(m, "lora_A")}
    assert {f"{name}.weight" for name in adapted} == set(net.generator.names)
    y, expected = logits(model(x)), logits(net(x, condition=c))
    assert (y - expected).abs().max() < 1e-10
    assert (y - logits(plain(x))).abs().max() > 1e-2


@pytest.mark.parametrize("case", CASES)
def test_what_was_saved_is_read(case, tmp_path):
    if case in ("gpt-2", "llama"):
        optional("transformers")
    net, _, _ = made(case)
    c = torch.randn(C, dtype=torch.float64)
    save_peft(net, c, tmp_path)
    read, factors = load_peft(tmp_path), net.generator.factors(c)
    assert read.keys() == factors.keys()
    for name, own in factors.items():
        assert (read[name].product() - own.product()).abs().max() < 1e-12
        assert torch.equal(read[name].A, own.A)


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_that_peft_wrote_is_read(rslora, tmp_path):
    peft = optional("peft")
    plain = Small()
    config = peft.LoraConfig(
        r=2,
        lora_alpha=6,
        target_modules=["table", "conv", "fc"],
        init_lora_weights=False,
        use_rslora=rslora,
        alpha_pattern={"conv": 1},
    )
    model = peft.get_peft_model(copy.deepcopy(plain), config)
    with warnings.catch_warnings():  # peft warns of embeddings of models without a config
        warnings.simplefilter("ignore")
        model.save_pretrained(tmp_path, save_embedding_layers=False)
        merged = dict(model.merge_and_unload().named_parameters())
    read = load_peft(tmp_path)
    assert set(read) == {"table.weight", "conv.weight", "inner.fc.weight", "fc.weight"}
    for name, factors in read.items():
        change = merged[name] - plain.get_parameter(name)
        assert (factors.product().view_as(change) - change).abs().max() < 1e-5
        assert change.abs().max() > 1e-2


def test_a_generator_learns_given_adapters():
    """Training by reconstruction: from a vector per task to its LoRA."""
    torch.manual_seed(0)
    tasks = [
        {
            "0.weight": hn.Factors(torch.randn(r, 5), torch.randn(8, r), 0.7),
            "2.weight": hn.Factors(torch.randn(r, 8), torch.randn(4, r), 0.7),
        }
        for r in (1, 2, 2)
    ]
    wanted = hn.stack_factors(tasks)
    target = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)).requires_grad_(False)
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2), "*.weight")
    vectors = torch.randn(3, C)
    adam = torch.optim.Adam(net.generator.parameters(), 1e-2)
    for _ in range(600):
        adam.zero_grad()
        loss = hn.reconstruction_loss(net.generator.factors(vectors), wanted)
        loss.backward()
        adam.step()
    assert loss < 1e-3
    for k, task in enumerate(tasks):
        weights = net.generate(vectors[k])
        for name, factors in task.items():
            change = weights[name] - target.get_parameter(name)
            assert (change - factors.product()).norm() < 0.1 * factors.product().norm()


def test_the_loss_is_that_of_the_products():
    made, wanted = (
        {name: hn.Factors(torch.randn(2, r, 5), torch.randn(2, 7, r), s) for name in "ab"}
        for r, s in ((2, 0.5), (3, 2.0))
    )
    made, wanted = (
        {name: hn.Factors(f.A.double(), f.B.double(), f.scale) for name, f in factors.items()}
        for factors in (made, wanted)
    )
    each = [
        (made[n].product() - wanted[n].product()).square().sum((1, 2)) / wanted[n].product().square().sum((1, 2))
        for n in "ab"
    ]
    assert (hn.reconstruction_loss(made, wanted) - torch.stack(each).mean()).abs() < 1e-12
    with pytest.raises(ValueError, match="should have the same matrices, but not so: b"):
        hn.reconstruction_loss(made, {"a": wanted["a"]})
    with pytest.raises(ValueError, match="tasks 0 and 1 should have the same matrices, but not so: b"):
        hn.stack_factors([made, {"a": wanted["a"]}])
    one, two = (hn.Factors(torch.zeros(2, n), torch.zeros(7, 2), 1.0) for n in (5, 6))
    with pytest.raises(ValueError, match=r"a should have one shape in all tasks, got \(7, 5\), \(7, 6\)"):
        hn.stack_factors([{"a": one}, {"a": two}])
    with pytest.raises(ValueError, match="at least one task"):
        hn.stack_factors([])


class WithAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Embedding(5, 4), nn.Linear(4, 5)
        self.decoder.weight = self.encoder.weight


@pytest.mark.parametrize(
    ("target", "modules", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4)), None, r"0\.bias cannot be part of a LoRA: generate matrices alone"),
        (WithAttention(), "*.in_proj_weight", r"no LoRA for attention\.in_proj_weight of a MultiheadAttention"),
        (WithAttention(), "*.out_proj.weight", r"no LoRA for attention\.out_proj\.weight"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "*.weight", r"no LoRA for 0\.weight of a Conv2d"),
        (nn.Sequential(nn.ConvTranspose2d(4, 4, 3)), "*.weight", r"no LoRA for 0\.weight of a ConvTranspose2d"),
        (nn.Linear(4, 4), "weight", r"no LoRA for weight of a Linear"),
        (Tied(), "encoder.weight", r"encoder\.weight is tied to decoder\.weight, which PEFT would not adapt"),
    ],
)
def test_what_peft_has_no_lora_for(target, modules, message, tmp_path):
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2), modules)
    with pytest.raises(ValueError, match=message):
        save_peft(net, torch.randn(C), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_generators_and_conditions_that_do_not_fit(tmp_path):
    net = hn.HyperNetwork(nn.Sequential(nn.Linear(4, 4)), hn.FullGenerator(C), "*.weight")
    with pytest.raises(TypeError, match="FullGenerator makes no low-rank factors: use a LowRankGenerator"):
        save_peft(net, torch.randn(C), tmp_path)
    with pytest.raises(ValueError, match=r"one vector, \(C,\), for one adapter, got \(2, 3\)"):
        save_peft(net, torch.randn(2, C), tmp_path)
    with pytest.raises(ValueError, match=r"one vector, \(C,\), for one adapter, got list"):
        save_peft(net, [1.0], tmp_path)
    net = hn.HyperNetwork(nn.Linear(4, 4), hn.LowRankGenerator(C, rank=1), "weight")
    for attempt in (
        lambda: save_peft(net, torch.zeros(C + 2), tmp_path),
        lambda: net.generator.factors(torch.zeros(C + 2)),
    ):
        with pytest.raises(ValueError, match=r"condition should have shape \(3,\) or \(batch, 3\), got \(5,\)"):
            attempt()
    with pytest.raises(TypeError, match="net should be a HyperNetwork, got Linear"):
        save_peft(nn.Linear(4, 3), torch.zeros(C), tmp_path)
    with pytest.raises(UsageError, match="folder should be the name of a folder, got an empty text"):
        save_peft(net, torch.zeros(C), "")
    with pytest.raises(ValueError, match="wanted should have at least one matrix, got none"):
        hn.reconstruction_loss({}, {})


def damage(folder, name, text):
    (folder / name).write_text(text)


CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "adapter_config.json: not valid JSON"),
        (json.dumps(CONFIG | {"peft_type": "IA3"}), "peft_type is 'IA3', and only 'LORA' can be read"),
        (json.dumps(CONFIG | {"use_dora": True}), "use_dora: the adapter is more than low-rank matrices"),
        (json.dumps(CONFIG | {"modules_to_save": ["x"], "bias": "all"}), "modules_to_save, bias: the adapter is more"),
        (json.dumps(CONFIG), "adapter_model.safetensors: no such file"),
        (json.dumps(CONFIG | {"lora_alpha": None}), "lora_alpha should be a finite number, got None"),
        (json.dumps(CONFIG | {"lora_alpha": True}), "lora_alpha should be a finite number, got True"),
        (
            json.dumps(CONFIG | {"alpha_pattern": {"0": "x"}}),
            r"alpha_pattern\['0'\] should be a finite number, got 'x'",
        ),
        (json.dumps(CONFIG | {"alpha_pattern": {"(": 2}}), r"alpha_pattern has '\(', which is no regular expression"),
        (json.dumps(CONFIG | {"rank_pattern": [1]}), r"rank_pattern should be an object, got \[1\]"),
        (json.dumps(CONFIG | {"r": "x"}), "r should be a whole number of at least 1, got 'x'"),
        (json.dumps(CONFIG | {"r": 0}), "r should be a whole number of at least 1, got 0"),
        (json.dumps(CONFIG | {"use_rslora": "yes"}), "use_rslora should be true or false, got 'yes'"),
    ],
)
def test_folders_that_cannot_be_read(config, message, tmp_path):
    damage(tmp_path, "adapter_config.json", config)
    with pytest.raises(UsageError, match=message):
        load_peft(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"base_model.model.a.magnitude": torch.zeros(2)}, "a.magnitude is not a factor of a LoRA"),
        ({"base_model.model.a.lora_A.weight": torch.zeros(2, 3)}, "the factors of a do not fit together"),
        (
            {"a.lora_A.weight": torch.zeros(2, 3), "a.lora_B.weight": torch.zeros(4, 3)},
            "the factors of a do not fit together",
        ),
        ({}, "has no tensors"),
        (
            {"a.lora_A.weight": torch.zeros(3, 3), "a.lora_B.weight": torch.zeros(4, 3)},
            "r is 2 for a, but its factors have rank 3",
        ),
    ],
)
def test_tensors_that_are_no_lora(tensors, message, tmp_path):
    damage(tmp_path, "adapter_config.json", json.dumps(CONFIG))
    optional("safetensors.torch").save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UsageError, match=message):
        load_peft(tmp_path)
    damage(tmp_path, "adapter_model.safetensors", "no tensors at all")
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        load_peft(tmp_path)

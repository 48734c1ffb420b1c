"""The examples: run small, and held to what they say."""

import importlib.util
import inspect
import json
import math
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import hypernetworks as hn
from hypernetworks.errors import FaultError, UsageError

from .docs.pages import PAGES, commands
from .optional import optional

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = [
    page for page in PAGES if page.parent.name == "examples" or page.name == "results.md"
]  # the log has older commands
COMMANDS = sorted({line for page in SHOWN for line in commands(page) if line.startswith("python examples/")})


def needs(*path: str) -> pytest.MarkDecorator:
    place = Path(os.environ.get("HYPERNETWORKS_DATA", "")).joinpath(*path)
    return pytest.mark.skipif(not place.exists(), reason=f"needs {'/'.join(path)} in the folder $HYPERNETWORKS_DATA")


needs_mnist = needs("mnist")


@pytest.fixture
def example(monkeypatch):
    """Imports an example by its name, with its folder on the path as when it is run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def imported(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        torch.manual_seed(0)
        spec.loader.exec_module(module)
        return module

    return imported


def test_seeds_give_mean_and_deviation(example, tmp_path, capsys):
    called = []

    def experiment(seed: int, steps: int, rate: float) -> dict[str, float]:
        called.append((seed, steps, rate))
        return {"score": float(seed), "draw": torch.rand(()).item()}

    over_seeds = example("seeds").over_seeds
    out = tmp_path / "result.json"
    arguments = ["--seeds", "3", "--first-seed", "2", "--steps", "7", "--out", str(out)]
    result = over_seeds(experiment, arguments, steps=5, rate=0.5)
    assert called == [(2, 7, 0.5), (3, 7, 0.5), (4, 7, 0.5)]
    assert result["mean"]["score"] == 3
    assert result["deviation"]["score"] == 1
    assert json.loads(out.read_text()) == result
    torch.manual_seed(4)
    assert result["runs"][2]["draw"] == torch.rand(()).item()
    assert "score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--seeds 0", "argument --seeds: expected a whole number of at least 1, got '0'"),
        ("--steps 1.5", "argument --steps: expected a whole number of at least 1, got '1.5'"),
        ("--rate -1", "argument --rate: expected a finite number of at least 0, got '-1'"),
        ("--rate nan", "argument --rate: expected a finite number of at least 0, got 'nan'"),
        ("--rate fast", "argument --rate: invalid number value: 'fast'"),
        ("--tasks three", "argument --tasks: invalid choice: 'three'"),
        ("--picture no/such.png", "argument --picture: 'no/such.png': there is no folder 'no'"),
        ("--out no/such.json", "argument --out: 'no/such.json': there is no folder 'no'"),
        ("--out .", "--out should be a file, but '.' is a folder"),
        ("--stepz 3", "unrecognized arguments: --stepz 3"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, message, example, capsys):
    def never(**given):
        raise AssertionError("the experiment ran")

    settings = {"steps": 5, "rate": 0.5, "tasks": ("one", "two"), "picture": None}
    with pytest.raises(SystemExit) as ended:
        example("seeds").over_seeds(never, arguments.split(), **settings)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("error", "code"), [(UsageError("images"), 2), (FaultError("no network"), 1)])
def test_an_error_of_the_experiment_is_one_line(error, code, example, capsys):
    def experiment(seed: int) -> dict[str, float]:
        raise error

    with pytest.raises(SystemExit) as ended:
        example("seeds").over_seeds(experiment, [])
    assert ended.value.code == code
    assert capsys.readouterr().err.endswith(f": {error}\n")


@pytest.mark.parametrize("line", [line for line in COMMANDS if "examples/lora" not in line])
def test_the_commands_of_the_pages_are_understood(line, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "seeds", raising=False)
    seeds = importlib.import_module("seeds")
    over_seeds, calls = seeds.over_seeds, []

    def parsed(experiment, **settings):
        def called(**given):
            inspect.signature(experiment).bind(**given)
            calls.append(given)
            return {"figure": 1.0}

        return over_seeds(called, **settings)

    monkeypatch.setattr(seeds, "over_seeds", parsed)
    _, script, *arguments = line.split()
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / Path(script).name), run_name="__main__")
    wanted = int(arguments[arguments.index("--seeds") + 1]) if "--seeds" in arguments else 1
    assert [call["seed"] for call in calls] == list(range(wanted))


def as_command(monkeypatch, *line):
    """Run an example as a command."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", list(line))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / line[0]), run_name="__main__")
    return ended.value.code


def test_help_and_mistakes_of_examples_without_seeds(monkeypatch, capsys):
    assert as_command(monkeypatch, "lora.py", "--help") == 0
    assert "usage: lora.py" in capsys.readouterr().out
    assert as_command(monkeypatch, "lora.py", "--steps") == 2
    assert capsys.readouterr().err == "lora.py: unrecognized arguments: --steps\n"
    pytest.importorskip("onnxruntime")
    assert as_command(monkeypatch, "generate_onnx.py", "--help") == 0
    assert "usage: generate_onnx.py [-h] model prompt length" in capsys.readouterr().out
    assert as_command(monkeypatch, "generate_onnx.py", "model.onnx", "ROMEO:", "some") == 2
    assert capsys.readouterr().err.endswith("argument length: invalid int value: 'some'\n")


def test_an_example_without_its_data_ends_with_one_line(monkeypatch, capsys):
    def missing(name):
        raise FaultError(f"could not fetch {name}")

    monkeypatch.setattr("hypernetworks.vision.load_images", missing)
    assert as_command(monkeypatch, "lora.py") == 1
    assert capsys.readouterr().err == "lora.py: could not fetch mnist\n"


@needs_mnist
def test_every_task_gets_its_lora(example):
    results = example("lora").main()
    alone, with_update = zip(*results.values(), strict=True)
    assert alone[0] > 90  # upright digits are what the frozen net knows
    assert max(alone[1:]) < 60
    assert min(with_update) > 80


@needs_mnist
def test_the_regulariser_keeps_what_was_learned(example):
    experiment = example("continual").experiment
    kept, lost = (
        experiment(0, tasks="split", steps=100, strength=each, width=50, rate=2e-3, chunk=4096) for each in (0.1, 0.0)
    )
    assert kept["after all tasks"] > 94
    assert kept["after all tasks"] > lost["after all tasks"] + 5
    assert lost["just after each task"] > 96


@needs_mnist
def test_permuted_digits_are_other_tasks(example):
    module = example("continual")
    tasks = module.permuted()
    images = tasks[0].test[0][:5]
    views = [task.view(images) for task in tasks]
    assert torch.equal(views[0], images.flatten(1))
    for view in views[1:]:
        assert not torch.equal(view, views[0])
        assert torch.equal(view.sort(1).values, views[0].sort(1).values)
    _, accuracies = module.learn(tasks[:2], strength=0.1, steps=60, width=50, rate=2e-3, chunk=4096)
    assert min(accuracies) > 60


@needs_mnist
def test_codes_become_images(example, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.png"
    module = example("implicit_image")
    psnr = module.experiment(0, steps=80, images=8, rate=1e-3, picture=picture)
    assert psnr["worst image"] <= psnr["all"] <= psnr["best image"]
    assert psnr["all"] > 15
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="images should be at most 55000, got 60000"):
        module.experiment(0, steps=1, images=60_000, rate=1e-3, picture=None)
    for images, name in ((1, "picture.png"), (2, "picture.txt")):
        with pytest.raises(UsageError, match="a picture needs two images"):
            module.experiment(0, steps=1, images=images, rate=1e-3, picture=tmp_path / name)


def test_the_hypervolume_is_an_area(example):
    module = example("pareto")
    assert module.hypervolume(torch.tensor([[0.0, 0.0]])) == 1
    points = torch.tensor([[0.25, 0.5], [0.5, 0.25], [0.6, 0.6], [2.0, 0.0]])  # the last two are dominated or outside
    assert module.hypervolume(points) == 0.75 * 0.5 + 0.5 * 0.25
    # ∫ (1 − L_1) dL_2 along the curve, and the rectangle above its end, L_1 = 0 and L_2 = 1 − exp(−4)
    t = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    growth = 2 * (t + 1) * torch.exp(-((t + 1) ** 2))
    area = torch.trapezoid(torch.exp(-((t - 1) ** 2)) * growth, t).item() + math.exp(-4)
    assert module.hypervolume(module.front(20_001)) == pytest.approx(area, abs=1e-3)


def test_preferences_become_compromises(example):
    result = example("pareto").experiment(0, steps=300, points=101, rate=2e-3)
    assert result["Chebyshev"] > 0.9 * result["whole front"]
    assert result["Chebyshev"] <= result["whole front"]
    assert result["Chebyshev, imbalance"] < 0.2
    assert result["weighted sum"] < result["Chebyshev"]
    with pytest.raises(UsageError, match="points should be at least 3, got 2"):
        example("pareto").experiment(0, steps=1, points=2, rate=2e-3)


@needs("tinyshakespeare.txt")
def test_descriptions_become_loras(example, tmp_path):
    module = example("text_to_lora")
    shares = module.experiment(0, base_steps=40, own_steps=3, steps=20, own_rate=1e-2, rate=1e-3, peft=tmp_path)
    assert set(shares) == {"shown", "only described"}
    assert len(list(tmp_path.iterdir())) == len(module.TASKS)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft reads it
def test_a_mixed_batch_equals_one_task_at_a_time(example, tmp_path):
    peft = optional("peft")
    module = example("text_to_lora")
    model = module.LanguageModel(20).requires_grad_(False)
    net = module.make_net(model)
    for parameter in net.generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    n = torch.stack([module.counted(module.described(task)) for task in module.TASKS])
    ids = torch.randint(20, (len(n), 12))
    with torch.no_grad():
        mixed = net(ids, condition=n)
        for k in range(len(n)):
            torch.testing.assert_close(mixed[k : k + 1], net(ids[k : k + 1], condition=n[k]))
        hn.interop.save_peft(net, n[3], tmp_path)
        adapted = peft.PeftModel.from_pretrained(model, tmp_path)
        torch.testing.assert_close(adapted(ids[3:4]), mixed[3:4])


def test_a_transformer_does_not_look_ahead(example):
    model = example("text_to_lora").LanguageModel(20)
    ids = torch.randint(20, (2, 12))
    changed = ids.clone()
    changed[:, 6] = (ids[:, 6] + 1) % 20
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=0, atol=0)
    assert not torch.allclose(before[:, 6], after[:, 6])


PROSE = "".join(f"{n} and {n + 1} are {2 * n + 1}, and so on to the end of the line.\n" for n in range(40))


def check_training(model, again, logits_of):
    """The loss on the text fell, and the model that was saved is the same."""
    alphabet = sorted(set(PROSE))
    ids = torch.tensor([[alphabet.index(character) for character in PROSE[:200]]])
    with torch.no_grad():
        logits = logits_of(model.eval().cpu()(ids[:, :-1]))
        torch.testing.assert_close(logits_of(again.eval().cpu()(ids[:, :-1])), logits, rtol=0, atol=0)
    assert torch.nn.functional.cross_entropy(logits.mT, ids[:, 1:]) < math.log(len(alphabet)) - 0.5


# of torch in lightning's own code; and what lightning advises: workers, a shorter interval of logging, to look for checkpoints
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*(does not have many workers|smaller than the logging interval)")
def test_lightning_trains_a_hyper_lstm(example, tmp_path):
    optional("lightning")
    module = example("train_lightning")
    model, checkpoint = module.train(PROSE, tmp_path, steps=30, length=32)
    check_training(model, module.Characters.load_from_checkpoint(checkpoint, weights_only=True), lambda out: out)


@pytest.mark.filterwarnings(
    "ignore:'pin_memory' argument is set as true:UserWarning"
)  # transformers does without a device
def test_the_trainer_of_transformers_trains_a_hyper_lstm(example, tmp_path):
    optional("transformers")
    pytest.importorskip("accelerate")
    module = example("train_transformers")
    assert (module.Characters(module.CharactersConfig(7)).rnn.cell(0).hyper.p == 1).all()  # not initialised again
    model = module.train(PROSE, tmp_path, steps=30, length=32)
    check_training(model, module.Characters.from_pretrained(tmp_path), lambda out: out["logits"])


@needs("cifar-10-batches-bin")
def test_clients_get_networks_of_their_own(example):
    module = example("federated")
    clients = module.make_clients(10)
    assert {len(client.train[1].unique()) for client in clients} == {2}
    assert all(set(c.train[1].tolist()) == set(c.test[1].tolist()) for c in clients)
    assert sum(len(client.train[1]) for client in clients) == 7000
    rates = {"local_rate": 1e-2, "fedavg_rate": 1e-2, "rate": 1e-2, "server_rate": 2e-3}
    result = module.experiment(0, clients=10, rounds=60, steps=10, **rates, scored_on="validation")
    assert result["pFedHN"] > result["FedAvg"]
    with pytest.raises(UsageError, match="clients should be fewer, got 2000"):
        module.make_clients(2000)


@needs("cifar-10-batches-bin")
def test_rates_are_chosen_on_images_that_are_kept_back(example):
    module = example("federated")
    images = {on: module.make_clients(10, on) for on in ("test", "validation")}
    counts = {
        on: [sum(len(getattr(c, part)[1]) for c in made) for part in ("train", "test")] for on, made in images.items()
    }
    assert counts == {"test": [7000, 1000], "validation": [6300, 700]}

"""Training, scores, drawings and the commands, on squares and crosses."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.strokes.batches import packed
from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.data import StrokeData
from hypernetworks.strokes.drawings import Drawings
from hypernetworks.strokes.evaluate import evaluate
from hypernetworks.strokes.experiment import STROKES, load_run
from hypernetworks.strokes.generate import Sampling, draw
from hypernetworks.strokes.mixture import Mixture
from hypernetworks.strokes.model import StrokeModel, StrokeModelConfig
from hypernetworks.strokes.own_strokes import beginning_of
from hypernetworks.strokes.pictures import Canvas, grid, levels
from hypernetworks.strokes.task import StrokesTask
from hypernetworks.training.loop import Trainer

Capture = pytest.CaptureFixture[str]


def small(network: str = "hyper-lstm") -> StrokeModelConfig:
    return StrokeModelConfig(network, hidden_size=7, hyper_size=5, hyper_embedding_size=3, mixtures=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, toy_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    flags = [
        "--preset",
        "seconds",
        "--data",
        str(toy_file),
        "--out",
        str(folder),
        "--steps",
        "60",
        "--learning-rate",
        "0.02",
    ]
    assert cli.main(["strokes", "train", *flags, "--evaluate-every", "30"]) == 0
    return folder


def test_the_score_is_the_mean_over_drawings_one_by_one(toy: StrokeData) -> None:
    """Packing, chunks and the order of drawings change nothing: a loop over single drawings and steps in float64."""
    model = StrokeModel(small()).double().eval()
    wide = Drawings(toy.train.offsets.double(), toy.train.lifted, toy.train.bounds, toy.train.names)
    total = 0.0
    with torch.no_grad():
        for number in range(len(wide)):
            batch = packed([wide.drawing(number)], toy.scale)
            state = None
            for read, offset, pen in zip(batch.reads.data, batch.offsets, batch.pen, strict=True):
                values, state = model(read.view(1, 1, -1), state)
                total += sum(part.item() for part in Mixture.of(values[0]).nats(offset[None], pen[None]))
    assert evaluate(model, wide, toy.scale).nats == pytest.approx(total / len(wide.offsets), rel=1e-10)


def test_parts_of_a_batch_add_up_to_the_batch(tiny: StrokesConfig, toy: StrokeData) -> None:
    config = replace(tiny, batch_size=6, model=small())
    gradients = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        own = replace(config, schedule=replace(config.schedule, accumulate=accumulate))
        task = StrokesTask(StrokeModel(config.model).double(), own, toy)
        task.network = lambda points, model=task.model: model(points.to(torch.float64))
        for part in task.parts:
            loss, _ = task.loss(3, part)
            (loss / len(task.parts)).backward()
        gradients.append([parameter.grad.clone() for parameter in task.model.parameters()])
    for one, many in zip(*gradients, strict=True):
        torch.testing.assert_close(one, many, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", ["lstm", "gru", "hyper-lstm", "hyper-rhn"])
def test_it_learns_squares_and_crosses(network: str, tiny: StrokesConfig, toy: StrokeData, tmp_path: Path) -> None:
    schedule = replace(tiny.schedule, steps=80, learning_rate=0.02, evaluate_every=80)
    run = STROKES.train(
        tmp_path / "run", replace(tiny, model=replace(small(network), hidden_size=24), schedule=schedule), toy, ""
    )
    model, _, record = load_run(run.folder)
    torch.manual_seed(0)
    untrained = evaluate(StrokeModel(model.config), toy.validation, toy.scale).nats
    assert evaluate(model, toy.validation, record["scale"]).nats < untrained - 1.5


def test_a_resumed_run_has_the_bits_of_a_run_never_stopped(
    tiny: StrokesConfig, toy: StrokeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    STROKES.train(tmp_path / "whole", tiny, toy, "")
    take = Trainer.take_step

    def stopping(self: Trainer) -> tuple[float, int]:
        if self.step == 4:
            raise KeyboardInterrupt
        return take(self)

    monkeypatch.setattr(Trainer, "take_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        STROKES.train(tmp_path / "stopped", tiny, toy, "")
    monkeypatch.setattr(Trainer, "take_step", take)
    STROKES.resume(tmp_path / "stopped", toy, "")
    whole, stopped = (load_run(tmp_path / name)[0].state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert (tmp_path / "whole/drawings.svg").read_bytes() == (tmp_path / "stopped/drawings.svg").read_bytes()


@pytest.mark.parametrize("network", list(FAMILIES))
def test_a_drawing_does_not_depend_on_those_drawn_with_it(network: str) -> None:
    model = StrokeModel(small(network)).eval()
    many, one = (draw(model, Sampling(count=count, longest=20, seed=3), 2.0) for count in (9, 1))
    assert torch.equal(many[0].offsets, one[0].offsets)
    assert torch.equal(many[0].lifted, one[0].lifted)
    assert any(not torch.equal(many[0].offsets, other.offsets) for other in many[1:])
    assert many[0].changes.shape[1] == (len(model.network.cell(0).main.gate_names) if FAMILIES[network].is_hyper else 0)


def test_a_drawing_follows_the_model(toy: StrokeData) -> None:
    """At temperature 0 each point is the most probable one after those before it, computed by the network itself."""
    model = StrokeModel(small()).eval()
    beginning = toy.train.drawing(0)
    (drawn,) = draw(model, Sampling(count=1, temperature=0, longest=12), toy.scale, beginning)
    given = len(beginning[1])
    assert drawn.given == given
    torch.testing.assert_close(drawn.offsets[:given], beginning[0])
    with torch.no_grad():
        values, _ = model(packed([(drawn.offsets, drawn.lifted)], toy.scale).reads)
    mixture = Mixture.of(values)
    best = mixture.means[torch.arange(len(values)), mixture.log_weights.argmax(-1)] * toy.scale
    torch.testing.assert_close(drawn.offsets[given:], best[given:-1], rtol=1e-4, atol=1e-4)
    assert len(drawn.lifted) == 12 or drawn.ended


def test_the_colours_are_one_scale_for_all_drawings() -> None:
    model = StrokeModel(small()).eval()
    drawn = draw(model, Sampling(count=4, longest=15), 2.0)
    colours = levels(drawn)
    assert {level for row in colours for level in row} <= set(range(5))
    assert max(map(max, colours)) == 4
    plain = levels(draw(StrokeModel(small("lstm")).eval(), Sampling(count=4, longest=9), 2.0))
    assert {level for row in plain for level in row} == {0}
    both = levels([*draw(StrokeModel(small("lstm")).eval(), Sampling(count=2, longest=9), 2.0), *drawn])
    assert both[2:] == colours
    assert {level for row in both[:2] for level in row} <= {0}


@pytest.mark.parametrize("animate", [False, True])
def test_the_picture_is_well_formed_and_holds_every_point(animate: bool) -> None:
    model = StrokeModel(small()).eval()
    drawn = draw(model, Sampling(count=7, longest=15), 2.0)
    root = ElementTree.fromstring(grid(drawn, Canvas(100.0, "© <a> & b"), columns=3, animate=animate))
    space = "{http://www.w3.org/2000/svg}"
    groups = root.findall(f"{space}g")
    assert [group.get("transform") for group in groups][:4] == [
        "translate(0 0)",
        "translate(100 0)",
        "translate(200 0)",
        "translate(0 100)",
    ]
    assert root.find(f"{space}text").text == "© <a> & b"
    for drawing, group in zip(drawn, groups, strict=True):
        drawings = [path.get("d") for path in group]
        if not len(drawing.lifted):
            assert not drawings
            continue
        places = drawing.offsets.double().cumsum(0)
        last = places[-1] * 92 / max(100, 2 * places.abs().max().item()) + 50
        x, y = map(float, re.findall(r"[ML](-?[\d.e+-]+) (-?[\d.e+-]+)", drawings[-1])[-1])
        assert (x, y) == (pytest.approx(last[0].item(), abs=0.06), pytest.approx(last[1].item(), abs=0.06))
    assert ("animation-delay" in ElementTree.tostring(root, "unicode")) == animate


def test_a_beginning_is_placed_on_the_square_of_the_data() -> None:
    import numpy as np

    offsets, lifted = beginning_of([np.array([[0.0, 0], [50, 0], [50, 50]])], 100.0, 20.0, unfinished=True)
    assert offsets.tolist() == [[-10, -10], [10, 0], [0, 10]]
    assert lifted.tolist() == [False, False, False]


def test_commands(run: Path, toy_file: Path, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["strokes", "evaluate", str(run)]) == 0
    assert re.search(
        r"3 drawings, \d+ points: -?\d+\.\d{4} nats a point \(offsets .*, pen .*\)", capsys.readouterr().out
    )
    start = tmp_path / "start.json"
    start.write_text(json.dumps([[[0, 50], [100, 50]]]))
    for name, flags in {
        "a.svg": [],
        "b.svg": ["--animate", "--columns", "2"],
        "c.png": ["--temperature", "0"],
        "d.json": ["--beginning", str(start), "--unfinished"],
    }.items():
        assert cli.main(["strokes", "draw", str(run), "--count", "3", "--out", str(tmp_path / name), *flags]) == 0
        assert (tmp_path / name).stat().st_size > 100
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    drawings = json.loads((tmp_path / "d.json").read_text())
    size = load_run(run)[2]["size"]
    assert len(drawings) == 3
    for strokes in drawings:
        assert strokes[0][0] == pytest.approx([-size / 2, 0], abs=0.01)
        assert strokes[0][1] == pytest.approx([size / 2, 0], abs=0.01)
    assert cli.main(
        ["strokes", "train", "--preset", "seconds", "--data", str(tmp_path / "d.json"), "--out", str(tmp_path / "n")]
    ) in (0, 2)


def test_the_report_is_one_page_that_needs_nothing_else(run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["strokes", "report", str(run), str(run), "--count", "3", "--out", str(tmp_path / "r.html")]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'r.html'}\n"
    source = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "nats a point (step " in source
    assert re.findall(r"temperature (\S+)<", source, re.IGNORECASE) == ["0.4", "0.1", "0.8"]
    assert source.count('<figure class="curve"') == 2
    assert "Compared with other runs" in source
    assert not re.findall(r"""(?:src|href)=["']?https?:""", source)
    assert cli.main(["strokes", "report"]) == 2
    assert "runs should be one or more folders, got none" in capsys.readouterr().err


def test_networks_are_compared_at_equal_size(toy_file: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = [
        "--preset",
        "seconds",
        "--data",
        str(toy_file),
        "--parameters",
        "20000",
        "--steps",
        "2",
        "--seeds",
        "0",
        "1",
    ]
    assert cli.main(["strokes", "compare", *flags, "--out", str(tmp_path / "compare")]) == 0
    out = capsys.readouterr().out
    for network in ("lstm", "layer-norm-lstm", "hyper-lstm"):
        assert network in out
        settings = json.loads((tmp_path / "compare" / f"{network}-seed1" / "config.json").read_text())["settings"]
        count = sum(p.numel() for p in StrokeModel(StrokeModelConfig(**settings["model"])).parameters())
        assert abs(count - 20_000) <= 200
    assert (tmp_path / "compare" / "drawings.svg").exists()
    assert "test nats" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("strokes train --data {0}/none.json --out {0}/new", "none.json: no such file"),
        (
            "strokes train --data {0}/letters.txt --out {0}/new",
            "no set of drawings .*letters.txt.*: expected kanji, or",
        ),
        ("strokes train --mixtures 0 --out {0}/new", "mixtures should be at least 1, got 0"),
        ("strokes train --drop 1 --out {0}/new", r"drop should be in \[0, 1\), got 1.0"),
        (
            "strokes train --preset seconds --data {1} --batch-size 500 --out {0}/new",
            "batch_size should be at most .* 54, got 500",
        ),
        ("strokes draw {2} --out {0}/a.gif", "out should end in .svg, .png or .json, got .*a.gif"),
        ("strokes draw {2} --animate --out {0}/a.png", "animate needs an --out that ends in .svg"),
        ("strokes draw {2} --count 0", "count should be at least 1, got 0"),
        ("strokes draw {2} --temperature -1", "temperature should be a finite number of at least 0, got -1.0"),
        ("strokes draw {2} --columns 0", "columns should be at least 1, got 0"),
        ("strokes draw {2} --beginning {0}/none", "none: no such file"),
        ("strokes draw {2} --beginning {2}/config.json", "config.json: should be a list of strokes"),
        ("strokes draw {2} --beginning {2}/model.safetensors", "model.safetensors: is not JSON"),
        ("strokes evaluate {0}", "not a run's folder"),
        ("text evaluate {2}", "not a run of hypernetworks text"),
        ("strokes evaluate {2} --split dev", "split should be train, validation or test, got 'dev'"),
        (
            "strokes compare --networks lstm --parameters 9 --preset seconds --data {1} --out {0}/c",
            "no lstm has within 1% of 9",
        ),
    ],
)
def test_nonsense_is_one_line(
    arguments: str, message: str, run: Path, toy_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert cli.main(arguments.format(tmp_path, toy_file, run).split()) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*")), "nothing is written"

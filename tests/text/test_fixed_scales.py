"""The benchmark of moving weights: the study's models, the same frozen, and models that are trained with fixed scales."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from hypernetworks import cli
from hypernetworks.experiments.results import read_results
from hypernetworks.text.corpus import load_corpus
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.frozen import with_frozen_scales

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fixed_scales.py"
spec = importlib.util.spec_from_file_location("fixed_scales", SCRIPT)
assert spec is not None
assert spec.loader is not None
fixed_scales = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fixed_scales)


def test_the_three_losses_are_those_of_their_models(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--out", str(study)]
    assert cli.main([*given, "--networks", "hyper-lstm"]) == 0
    capsys.readouterr()
    arguments = [str(study), "--out", str(tmp_path / "fixed")]
    fixed_scales.main(arguments)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[-4:]] == ["hyper-lstm,", "moving", "frozen", "fixed"]
    found = json.loads((tmp_path / "fixed" / "fixed-scales.json").read_text())
    corpus = load_corpus(str(toy))
    scored = corpus.validation[:200]
    for seed, losses in found.items():
        name = f"hyper-lstm-seed{seed}"
        assert losses["moving"] == read_results(study / "results")[name].score
        model, config, _ = TEXT.load(study / "finals" / name)
        assert losses["frozen"] == evaluate(with_frozen_scales(model, corpus.train), scored).nats
        model, trained, _ = fixed_scales.FixedScales().load(tmp_path / "fixed" / name)
        assert trained == config
        assert model.network.cell(0).hyper.P.abs().max() == 0
        assert evaluate(with_frozen_scales(model, corpus.train), scored).nats == pytest.approx(
            losses["fixed"], abs=1e-6
        )
        assert evaluate(model, scored).nats == losses["fixed"]
    metrics = (tmp_path / "fixed" / "hyper-lstm-seed1" / "metrics.jsonl").read_bytes()
    fixed_scales.main([*arguments, "--seeds", "2"])
    assert (tmp_path / "fixed" / "hyper-lstm-seed1" / "metrics.jsonl").read_bytes() == metrics
    with pytest.raises(SystemExit, match=r"has final runs of hyper-lstm with seeds \[1, 2\]"):
        fixed_scales.main([*arguments, "--seeds", "3"])

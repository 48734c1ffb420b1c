"""How much moving weights give: HyperLSTM against itself with scales that do not move, after training and during it.

OMP_NUM_THREADS=1 python benchmarks/fixed_scales.py runs/study --out runs/fixed-scales

    moving   the study's final runs of the network
    frozen   the same models, each scale replaced by its mean over the training text: `text evaluate --freeze-scales`
    fixed    trained with the same settings and seeds, but P = 0 throughout: z is a learned constant, d = D p

With P = 0 the network is a plain one whose rows have learned scales, in the parametrisation of the hyper network. The hyper
cell is idle then: the main network is that of the study, and fewer parameters act. Interrupted runs are resumed. Several
processes may share the work: give each its own --seeds, then call it once for all.
"""

import argparse
import json
from pathlib import Path

from hypernetworks.experiments.config import from_json
from hypernetworks.experiments.results import RESULTS, Result, read_results
from hypernetworks.experiments.statistics import paired_difference, spread
from hypernetworks.files import make_folder, write_whole
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.experiment import TEXT, TextExperiment
from hypernetworks.text.frozen import with_frozen_scales
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.task import validation_part


class FixedScales(TextExperiment):
    """The text experiment with hyper networks whose embeddings z are learned constants."""

    name = "text-fixed-scales"

    def make_model(self, config, record) -> CharacterModel:
        model = super().make_model(config, record)
        for cell in model.network.cells:
            cell.hyper.P.requires_grad_(False).zero_()
        return model


def losses(study: Path, result: Result, out: Path, data_dir: Path | None) -> dict[str, float]:
    """The validation losses of one seed."""
    config = from_json(TextConfig, result.settings, result.name)
    corpus = load_corpus(config.corpus, data_dir)
    model, _, _ = TEXT.load(study / "finals" / result.name)
    frozen = evaluate(with_frozen_scales(model, corpus.train), validation_part(config, corpus)).nats
    return {"moving": result.score, "frozen": frozen, "fixed": trained(config, corpus, out / result.name)}


def trained(config: TextConfig, corpus: Corpus, place: Path) -> float:
    """The validation loss of a run with fixed scales, trained or resumed in a folder."""
    experiment, label = FixedScales(), f"{place.name}, fixed"
    if (place / "config.json").exists():
        run = experiment.resume(place, corpus, label)
    else:
        run = experiment.train(place, config, corpus, label)
    return run.best_validation()[1]["validation_loss"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="the folder of a study, with its final runs")
    parser.add_argument("--network", default="hyper-lstm", help="a hyper network of the study")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all of the study")
    parser.add_argument("--out", type=Path, default=Path("runs/fixed-scales"))
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args(arguments)
    finals = {
        result.seed: result
        for result in read_results(given.study / RESULTS).values()
        if result.is_final and result.variant == given.network
    }
    seeds = given.seeds or sorted(finals)
    if not seeds or not set(seeds) <= set(finals):
        raise SystemExit(f"{given.study}: has final runs of {given.network} with seeds {sorted(finals)}")
    make_folder(given.out)
    found = {seed: losses(given.study, finals[seed], given.out, given.data_dir) for seed in seeds}
    write_whole(given.out / "fixed-scales.json", (json.dumps(found, indent=1) + "\n").encode())
    print(f"{given.network}, validation loss in nats over seeds {' '.join(map(str, seeds))}")
    moving = [found[seed]["moving"] for seed in seeds]
    for name in ("moving", "frozen", "fixed"):
        values = [found[seed][name] for seed in seeds]
        difference = f"  to moving: {paired_difference(values, moving).text(4)}" if name != "moving" else ""
        print(f"{name:<8}{spread(values, 4)}{difference}")


if __name__ == "__main__":
    main()

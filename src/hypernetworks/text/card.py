"""The model card of a trained text model: README.md, with a head in YAML that the Hub reads."""

from collections.abc import Mapping
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from hypernetworks.text.alphabet import symbol_name
from hypernetworks.text.data_sets import NAMED_SETS
from hypernetworks.text.evaluate import TextScore
from hypernetworks.text.published import Published

__all__ = ["model_card"]


class _Score(NamedTuple):
    """A score on a split."""

    nats: float
    """Of a symbol."""
    bits: float | None
    """Of a character, or byte."""


def model_card(shown: Published, name: str, load: str, license: str | None, test: TextScore | None) -> str:
    """The text of a card.

    Args:
        shown: what is published.
        name: of the model.
        load: the two lines that load it.
        license: of the weights, as the Hub names licences, for example "mit"; None: the card says that none is stated.
        test: the score on the test split, if it was measured.
    """
    network, unit = shown.config.model.network, shown.record["unit"]
    scores = {} if shown.validation is None else {"validation": _Score(shown.validation, shown.validation_bpc)}
    if test is not None:
        scores["test"] = _Score(test.nats, test.bpc)
    count = sum(tensor.numel() for tensor in shown.weights.values())
    parts = [
        f"---\n{_head(shown, name, license, scores)}\n---",
        f"# {name}",
        f"A language model of {unit}s: `{network}` with {count:,} parameters, trained with `hypernetworks`.",
        "## Use",
        "```sh\npip install 'hypernetworks[hub]'\n```",
        f"```python\n{load}\nprint(lm.generate(length=300))\n```",
        "## Training",
        _training(shown),
        "## Figures",
        _figures(shown, scores),
        "## Licence",
        f"{license}" if license else "The author has not stated a licence for these weights.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(shown: Published, name: str, license: str | None, scores: Mapping[str, _Score]) -> str:
    unit, data = shown.record["unit"], shown.config.corpus.removeprefix("./")
    measured = _measured(unit)
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=data,
            dataset_name=data,
            dataset_split=split,
            metric_type=f"bits-per-{measured}",
            metric_name=f"bits per {measured}",
            metric_value=round(score.bits, 4),
        )
        for split, score in scores.items()
        if score.bits is not None
    ]
    return ModelCardData(
        library_name="hypernetworks",
        pipeline_tag="text-generation",
        license=license,
        tags=["hypernetworks", shown.config.model.network, f"{unit}-level"],
        model_name=name,
        eval_results=results or None,
    ).to_yaml()


def _training(shown: Published) -> str:
    data, record, schedule = shown.config.corpus, shown.record, shown.config.schedule
    symbol = symbol_name(record["unit"])
    if data in NAMED_SETS:
        named = NAMED_SETS[data]
        what = f"The text is `{data}`: {named.what} (licence: {named.license})."
    else:
        what = f"The text is the author's own, `{data.removeprefix('./')}`."
    sizes = ", ".join(f"{split} {size:,}" for split, size in record.get("sizes", {}).items())
    changed = "" if shown.validation is not None else ", and were changed since"
    return (
        f"{what} It has {len(record['alphabet'])} different {symbol}s ({sizes} {symbol}s) "
        f"and the SHA-256 `{record['sha256']}`.\n\n"
        f"The weights are those of step {shown.step:,} of {schedule.steps:,}, with seed {schedule.seed}{changed}. "
        "`config.json` has all settings."
    )


def _figures(shown: Published, scores: Mapping[str, _Score]) -> str:
    symbol = symbol_name(shown.record["unit"])
    if not scores:
        return "None: they would be those of other weights."
    words = " A symbol is a word, or another character." if symbol == "symbol" else ""
    rows = [
        f"| {split} | {nats:.4f} | {'' if bits is None else f'{bits:.4f}'} |" for split, (nats, bits) in scores.items()
    ]
    first = shown.config.validation_characters
    part = f", here the first {first:,} of the validation split" if first and "validation" in scores else ""
    return "\n".join(
        [
            f"| split | nats per {symbol} | bits per {_measured(shown.record['unit'])} |",
            "|---|---|---|",
            *rows,
            "",
            f"The text is read as one stream from the zero state, and every {symbol} but the first is predicted once{part}."
            f"{words}",
        ]
    )


def _measured(unit: str) -> str:
    """What a text is measured in: of a model of words, the characters."""
    return "byte" if unit == "byte" else "character"

"""A model for others: the folder that is saved and uploaded, what its card says, and folders that are refused."""

import dataclasses
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.machine import processor
from hypernetworks.runs.run import Run
from hypernetworks.text import TrainedText
from hypernetworks.text.data_sets import NAMED_SETS

from ..docs.pages import DOCS, blocks
from ..small_run import SETTINGS, trained  # noqa: F401  (a fixture)

hub = pytest.importorskip("huggingface_hub")

OLD = Path(__file__).parents[1] / "old_runs" / "text"


@pytest.fixture
def run(trained: Path) -> Path:  # noqa: F811
    return trained


@pytest.fixture
def lm(run: Path) -> TrainedText:
    return hn.load(run)


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be uploaded: the arguments of each upload, with the folder's files and their contents."""
    made: list[dict[str, Any]] = []

    class Recorder:
        def __init__(self, token: str | None = None) -> None:
            self.token = token

        def create_repo(self, **given: Any) -> Any:
            made.append({"created": given["repo_id"], "private": given["private"]})
            return type("Url", (), {"repo_id": given["repo_id"]})

        def upload_folder(self, *, folder_path: Path, **given: Any) -> str:
            files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
            made.append({**given, "token": self.token, "files": files})
            return "https://a.hub/commit/1"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Recorder)
    return made


def head_of(card: str) -> dict[str, Any]:
    """The YAML before the text."""
    return hub.ModelCard(card).data.to_dict()


def test_a_saved_folder_is_the_model_again(
    lm: TrainedText, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm.save_pretrained(tmp_path / "mine")
    files = {path.name for path in (tmp_path / "mine").iterdir()}
    assert files == {"README.md", "config.json", "metrics.jsonl", "model.safetensors"}
    for again in (
        hn.load(tmp_path / "mine"),
        TrainedText.from_pretrained(tmp_path / "mine"),
        TrainedText.from_pretrained(str(tmp_path / "mine")),
    ):
        assert again.generate("7 is ", 40, seed=3) == lm.generate("7 is ", 40, seed=3)
        assert again.evaluate("7 is 49") == lm.evaluate("7 is 49")
        assert again.symbols == lm.symbols
        assert again.settings == dataclasses.replace(lm.settings, corpus="./toy.txt")
    assert Run.open(tmp_path / "mine").metrics() == Run.open(run).metrics()
    assert cli.main(["text", "generate", str(tmp_path / "mine"), "--length", "5", "--device", "cpu"]) == 0
    capsys.readouterr()
    with pytest.raises(UsageError, match=r"no data set, file or folder '\./toy\.txt'"):
        again.evaluate()
    given = ["--corpus", str(run.parent / "toy.txt"), "--out", str(tmp_path / "mine"), "--resume"]
    assert cli.main(["text", "train", *SETTINGS, *given]) == 2
    assert "trainer.pt: missing, although model.safetensors exists" in capsys.readouterr().err


def test_it_names_neither_the_machine_nor_its_folders(lm: TrainedText, run: Path, tmp_path: Path) -> None:
    own = (run / "config.json").read_text()
    assert str(run.parent) in own
    assert '"machine"' in own
    lm.save_pretrained(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert set(config) == {"experiment", "format", "settings", "corpus", "versions"}
    assert (config["settings"]["corpus"], config["corpus"]["source"]) == ("./toy.txt", "./toy.txt")
    for path in (tmp_path / "mine").iterdir():
        content = path.read_bytes()
        for secret in (str(run.parent), str(tmp_path), str(Path.home()), processor() or "?"):
            assert secret.encode() not in content, path.name


def test_it_is_saved_again_as_it_is(lm: TrainedText, tmp_path: Path) -> None:
    lm.save_pretrained(tmp_path / "one" / "mine")
    hn.load(tmp_path / "one" / "mine").save_pretrained(tmp_path / "two" / "mine")
    for path in (tmp_path / "one" / "mine").iterdir():
        assert (tmp_path / "two" / "mine" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_card_says_what_the_run_says(lm: TrainedText, run: Path, tmp_path: Path) -> None:
    test = lm.evaluate(split="test")
    lm.save_pretrained(tmp_path / "mine", license="mit", test=test)
    card = (tmp_path / "mine" / "README.md").read_text()
    step, figures = Run.open(run).best_validation()
    nats = figures["validation_loss"]
    assert f"| validation | {nats:.4f} | {nats / math.log(2):.4f} |" in card
    assert f"| test | {test.nats:.4f} | {test.bpc:.4f} |" in card
    assert f"step {step} of 2, with seed 0." in card
    assert f"`lstm` with {sum(p.numel() for p in lm.model.parameters()):,} parameters" in card
    assert "the author's own, `toy.txt`" in card
    head = head_of(card)
    assert head["library_name"] == "hypernetworks"
    assert head["pipeline_tag"] == "text-generation"
    assert head["license"] == "mit"
    results = {each["dataset"]["split"]: each["metrics"][0]["value"] for each in head["model-index"][0]["results"]}
    assert results == {"validation": round(nats / math.log(2), 4), "test": round(test.bpc, 4)}


def test_the_lines_that_load_it_run(lm: TrainedText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.save_pretrained(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    (code,) = [block.text for block in blocks(tmp_path / "mine" / "README.md") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["lm"].evaluate("7 is 49") == lm.evaluate("7 is 49")


def test_without_a_licence_the_card_says_so(lm: TrainedText, tmp_path: Path) -> None:
    lm.save_pretrained(tmp_path / "mine")
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "The author has not stated a licence" in card
    assert "license" not in head_of(card)
    assert "| test |" not in card


def test_the_text_of_a_named_set_has_its_licence(tmp_path: Path) -> None:
    """A run of an earlier format, whose record names files of another machine."""
    old = hn.load(OLD)
    assert "/tmp/old_data/ptb.train.txt" in (OLD / "config.json").read_text()
    old.save_pretrained(tmp_path / "mine")
    again = hn.load(tmp_path / "mine")
    assert again.settings == old.settings
    assert again.generate(length=20) == old.generate(length=20)
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert (config["format"], config["settings"]["corpus"]) == (2, "ptb-char")
    assert config["corpus"]["source"] == "ptb-char"
    card = (tmp_path / "mine" / "README.md").read_text()
    assert f"`ptb-char`: the Penn Treebank, by character (licence: {NAMED_SETS['ptb-char'].license})" in card
    assert (
        "It has 22 different characters (train 1,084, validation 290, test 290 characters) and the SHA-256 `906ebf"
        in card
    )
    assert "| validation | 3.0602 | 4.4149 |" in card


def test_changed_weights_are_saved_without_the_figures_of_others(lm: TrainedText, tmp_path: Path) -> None:
    with torch.no_grad():
        lm.model.head.bias[0] += 1
    lm.save_pretrained(tmp_path / "mine")
    again = hn.load(tmp_path / "mine")
    assert torch.equal(again.model.head.bias, lm.model.head.bias)
    again.save_pretrained(tmp_path / "more")
    for name in ("mine", "more"):
        assert not (tmp_path / name / "metrics.jsonl").exists()
        card = (tmp_path / name / "README.md").read_text()
        assert "and were changed since" in card
        assert "| validation |" not in card
        assert "model-index" not in head_of(card)


def test_what_would_be_uploaded_is_what_is_saved(
    lm: TrainedText, tmp_path: Path, uploads: list[dict[str, Any]]
) -> None:
    address = lm.push_to_hub("me/plays", license="mit", private=True, token="hf_1", commit_message="first")
    lm.save_pretrained(tmp_path / "plays", license="mit")
    assert address == "https://a.hub/commit/1"
    created, upload = uploads
    assert created == {"created": "me/plays", "private": True}
    assert (upload["repo_id"], upload["token"], upload["commit_message"]) == ("me/plays", "hf_1", "first")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "plays").iterdir()}
    card = upload["files"].pop("README.md").decode()
    assert card == saved.pop("README.md").decode().replace(
        'import hypernetworks as hn\n\nlm = hn.load("plays")',
        'from hypernetworks.text import TrainedText\n\nlm = TrainedText.from_pretrained("me/plays")',
    )
    assert upload["files"] == saved


def test_what_the_hub_has_is_loaded(lm: TrainedText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.save_pretrained(tmp_path / "cache")
    asked: list[Any] = []

    def download(name: str, **given: Any) -> str:
        asked.append((name, given))
        return str(tmp_path / "cache")

    monkeypatch.setattr("hypernetworks.text.hub.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    again = TrainedText.from_pretrained("me/plays", revision="v1")
    assert again.evaluate("7 is 49") == lm.evaluate("7 is 49")
    ((name, given),) = asked
    assert (name, given["revision"]) == ("me/plays", "v1")
    assert not [pattern for pattern in given["allow_patterns"] if Path("trainer.pt").match(pattern)]


def test_the_page_runs(
    run: Path, tmp_path: Path, uploads: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a Hub that has what the page wrote."""
    shutil.copytree(run, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    on_hub = {"OWNER/my-model": "my-model", "OWNER/net": "runs/net"}
    for place in ("hypernetworks.text.hub", "huggingface_hub"):  # the first imports from the second
        monkeypatch.setattr(f"{place}.snapshot_download", lambda name, **given: on_hub[name])
    uploaded = []
    monkeypatch.setattr(hub, "upload_folder", lambda **given: uploaded.append(given))
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(DOCS / "how-to" / "hub.md"):
        if block.language == "python":
            exec(block.text, names)
    assert uploaded == [{"repo_id": "OWNER/net", "folder_path": "runs/net"}]
    assert uploads[-1]["repo_id"] == "OWNER/my-model"
    ids = torch.randint(100, (7, 2))
    with torch.no_grad():
        torch.testing.assert_close(names["again"](ids), names["tagger"](ids), rtol=0, atol=0)


def test_what_is_not_on_the_hub_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FaultError, match=r"^me/none: no folder, and not fetched from the Hub: .+$"):
        TrainedText.from_pretrained("me/none", local_files_only=True, cache_dir=tmp_path / "cache")
    with pytest.raises(UsageError, match=r"^runs/no/such: no folder, and not the name of a model on the Hub"):
        TrainedText.from_pretrained("runs/no/such")
    with pytest.raises(UsageError, match="should be the name of a folder, got an empty text"):
        TrainedText.from_pretrained("")


def test_a_folder_that_holds_something_is_left_alone(lm: TrainedText, run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("of another model")
    with pytest.raises(UsageError, match=r"mine: holds other files \('config\.json', …\): give a new or empty folder$"):
        lm.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / "config.json").read_text() == "of another model"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["config.json"]
    with pytest.raises(UsageError, match=r"is a file, expected a folder"):
        lm.save_pretrained(tmp_path / "mine" / "config.json")
    with pytest.raises(UsageError, match="holds other files"):
        lm.save_pretrained(run)
    with pytest.raises(UsageError, match="should be the name of a folder, got an empty text"):
        lm.save_pretrained("")


def test_a_model_that_cannot_be_published_makes_no_repository(
    lm: TrainedText, tmp_path: Path, uploads: list[dict[str, Any]]
) -> None:
    with pytest.raises(UsageError, match="has no run that a card could describe"):
        TrainedText(lm.model, lm.settings, lm.symbols).push_to_hub("me/plays")
    with pytest.raises(UsageError, match="no such folder, expected a run"):
        TrainedText(lm.model, lm.settings, lm.symbols, tmp_path / "gone").push_to_hub("me/plays")
    for name in ("plays", "me/", "/plays"):
        with pytest.raises(UsageError, match=f"repo_id should be OWNER/NAME, got '{name}'"):
            lm.push_to_hub(name)
    assert uploads == []


DAMAGES = {
    "no config": "no config.json",
    "another class": r"not a run of hypernetworks text \(its config\.json says None\)",
    "no object": "config.json: holds a list, expected a JSON object",
    "cut short": r"model\.safetensors: not a whole safetensors file",
    "no model": "no model yet",
    "newer": "has format 3, written by a newer version; this one reads up to 2",
    "other settings": r"config\.json and model\.safetensors are not of the same run",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_line(damage: str, lm: TrainedText, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    lm.save_pretrained(folder)
    text, weights = (folder / "config.json").read_text(), (folder / "model.safetensors").read_bytes()
    match damage:
        case "no config":
            (folder / "config.json").unlink()
        case "another class":
            (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
        case "no object":
            (folder / "config.json").write_text("[]")
        case "cut short":
            (folder / "model.safetensors").write_bytes(weights[:-100])
        case "no model":
            (folder / "model.safetensors").unlink()
        case "newer":
            (folder / "config.json").write_text(text.replace('"format": 2', '"format": 3'))
        case "other settings":
            (folder / "config.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UsageError, match=DAMAGES[damage]) as refused:
        TrainedText.from_pretrained(folder)
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError) as refused:
        hn.load(folder)
    assert "\n" not in str(refused.value)


def test_without_the_extra_one_line_names_it(lm: TrainedText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.save_pretrained(tmp_path / "mine")
    for module in ("hypernetworks.text.hub", "hypernetworks.text.card"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr("hypernetworks.text.hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: lm.save_pretrained(tmp_path / "more"),
        lambda: lm.push_to_hub("me/plays"),
        lambda: TrainedText.from_pretrained("me/plays"),
    ):
        with pytest.raises(UsageError, match=r"^the Hub needs huggingface_hub: pip install 'hypernetworks\[hub\]'$"):
            call()
    assert not (tmp_path / "more").exists()
    assert TrainedText.from_pretrained(tmp_path / "mine").evaluate("7 is 49") == lm.evaluate("7 is 49")

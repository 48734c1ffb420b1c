"""The project's own files agree with each other: declared versions, workflows, citation."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from markdown_it import MarkdownIt

import hypernetworks

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def requirements(*extras):
    """Name and lower bound of each dependency, and of those of some extras."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return dict(line.partition(";")[0].split(">=") for line in lines)  # without the marker of a platform


def pins(name):
    """Name and version of each package that a file of constraints pins."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {each.lower(): version for line in lines if "==" in line for each, version in [line.split("==")]}


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def padded(version):
    return (*numbers(version), 0, 0, 0)[:4]


def test_the_lowest_versions_that_are_tested_are_the_declared_ones():
    declared = requirements("plot", "study", "tensorboard", "jax", "hub", "serve")
    assert {name: padded(version) for name, version in pins("constraints-lowest.txt").items()} == {
        name: padded(version) for name, version in declared.items()
    }


def test_the_pinned_versions_are_within_the_declared_ranges():
    pinned = pins("constraints.txt")
    for name, lowest in requirements("plot", "serve", "hub", "dev", "docs").items():
        assert padded(pinned[name]) >= padded(lowest), name


def test_the_version_is_in_one_place():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert "version" not in citation
    assert citation["license"] == PROJECT["license"]
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    files = [*ROOT.glob("*.*"), *(ROOT / "src").rglob("*.py"), *(ROOT / "docs").glob("*.*")]
    stated = f'"{hypernetworks.__version__}"'
    found = [
        path.name for path in files if path.is_file() and stated in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == ["__init__.py"]


FAULTY = {
    "filelock": "4.2.1",  # an earlier one lets a second machine into a held run
    "uvicorn": "0.32.1",  # does not notice a client that left
    "safetensors": "0.4.4",
    "rich": "14.3.1",
    "tyro": "1.0.0",
    "torch": "2.11",
    "hatchling": "1.26",
}
"""The lowest version with which the tests pass, or the archives are built."""


@pytest.mark.parametrize("name", FAULTY)
def test_no_version_is_declared_that_is_known_to_fail(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    built = dict(line.split(">=") for line in project["build-system"]["requires"])
    declared = requirements("plot", "study", "tensorboard", "jax", "serve") | built
    assert padded(declared[name]) >= padded(FAULTY[name])


def test_systems_agree():
    systems = {line.split(" :: ")[-1] for line in PROJECT["classifiers"] if line.startswith("Operating System")}
    assert systems == {"Linux", "MacOS"}
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert set(tests["jobs"]["test"]["strategy"]["matrix"]["os"]) == {"ubuntu-latest", "macos-latest"}
    assert "on Linux or macOS" in (ROOT / "README.md").read_text(encoding="utf-8")
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| (Linux|macOS|Windows) \| (supported|not tested)\.", start, re.MULTILINE)) == {
        "Linux": "supported",
        "macOS": "supported",
        "Windows": "not tested",
    }


def test_python_versions_agree():
    classifiers = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert set(tests["jobs"]["test"]["strategy"]["matrix"]["python"]) == classifiers
    assert min(classifiers, key=numbers) == PROJECT["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_well_formed_and_run_targets_that_exist(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow[True]  # YAML reads the key `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        needs = job.get("needs", [])
        assert set(needs if isinstance(needs, list) else [needs]) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.search(r"@[\w./]*v\d", step.get("uses", "@v1"))
            command = step.get("run", "")
            assert not command.startswith("make ") or command.split()[1] in targets


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_workflows_pass_actionlint():
    done = subprocess.run(
        ["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout


def test_templates_and_hooks_are_well_formed():
    for path in [
        ROOT / ".pre-commit-config.yaml",
        ROOT / ".clang-format",
        *(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"),
    ]:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)


def test_everything_that_the_source_archive_names_exists():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]["sdist"]
    assert [name for name in included["include"] if not (ROOT / name).exists()] == []
    assert "SECURITY.md" in included["include"]


def test_the_source_archive_has_all_that_the_documentation_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    pages = (ROOT / "docs").rglob("*.md")
    read = {
        (page.parent / path).resolve().relative_to(ROOT).parts[0]
        for page in pages
        for path in re.findall(r"\{(?:literalinclude|equation-code)\} (\S+)", page.read_text(encoding="utf-8"))
    }
    assert read >= {"src", "tests", "examples"}
    assert read <= set(included)


@pytest.fixture
def hook(monkeypatch):
    """The module that reads the README for the archives, without hatchling, which only builds have."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = SimpleNamespace
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative_links(text):
    targets = [
        child.attrGet("href") or child.attrGet("src") or ""
        for token in MarkdownIt().enable("table").parse(text)
        for child in token.children or []
    ]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("repository", ["", "https://example.org/them/it"])
def test_the_readme_of_an_index_has_no_link_that_leads_nowhere(hook, repository):
    assert "readme" in PROJECT["dynamic"]
    own = (ROOT / "README.md").read_text(encoding="utf-8")
    metadata = {"urls": {"Repository": repository}} if repository else {}
    hook.ReadmeHook(root=str(ROOT)).update(metadata)
    text = metadata["readme"]["text"]
    assert len(relative_links(own)) > 15
    assert relative_links(text) == []
    assert "arXiv 1609.09106](https://arxiv.org/abs/1609.09106)" in text
    start, picture = "[Start](docs/start.md)", "](docs/images/study.svg)"
    assert start in own and picture in own  # noqa: PT018
    if repository:
        assert f"[Start]({repository}/blob/HEAD/docs/start.md)" in text
        assert f"]({repository}/raw/HEAD/docs/images/study.svg)" in text
    else:
        assert "* Start: install" in text
        assert "![" not in text
    code = [token.content for token in MarkdownIt().parse(own) if token.type == "fence"]
    assert all(block in text for block in code)

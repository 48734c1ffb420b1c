"""The project's own files agree with each other: declared versions, workflows, citation."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

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
    declared = requirements("plot", "study", "tensorboard", "serve")
    assert {name: padded(version) for name, version in pins("constraints-lowest.txt").items()} == {
        name: padded(version) for name, version in declared.items()
    }


def test_the_pinned_versions_are_within_the_declared_ranges():
    pinned = pins("constraints.txt")
    for name, lowest in requirements("plot", "serve", "dev", "docs").items():
        assert padded(pinned[name]) >= padded(lowest), name


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hypernetworks.__version__
    assert citation["license"] == PROJECT["license"]


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
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
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

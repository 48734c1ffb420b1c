"""The page "What works" has a row for each architecture of the matrix."""

from pathlib import Path

from .comparison import GENERATORS
from .matrix import ARCHITECTURES, covering_cases

PAGE = Path(__file__).parents[3] / "docs" / "what-works.md"


def test_the_table_is_that_of_the_matrix():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    heads, _, *rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert heads[3 : 3 + len(GENERATORS)] == list(GENERATORS)
    assert [row[:2] for row in rows] == [[each.name, each.library] for each in ARCHITECTURES]
    assert {path for row in rows for path in row[3 : 3 + len(GENERATORS)]} == {"activations", "vmap"}


def test_the_part_of_the_matrix_has_each_architecture_and_each_generator_in_each_mode():
    cases = covering_cases()
    modes = {(case.train, case.per_sample) for case in cases}
    assert len(modes) == 4
    assert len({(case.architecture.name, case.train, case.per_sample) for case in cases}) == 4 * len(ARCHITECTURES)
    assert len({(case.generator, case.train, case.per_sample) for case in cases}) == 4 * len(GENERATORS)
    masked = [each for each in ARCHITECTURES if each.mask]
    for mask in (True, False):
        assert {case.architecture.name for case in cases if case.masked == mask and case.per_sample} >= {
            each.name for each in masked
        }

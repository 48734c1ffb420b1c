"""The command `hypernetworks text study`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from tyro.conf import OmitArgPrefixes

from hypernetworks.experiments.commands import check_chosen, preset_help, scan
from hypernetworks.experiments.experiment import find_preset
from hypernetworks.experiments.record import read_record
from hypernetworks.experiments.space import space_from_json
from hypernetworks.experiments.study import Study as Work
from hypernetworks.experiments.study_report import write_report
from hypernetworks.files import json_object, read_whole
from hypernetworks.runs.run import CONFIG_LIMIT
from hypernetworks.terminal import shown
from hypernetworks.text.config import TextConfig
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.study import STUDIES, STUDIES_IN_WORDS, StudySettings, plan_of

_DEFAULT = "tiny-shakespeare-350k"


@dataclass(frozen=True)
class Study:
    """Search the best settings of several networks of equal size, train each with several seeds, and compare them.

    Several processes may work on one study: start the same command with --resume once for each.
    """

    preset: Annotated[str, preset_help(STUDIES_IN_WORDS)] = _DEFAULT
    study: Annotated[StudySettings, OmitArgPrefixes] = field(default_factory=StudySettings)
    settings: Annotated[TextConfig, OmitArgPrefixes] = field(default_factory=TextConfig)
    space: Path | None = None
    """A JSON file with the search space, in place of the preset's: {"schedule.learning_rate": {"low": 0.001, "high": 0.01,
    "log": true}, "model.hyper_size": {"choices": [16, 32]}}."""
    out: Path = Path("runs/study")
    """The study's folder."""
    resume: bool = False
    """Continue the study in --out, or work on it together with other processes. A folder without a study gets a new one."""
    time: bool = False
    """When all runs have finished, measure how long a training step of each network takes. Nothing else should run then."""
    equal_time: tuple[str, ...] | None = None
    """When all runs have finished, train these networks again with as many steps as fit in the time of the slowest of them, as
    measured with --time."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""

    @classmethod
    def refused(cls) -> Mapping[str, str]:
        """The settings that are no flags of this command, and what to give instead."""
        return {
            "model.network": "give --networks",
            "model.hidden_size": "give --parameters",
            "schedule.seed": "give --seeds",
        }

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The command before its flags apply: with the settings of the preset."""
        preset = scan(arguments).preset or _DEFAULT
        study, settings, _ = find_preset(STUDIES, preset)
        return cls(preset=preset, study=study, settings=settings)

    def __call__(self) -> None:
        """Work on the study until it is finished, then write the report."""
        preset_settings, space = STUDIES[self.preset][1:]
        check_chosen("a study", self.refused(), [self.settings], preset_settings)
        if self.space is not None:
            space = space_from_json(json_object(read_whole(self.space, CONFIG_LIMIT), str(self.space)), str(self.space))
        data = TEXT.load_data(self.settings, self.data_dir)
        plan = plan_of(self.study, TEXT.settle(self.settings), space, len(data.alphabet))
        print(TEXT.describe_data(data))
        work = Work(TEXT, self.out, plan, data, self.resume)
        if self.equal_time is not None:
            work.check_equal_time(self.equal_time)
        work.work()
        if self.time:
            work.measure()
        if self.equal_time is not None:
            work.work_at_equal_time(self.equal_time)
        title = f"{data.name}, {self.study.parameters:,} parameters each"
        paths = write_report(TEXT, self.out, read_record(self.out), title)
        print(shown(paths[0].read_text(encoding="utf-8")))
        for line in work.narrow_ranges():
            print(line)
        print(f"study: {', '.join(map(str, paths))}")

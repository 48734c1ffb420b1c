"""study.json: the plan of the study in a folder. Its checksum marks search.db and every result as parts of that study."""

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypernetworks.errors import UsageError
from hypernetworks.experiments.config import from_json
from hypernetworks.experiments.experiment import Experiment, check_same_data
from hypernetworks.experiments.plan import SEARCH_SEED, Plan, plan_differences
from hypernetworks.experiments.results import RESULTS, Result
from hypernetworks.files import json_object, read_whole, write_whole
from hypernetworks.runs.run import CONFIG_LIMIT

__all__ = ["check_result", "claim_folder"]


def claim_folder(experiment: Experiment[Any, Any, Any], folder: Path, plan: Plan[Any], data: Any, resume: bool) -> str:
    """Write study.json for a new study, or check that it is this one's; the checksum of the study.

    Raises:
        UsageError: the folder holds a study and `resume` is False, or another study, or one of other data, or study.json is
            missing.
        FaultError: the file could not be read or written.
    """
    content = {"experiment": experiment.name, "plan": plan.to_json(), experiment.data_key: experiment.record(data)}
    found = _written(folder, experiment, json.loads(json.dumps(content)), data, resume)
    return sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def check_result(folder: Path, result: Result, plan: Plan[Any], study: str) -> None:
    """Check that a result is of the study with this plan and checksum.

    Raises:
        UsageError: it is of another study.
    """
    seeds = plan.seeds if result.is_final else (SEARCH_SEED,)
    if result.study not in ("", study) or result.variant not in plan.variants or result.seed not in seeds:
        raise UsageError(
            f"{folder}: {result.name}.json is a result of another study: remove it, and put back this study's own"
        )


def _written(
    folder: Path, experiment: Experiment[Any, Any, Any], content: dict[str, Any], data: Any, resume: bool
) -> dict[str, Any]:
    """What study.json holds; for a new study `content`."""
    path = folder / "study.json"
    if not path.exists():
        if any(folder.joinpath(name).exists() for name in ("search.db", RESULTS)):
            raise UsageError(f"{path}: missing, although the folder holds a study: put it back, or give another --out")
        if resume:
            print(f"{folder}: holds no study yet: starting one", file=sys.stderr)
        write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
        return content
    if not resume:
        raise UsageError(f"{folder}: already holds a study: give --resume to continue it, or another --out")
    try:
        found = json_object(read_whole(path, CONFIG_LIMIT), str(path))
    except UsageError as error:
        raise UsageError(f"{error}: put back the file, or give another --out") from error
    known, key = _in_this_version(found, experiment, path), experiment.data_key
    given = _with_place_of(content, known, experiment, path)
    match known:
        case {experiment.data_key: {"sha256": str()} as record} if not plan_differences(
            known | {key: {}}, given | {key: {}}
        ):
            check_same_data(folder, record, data)
            return found
    changed = plan_differences(known, given)
    raise UsageError(f"{folder}: holds another study: {changed}: give the same flags, or another --out")


def _in_this_version(found: dict[str, Any], experiment: Experiment[Any, Any, Any], path: Path) -> dict[str, Any]:
    """The content of study.json, with the settings that an earlier version did not have."""
    match found:
        case {"plan": {"settings": dict() as settings} as plan}:
            config: Any = from_json(experiment.config_type, settings, str(path))
            return found | {"plan": plan | {"settings": json.loads(json.dumps(asdict(config)))}}
    return found


def _with_place_of(
    content: dict[str, Any], found: dict[str, Any], experiment: Experiment[Any, Any, Any], path: Path
) -> dict[str, Any]:
    """`content`, with the path of the data that `found` has: data may be moved."""
    match found, content:
        case {"plan": {"settings": dict() as there}}, {"plan": {"settings": here} as plan}:
            own, given = (from_json(experiment.config_type, settings, str(path)) for settings in (there, here))
            settings: Any = experiment.with_place_of(given, own)
            return content | {"plan": plan | {"settings": json.loads(json.dumps(asdict(settings)))}}
    return content

"""Contract files: which of a directory are taken, and why the others are not, in no words of theirs."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.contract import Contract
from fleetmeter_rules.contracts import Defaults, overlaps, terms_of
from fleetmeter_workers.ledger.contracts import Refusal

_MOST_BYTES = 1024 * 1024
_MOST_PROBLEMS = 3

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class ContractFile:
    """One file of the directory: its place among the sorted names, from 1, and its bytes."""

    position: int
    content: bytes

    @property
    def short_hash(self) -> str:
        """The first eight hexadecimal digits of its SHA-256, to find it by `sha256sum`."""
        return hashlib.sha256(self.content).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a directory's files."""

    taken: tuple[Contract, ...]
    refused: tuple[Refusal, ...]


class _UnfitError(ValueError):
    """A file that holds no contract; the text is for people and repeats nothing of it."""


def stamp(directory: Path) -> Stamp:
    """What differs when a file was added, removed or replaced.

    A mounted Secret changes as a whole, by one link; elsewhere every file is looked at.
    """
    data = directory / "..data"
    if data.is_symlink():
        return ((str(data.readlink()), 0, 0),)
    found: list[tuple[str, int, int]] = []
    for path in _paths(directory):
        status = path.stat()
        found.append((str(path.relative_to(directory)), status.st_mtime_ns, status.st_size))
    return tuple(found)


def read(directory: Path) -> list[ContractFile]:
    """The directory's files, by name; raises OSError where one vanished meanwhile."""
    files: list[ContractFile] = []
    for position, path in enumerate(_paths(directory), start=1):
        with path.open("rb") as file:
            files.append(ContractFile(position, file.read(_MOST_BYTES + 1)))
    return files


def decide(files: Sequence[ContractFile], loaded: Mapping[str, Contract], region: Defaults) -> Decision:
    """Take the files that hold a contract which fits the others; `loaded` is the ledger's latest, by code.

    A file that contradicts another one is refused: the newcomer where the other is loaded already, else both.
    What was loaded stays in force, whatever becomes of its file.
    """
    candidates: dict[int, Contract] = {}
    reasons: dict[int, str] = {}
    for file in files:
        try:
            candidates[file.position] = _parse(file.content, loaded, region)
        except _UnfitError as error:
            reasons[file.position] = str(error)
    reasons |= _repeated(candidates)
    while True:
        fit = {position: contract for position, contract in candidates.items() if position not in reasons}
        clashes = _overlapping(fit, loaded)
        if not clashes:
            break
        reasons |= clashes
    taken = {contract.contract: contract for contract in fit.values()}
    hashes = {file.position: file.short_hash for file in files}
    refused = tuple(Refusal(position, hashes[position], reasons[position]) for position in sorted(reasons))
    return Decision(tuple(taken[code] for code in sorted(taken)), refused)


def _paths(directory: Path) -> Iterable[Path]:
    """Regular files below the directory by name; a mounted Secret's own links begin with a dot."""
    found: list[Path] = []
    for folder, folders, names in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _parse(content: bytes, loaded: Mapping[str, Contract], region: Defaults) -> Contract:
    if len(content) > _MOST_BYTES:
        raise _UnfitError("the file is larger than 1 MiB; one file holds one contract")
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise _UnfitError(f"the file is not YAML{where}; check indentation, quotes and encoding") from None
    if not isinstance(document, dict):
        raise _UnfitError(
            "the file holds no mapping; write `contract:`, `customer:`, `plan:` and `validFrom:` as keys"
        )
    try:
        contract = Contract.model_validate(document)
    except ValidationError as error:
        found = problems(error)
        more = f"; and {len(found) - _MOST_PROBLEMS} more" if len(found) > _MOST_PROBLEMS else ""
        raise _UnfitError("; ".join(found[:_MOST_PROBLEMS]) + more) from None
    try:
        terms_of(contract, region)
    except ValueError:
        raise _UnfitError(
            "anchorDay: it lies outside the region's interval; with Week it is 1 to 7"
        ) from None
    known = loaded.get(contract.contract)
    if known is not None and (known.time_zone, known.anchor_day) != (contract.time_zone, contract.anchor_day):
        # Its periods are cut already.
        raise _UnfitError(
            "timeZone, anchorDay: these of a contract never change; end it with validTo and start a new one"
        )
    if known is not None and known.customer.code != contract.customer.code:
        raise _UnfitError(
            "customer.code: the contract is another customer's in the ledger; give this one its own code"
        )
    return contract


def _repeated(candidates: Mapping[int, Contract]) -> dict[int, str]:
    """Files with one code and different terms: nobody can say which one holds."""
    by_code: dict[str, list[int]] = {}
    for position, contract in candidates.items():
        by_code.setdefault(contract.contract, []).append(position)
    reasons: dict[int, str] = {}
    for positions in by_code.values():
        if len({candidates[position].content_hash for position in positions}) > 1:
            for position in positions:
                others = ", ".join(str(other) for other in positions if other != position)
                reasons[position] = (
                    f"contract: file {others} has the same code and other terms; keep one of them"
                )
    return reasons


def _overlapping(fit: Mapping[int, Contract], loaded: Mapping[str, Contract]) -> dict[int, str]:
    """Files whose contract would bind a customer who is bound already; one that is loaded as it is stays."""
    positions: dict[str, list[int]] = {}
    for position, contract in fit.items():
        positions.setdefault(contract.contract, []).append(position)
    changed = {contract.contract for contract in fit.values() if loaded.get(contract.contract) != contract}
    in_force = dict(loaded) | {contract.contract: contract for contract in fit.values()}
    reasons: dict[int, str] = {}
    for clash in overlaps(in_force.values()):
        for code, other in ((clash.first, clash.second), (clash.second, clash.first)):
            if code not in changed:
                continue
            place = f"file {positions[other][0]}" if other in positions else "one that is loaded already"
            reason = f"validFrom, validTo: the customer has another contract at the same time ({place})"
            reasons |= dict.fromkeys(positions[code], f"{reason}; end one before the other begins")
    return reasons

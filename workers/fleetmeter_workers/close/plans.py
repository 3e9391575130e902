"""Plans and the seller, as their files give them to the close."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from fleetmeter_api.base import problems
from fleetmeter_api.contract import Seller
from fleetmeter_api.plan import PlanDocument


class DataError(Exception):
    """Something that the close was given cannot be right; the message holds nothing about a customer."""


def load_plans(directory: Path) -> dict[str, PlanDocument]:
    """A directory's plans by name. Raises DataError for a file that is no plan, or a plan given twice."""
    found: dict[str, PlanDocument] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            plan = PlanDocument.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"plan file {path.name} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise DataError(f"plan file {path.name}: {'; '.join(problems(error))}") from None
        if plan.name in found and found[plan.name] != plan:
            raise DataError(f"two files hold different contents of plan {plan.name}; mount one of them")
        found[plan.name] = plan
    return found


def load_seller(path: Path) -> Seller:
    """The seller of the region's invoices. Raises DataError, without the file's values."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the seller's file cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise DataError("the seller's file is not YAML") from None
    if not isinstance(document, Mapping):
        raise DataError("the seller's file must hold name, address, taxId and email")
    try:
        return Seller.model_validate(cast("Mapping[str, Any]", document))
    except ValidationError as error:
        raise DataError(f"the seller's file: {'; '.join(problems(error))}") from None

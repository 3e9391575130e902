"""A condition of a resource's status, as Kubernetes defines it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fleetmeter_api.base import Model
from fleetmeter_api.values import Count, Instant

ConditionStatus = Literal["True", "False", "Unknown"]

ConditionType = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$")]
Message = Annotated[str, StringConstraints(max_length=4096)]


class Condition(Model):
    """One observation about a resource."""

    type: ConditionType = Field(description="What is observed, for example Ready.")
    status: ConditionStatus = Field(description="Whether it holds: True, False or Unknown.")
    reason: Reason = Field(description="Why, in one CamelCase word that a program can match.")
    message: Message = Field(default="", description="Why, in a sentence that says what to do.")
    observed_generation: Count | None = Field(
        default=None, description="The generation of the spec that this was observed for."
    )
    last_transition_time: Instant = Field(description="When the status last changed.")

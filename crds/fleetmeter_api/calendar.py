"""Calendar: when a region's billing periods start and end."""

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, Strict

from fleetmeter_api.base import Model, Rule, immutable
from fleetmeter_api.values import Day, TimeZone

Interval = Literal["Month", "Week", "Day"]


def _starts_period(calendar: "Calendar", day: date) -> bool:
    if calendar.interval == "Day":
        return True
    if calendar.interval == "Week":
        return day.isoweekday() == calendar.anchor_day
    last_of_month = (day + timedelta(days=1)).day == 1
    return day.day == calendar.anchor_day or (day.day < calendar.anchor_day and last_of_month)


def _starts_period_cel(day: str) -> str:
    month = (
        f"({day}.getDayOfMonth() + 1 == self.anchorDay || ({day}.getDayOfMonth() + 1 < self.anchorDay"
        f" && ({day} + duration('24h')).getDayOfMonth() == 0))"
    )
    # CEL counts Sunday as 0; the anchor is the ISO weekday, where Sunday is 7.
    week = f"({day}.getDayOfWeek() + 6) % 7 + 1 == self.anchorDay"
    return f"self.interval == 'Month' ? {month} : (self.interval == 'Week' ? {week} : true)"


class Calendar(Model):
    """When billing periods start and end."""

    interval: Annotated[Interval, immutable("calendar.interval")] = Field(
        default="Month", description="How long a period is: Month, Week or Day."
    )
    time_zone: Annotated[TimeZone, immutable("calendar.timeZone")] = Field(
        default="UTC", description="The IANA time zone in which periods start at midnight."
    )
    anchor_day: Annotated[int, Strict(), Field(ge=1, le=31), immutable("calendar.anchorDay")] = Field(
        default=1,
        description="The day that starts a period: of the month, clamped to its end; of the week by ISO.",
    )
    first_period: Annotated[Day, immutable("calendar.firstPeriod")] = Field(
        description="The day on which the first period starts; from there on none is skipped."
    )
    last_period: Day | None = Field(
        default=None, description="The day on which the last period starts; absent while the region goes on."
    )

    RULES = (
        Rule(
            "!has(self.lastPeriod) || self.lastPeriod >= self.firstPeriod",
            "lastPeriod must not be before firstPeriod; both are the days on which a period starts",
            lambda calendar: calendar.last_period is None or calendar.last_period >= calendar.first_period,
        ),
        Rule(
            "self.anchorDay <= (self.interval == 'Month' ? 31 : (self.interval == 'Week' ? 7 : 1))",
            "with interval Week anchorDay is the ISO weekday, 1 (Monday) to 7; with Day leave it out",
            lambda calendar: calendar.anchor_day <= {"Month": 31, "Week": 7, "Day": 1}[calendar.interval],
        ),
        Rule(
            _starts_period_cel("self.firstPeriod"),
            "firstPeriod must be a day on which a period starts by interval and anchorDay",
            lambda calendar: _starts_period(calendar, calendar.first_period),
        ),
        Rule(
            f"!has(self.lastPeriod) || ({_starts_period_cel('self.lastPeriod')})",
            "lastPeriod must be a day on which a period starts by interval and anchorDay",
            lambda calendar: calendar.last_period is None or _starts_period(calendar, calendar.last_period),
        ),
        Rule(
            "!has(oldSelf.lastPeriod) || (has(self.lastPeriod) && self.lastPeriod >= oldSelf.lastPeriod)",
            "lastPeriod can be set or moved later, not removed or moved earlier; periods may already exist",
        ),
    )

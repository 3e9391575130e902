"""BillingPeriods from the region's calendar: every one that has begun, oldest first, none skipped."""

from __future__ import annotations

from datetime import datetime, timedelta

from fleetmeter_api.values import instant_text
from fleetmeter_operator.build import labels
from fleetmeter_operator.build.site import Object, Site
from fleetmeter_rules.calendar import Bounds, billing_periods, calendar_of, cut_off, period_name


def build_periods(site: Site, until: datetime) -> list[Object]:
    """The periods from the calendar's first to its last, or to the one that contains `until`."""
    spec = site.spec.calendar
    bounds = billing_periods(calendar_of(spec), spec.first_period, spec.last_period, until)
    return [_period(site, each) for each in bounds]


def _period(site: Site, bounds: Bounds) -> Object:
    """One period. `close` and `suspend` are left out: people own them, and the schema has their defaults."""
    name = period_name(site.name, bounds, site.spec.calendar.interval)
    grace = timedelta(seconds=site.spec.late_usage.grace_period_seconds)
    metadata = {
        "name": name,
        "namespace": site.namespace,
        "labels": labels.region_labels(site.name),
        "ownerReferences": [labels.owner("BillingRegion", site.name, site.uid)],
    }
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "BillingPeriod",
        "metadata": metadata,
        "spec": {
            "regionName": site.name,
            "start": instant_text(bounds.start),
            "end": instant_text(bounds.end),
            "cutOff": instant_text(cut_off(bounds, grace)),
        },
    }

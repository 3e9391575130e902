"""A region as builders see it."""

from collections.abc import Callable
from typing import Any

import pytest

from fleetmeter_api.region import Region
from fleetmeter_operator.build.site import Images, Site

IMAGES = Images("workers:1", "kafka:1", "postgres:1", "mosquitto:1", pull_secrets=("pull",))


@pytest.fixture
def site() -> Callable[..., Site]:
    """Builds a site; keyword arguments replace fields of the spec."""

    def build(name: str = "eu", images: Images = IMAGES, **spec: Any) -> Site:
        document = {
            "name": name,
            "spec": {
                "jurisdiction": "EU",
                "calendar": {"firstPeriod": "2023-01-01"},
                "metrics": [{"code": "messages", "kind": "Delta", "unit": "message"}],
                "contracts": {"secretNames": ["one", "two"]},
                "invoicing": {"sellerSecretName": "seller", "series": "EU"},
                "broker": {"type": "Embedded"},
                "store": {"type": "Embedded"},
                "mqtt": {"type": "Embedded"},
                "api": {"tokensSecretName": "tokens"},
                **spec,
            },
        }
        return Site(name, "fleet", "uid-1", Region.model_validate(document).spec, images)

    return build

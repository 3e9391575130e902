"""Device: spellings that are one device, and aliases that would show hardware."""

import pytest

from fleetmeter_rules.device import default_alias, device_uid, hardware_id


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("A81758FFFE04B1C1", "a81758fffe04b1c1"),
        ("a8:17:58:ff:fe:04:b1:c1", "a81758fffe04b1c1"),
        ("A8-17-58-FF-FE-04-B1-C1", "a81758fffe04b1c1"),
        ("AA:BB:CC:DD:EE:FF", "aabbccddeeff"),
        ("aabbccddeeff", "aabbccddeeff"),
        ("urn:dev:mac:AA-BB-CC-DD-EE-FF", "aabbccddeeff"),
        ("Pump 7", "Pump 7"),
        ("pump:7", "pump:7"),
        ("cafe\u0301", "café"),
        ("AA:BB-CC:DD:EE:FF", "AA:BB-CC:DD:EE:FF"),
    ],
)
def test_one_spelling(text: str, uid: str) -> None:
    assert device_uid(text) == uid
    assert device_uid(uid) == uid


@pytest.mark.parametrize("text", ["", " pump", "pump\n", "a\x00b", "a\u202eb", "\ud800", "x" * 256, "\u200b"])
def test_text_that_names_no_device(text: str) -> None:
    with pytest.raises(ValueError, match="device's identity"):
        device_uid(text)


@pytest.mark.parametrize(
    ("alias", "kind"),
    [
        ("490154203237518", "IMEI"),
        ("49-015420-323751-8", "IMEI"),
        ("490154203237519", None),
        ("89014103211118510720", "ICCID"),
        ("AA:BB:CC:DD:EE:FF", "MAC"),
        ("a81758fffe04b1c1", "EUI-64"),
        ("urn:imei:490154203237518", "URN of a hardware id"),
        ("device-3f2a9c11", None),
        ("Boiler room 2", None),
    ],
)
def test_hardware_ids_are_no_aliases(alias: str, kind: str | None) -> None:
    assert hardware_id(alias) == kind


def test_the_default_alias_is_a_pure_function_of_the_uid() -> None:
    assert default_alias("a81758fffe04b1c1") == default_alias("a81758fffe04b1c1")
    assert hardware_id(default_alias("a81758fffe04b1c1")) is None

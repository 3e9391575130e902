"""Contracts from the mounted directory: versions, refusals, and what neither of them may do."""

from pathlib import Path

import yaml


def _write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / f"{name}.yaml"
        path.with_suffix(".tmp.").write_text(text)
        path.with_suffix(".tmp.").rename(path)


def _contract(code: str, customer: str, **changes: object) -> str:
    document: dict[str, object] = {
        "contract": code,
        "customer": {"code": customer, "name": f"{customer} Ltd", "address": ["Road 1"]},
        "plan": "standard",
        "validFrom": "2023-01-01",
    }
    return yaml.safe_dump(document | changes)


def test_good_files_are_taken_and_bad_ones_named_without_their_values(api) -> None:
    secret = "Very Private Holding"
    _write(
        api.contracts,
        a_good=_contract("acme-1", "acme"),
        b_yaml=f"contract: [{secret}",
        c_list=f"- {secret}",
        d_field=_contract("beta-1", "beta", plan=secret, discount=secret),
        e_good=_contract("gamma-1", "gamma", plan="other"),
        f_missing=yaml.safe_dump({"contract": secret}),
    )
    found = api.await_contracts(loaded=2, refused=4)
    assert [each["contract"] for each in found["contracts"]] == ["acme-1", "gamma-1"]
    assert [each["position"] for each in found["refused"]] == [2, 3, 4, 6]
    assert secret not in str(found["refused"])
    assert "discount" in found["refused"][2]["reason"]
    status = api.status()
    assert status["contracts"]["loaded"] == 2
    assert status["contracts"]["refused"] == found["refused"]
    assert status["plansInUse"] == ["other", "standard"]
    assert "acme" not in str(status)
    assert secret not in str(status)


def _mount(directory: Path, secret: str, name: str, text: str) -> None:
    """A file as the kubelet shows a Secret's: a link through `..data` to a directory that is replaced."""
    folder = directory / secret
    folder.mkdir(exist_ok=True)
    data = folder / f"..{len(list(folder.iterdir()))}"
    data.mkdir()
    (data / name).write_text(text)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(Path("..data", name))


def test_files_of_one_name_in_two_secrets_are_two_contracts(api) -> None:
    _mount(api.contracts, "01", "contract.yaml", _contract("acme-1", "acme"))
    _mount(api.contracts, "02", "contract.yaml", _contract("beta-1", "beta"))
    found = api.await_contracts(loaded=2)
    assert [each["contract"] for each in found["contracts"]] == ["acme-1", "beta-1"]
    _mount(api.contracts, "02", "contract.yaml", "no contract")
    assert api.await_contracts(loaded=2, refused=1)["refused"][0]["position"] == 2


def test_a_changed_file_is_a_new_version_and_an_equal_one_is_not(api) -> None:
    _write(api.contracts, acme=_contract("acme-1", "acme"))
    first = api.await_contracts(loaded=1)["contracts"][0]
    assert first["version"] == 1
    _write(
        api.contracts, acme=_contract("acme-1", "acme", gracePeriodSeconds=3600), other=_contract("b", "b")
    )
    second = api.await_contracts(loaded=2)["contracts"][0]
    assert second["version"] == 2
    assert second["sha256"] != first["sha256"]
    # The same terms in other words are the same version.
    same = yaml.safe_load(_contract("acme-1", "acme", gracePeriodSeconds=3600))
    _write(
        api.contracts, acme="# a note\n" + yaml.safe_dump(same, sort_keys=False), third=_contract("c", "c")
    )
    assert api.await_contracts(loaded=3)["contracts"][0]["version"] == 2


def test_two_contracts_of_one_customer_may_not_overlap(api) -> None:
    _write(
        api.contracts,
        a=_contract("acme-1", "acme", validTo="2023-07-01"),
        b=_contract("acme-2", "acme", validFrom="2023-07-01"),
    )
    api.await_contracts(loaded=2)
    # A third overlaps the second, which is loaded: only the newcomer is refused.
    _write(api.contracts, c=_contract("acme-3", "acme", validFrom="2023-12-01"))
    refused = api.await_contracts(loaded=2, refused=1)["refused"][0]
    assert refused["position"] == 3
    assert "at the same time (file 2)" in refused["reason"]
    # Two newcomers that contradict each other: nobody can say which of them holds.
    _write(
        api.contracts, d=_contract("beta-1", "beta"), e=_contract("beta-2", "beta", validFrom="2024-01-01")
    )
    assert [each["position"] for each in api.await_contracts(loaded=2, refused=3)["refused"]] == [3, 4, 5]


def test_a_file_that_is_gone_ends_no_contract(api) -> None:
    _write(api.contracts, a=_contract("acme-1", "acme"), b="nonsense: [")
    api.await_contracts(loaded=1, refused=1)
    (api.contracts / "a.yaml").unlink()
    (api.contracts / "b.yaml").unlink()
    assert api.await_contracts(loaded=1, refused=0)["contracts"][0]["contract"] == "acme-1"


def test_one_code_twice_and_a_changed_customer_are_refused(api) -> None:
    _write(api.contracts, a=_contract("acme-1", "acme"))
    api.await_contracts(loaded=1)
    _write(
        api.contracts,
        a=_contract("acme-1", "other"),
        b=_contract("beta-1", "beta"),
        c=_contract("beta-1", "beta", plan="other"),
    )
    found = api.await_contracts(loaded=1, refused=3)
    assert found["contracts"][0]["customer"] == "acme"
    assert "another customer" in found["refused"][0]["reason"]
    assert "same code and other terms" in found["refused"][1]["reason"]


def test_a_contracts_calendar_never_changes(api) -> None:
    _write(api.contracts, a=_contract("acme-1", "acme", timeZone="Europe/Paris"))
    api.await_contracts(loaded=1)
    _write(api.contracts, a=_contract("acme-1", "acme", timeZone="Europe/Lisbon"))
    found = api.await_contracts(loaded=1, refused=1)
    assert found["contracts"][0]["version"] == 1
    assert "start a new one" in found["refused"][0]["reason"]
    _write(api.contracts, a=_contract("acme-1", "acme", timeZone="Europe/Paris", validTo="2023-07-01"))
    assert api.await_contracts(loaded=1)["contracts"][0]["version"] == 2

"""The invoice's page: what it shows is what the JSON says, and hostile text stays text."""

import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from tests.invoice_document import adjustment, invoice, line, share

from fleetmeter_workers.documents.page import render_page

_HOSTILE = "<script>alert('x')</script>\" onload=\"y & </td>"


class _Text(HTMLParser):
    """The visible text of a page, and every tag and attribute in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.parts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())


def _render(document: dict[str, Any]) -> str:
    return render_page(msgspec.json.encode(document))


def _cells(page: str, row_pattern: str) -> list[list[str]]:
    rows = re.findall(row_pattern, page, re.DOTALL)
    return [[cell.strip() for cell in re.findall(r"<td[^>]*>([^<]*)", row)] for row in rows]


def test_says_who_what_when_and_how() -> None:
    text = _Text(_render(invoice())).text
    for expected in (
        "Invoice number EU-000006",
        "Date of issue 4 July 2023",
        "Seller Ltd",
        "Acme",
        "€7.39 for June 2023",
        "739 usage events",
        "739 × €0.01",
        "739 messages",
        "From 1 June 2023, 00:00 (UTC+02:00) up to, but not including, 1 July 2023, 00:00 (UTC+02:00)",
        "before 4 July 2023, 00:00 (UTC+02:00) , 72 hours after the period's end",
        "standard, version 2023-01",
        "sha256:" + "ab" * 32,
    ):
        assert expected.replace(" ,", ",") in text.replace(" ,", ","), expected


def test_hostile_names_stay_text() -> None:
    party = {
        "name": _HOSTILE,
        "address": [_HOSTILE],
        "taxId": _HOSTILE,
        "email": f"{_HOSTILE}@x",
        "code": _HOSTILE,
    }
    one = line(description=_HOSTILE, unit=_HOSTILE, byDevice=[share(_HOSTILE, "739", "7.39")])
    plain = _Text(_render(invoice()))
    hostile = _Text(_render(invoice(seller=party, customer=party, contract=_HOSTILE, lines=[one])))
    assert set(hostile.tags) == set(plain.tags)
    assert "script" not in hostile.tags
    assert not any(name.startswith("on") for name, _ in hostile.attributes)
    assert hostile.text.count("<script>alert('x')</script>") >= 6


def test_page_needs_nothing_from_outside() -> None:
    page = _Text(_render(invoice()))
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert {value for name, value in page.attributes if name == "href"} == {
        "mailto:a%40b.example",
        "mailto:a%40b.example?subject=Invoice%20EU-000006",
    }
    assert "url(" not in _render(invoice())
    assert "@import" not in _render(invoice())


def test_same_json_gives_the_same_page() -> None:
    assert _render(invoice()) == _render(invoice())


def test_device_rows_are_the_json_and_add_up() -> None:
    shares = [share(f"device-{index:02}", "10.5", "0.07") for index in range(60)]
    one = line(quantity="630", exact="4.2", amount="4.20", devices=60, byDevice=shares)
    page = _render(invoice(lines=[one], subtotal="4.20", total="4.20"))
    rows = _cells(page, r"<tr(?: class=\"folded\")?><td class=\"break\">device-.*?</tr>")
    assert [row[0] for row in rows] == [each["device"] for each in shares]
    assert sum(Decimal(row[-1].removeprefix("€")) for row in rows) == Decimal("4.20")
    assert sum(Decimal(row[-2]) for row in rows) == Decimal(630)
    assert page.count('<tr class="folded">') == 52
    assert "Show 52 more devices" in page


@pytest.mark.parametrize("count", [1, 8, 10])
def test_a_short_device_list_is_not_folded(count: int) -> None:
    one = line(byDevice=[share(f"device-{index}", "1", "0.01") for index in range(count)])
    assert 'class="folded"' not in _render(invoice(lines=[one]))


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [
        ("JPY", "1234567", "¥1,234,567"),
        ("KWD", "1234.500", "KWD\N{NO-BREAK SPACE}1,234.500"),
        ("EUR", "-0.05", "\N{MINUS SIGN}€0.05"),
        ("USD", "123456789012345678901234567890.10", "$123,456,789,012,345,678,901,234,567,890.10"),
    ],
)
def test_amounts_keep_every_digit_of_their_currency(currency: str, amount: str, shown: str) -> None:
    one = line(
        tiers=[{"from": "0", "upTo": None, "quantity": "1", "unitPrice": amount, "amount": amount}],
        exact=amount,
        amount=amount,
        byDevice=[share("hut-door", "739", amount)],
    )
    page = _render(invoice(currency=currency, lines=[one], subtotal=amount, total=amount))
    cells = re.findall(r'<td class="num(?: title)?">([^<]*)</td>', page)
    assert cells.count(shown) == 6  # line, step, subtotal, total, device, sum of the devices


@pytest.mark.parametrize(
    ("model", "tier", "label", "product"),
    [
        ("Graduated", {"from": "0", "upTo": "1000"}, "First 1,000", "1,000 × €0.01"),
        (
            "Graduated",
            {"from": "1000", "upTo": "5000"},
            "Next units, above 1,000, up to 5,000",
            "1,000 × €0.01",
        ),
        ("Graduated", {"from": "5000", "upTo": None}, "Everything above 5,000", "1,000 × €0.01"),
        ("Volume", {"from": "0", "upTo": "5000"}, "All units, at the step up to 5,000", "1,000 × €0.01"),
        ("Volume", {"from": "0", "upTo": None, "flatFee": "5"}, "All units", "1,000 × €0.01 + €5.00"),
    ],
)
def test_tiers_read_as_a_person_counts(model: str, tier: dict[str, Any], label: str, product: str) -> None:
    priced = tier | {"quantity": "1000", "unitPrice": "0.01", "amount": "10"}
    page = _render(invoice(lines=[line(model=model, tiers=[priced])]))
    steps = _cells(page, r'<tr class="step[^"]*">.*?</tr>')
    assert steps == [[label, product, "€10.00"]]


def test_rounding_is_shown_only_where_it_changed_something() -> None:
    rounded = _Text(_render(invoice(lines=[line(exact="7.385", amount="7.39")]))).text
    assert "Exactly €7.385, rounded once" in rounded
    assert "rounded once" not in _Text(_render(invoice())).text


def test_nothing_used_is_an_invoice_too() -> None:
    one = line(quantity="0", events=0, devices=0, tiers=[], exact="0", amount="0.00", byDevice=[])
    text = _Text(_render(invoice(events=0, lines=[one], subtotal="0.00", total="0.00"))).text
    assert "€0.00 for June 2023" in text
    assert "There is nothing to pay" in text
    assert "Usage by device" not in text


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2023-06-09T22:00:00Z", "2023-07-09T22:00:00Z", "for 10 June 2023 – 9 July 2023"),
        ("2023-06-04T22:00:00Z", "2023-06-05T22:00:00Z", "for 5 June 2023"),
        ("2023-03-25T23:00:00Z", "2023-03-26T22:00:00Z", "for 26 March 2023"),
        ("2023-11-30T23:00:00Z", "2023-12-31T23:00:00Z", "for December 2023"),
    ],
)
def test_a_period_has_the_name_people_give_it(start: str, end: str, shown: str) -> None:
    period = invoice()["period"] | {"start": start, "end": end}
    assert shown in _Text(_render(invoice(period=period))).text


def test_late_usage_says_what_the_contract_says() -> None:
    for policy, words in (
        ("Grace", "set aside with its evidence"),
        ("Defer", "settled on a later invoice"),
        ("Reopen", "amended version"),
    ):
        period = invoice()["period"] | {"lateUsage": policy}
        assert words in _Text(_render(invoice(period=period))).text


def test_late_usage_names_its_month_and_what_was_invoiced_of_it() -> None:
    idle = adjustment(description="Active devices", measure="ActiveDevices", quantity="0", amount="0.00")
    late = [adjustment(), idle, adjustment(quantity="-2", amount="-0.02", byDevice=[])]
    text = _Text(_render(invoice(adjustments=late, total="7.49"))).text
    for words in (
        "Device messages, May 2023 12 messages €0.12",
        "Received late, after invoice EU-000004 · 12 events from 1 device · at prices of version 2023-01",
        "Invoiced before 988 messages €9.88 With this usage 1,000 messages €10.00",
        "Device messages, May 2023 −2 messages −€0.02 Taken back",
        "Charges of this period €7.39 Earlier periods €0.10 Total €7.49",
        "Device messages, May 2023 · the devices add up to the charge",
    ):
        assert words.replace("−", "\N{MINUS SIGN}") in text, words
    assert "Active devices" not in text


def test_an_amended_invoice_credits_what_it_replaces() -> None:
    amends = {"number": "EU-000004", "version": 1, "issueDate": "2023-07-04", "amount": "7.39"}
    more = invoice(version=2, revision=2, amends=amends, subtotal="7.51", total="0.12")
    text = _Text(_render(more)).text
    for words in (
        "Amended invoice Invoice number EU-000006",
        "Amends invoice EU-000004 of 4 July 2023",
        "€0.12 more for June 2023",
        "Charges, as amended €7.51 Charges of EU-000004, credited \N{MINUS SIGN}€7.39 Difference €0.12",
        "Invoice EU-000004 itself stays as it was sent.",
    ):
        assert words in text, words
    less = _Text(_render(more | {"subtotal": "7.00", "total": "-0.39"})).text
    assert "€0.39 less for June 2023" in less
    assert "€0.39 will be credited to you; there is nothing to pay." in less
    assert "IBAN" not in less


def test_what_is_no_invoice_is_refused_by_name() -> None:
    broken = invoice()
    del broken["total"]
    with pytest.raises(ValueError, match="total"):
        _render(broken)


def test_active_devices_show_the_events_that_made_them_active() -> None:
    shares = [share("a", "12.5", "2.00") | {"events": 3}, share("b", "7", "2.00") | {"events": 4}]
    tier = {"from": "0", "upTo": None, "quantity": "2", "unitPrice": "2", "flatFee": "0", "amount": "4"}
    one = line(measure="ActiveDevices", unit="devices", quantity="2", events=7, tiers=[tier], exact="4")
    page = _render(invoice(lines=[one | {"amount": "4.00", "byDevice": shares}]))
    assert "2 active devices" in page
    rows = _cells(page, r"<tr><td class=\"break\">[ab]<.*?</tr>")
    assert [row[-2] for row in rows] == ["3", "4"]
    assert re.search(r'<td class="num">7</td><td class="num">€4.00</td></tr></tfoot>', page)


def test_a_step_without_usage_or_fee_is_not_shown() -> None:
    used = {"from": "0", "upTo": "10", "quantity": "5", "unitPrice": "1", "flatFee": "0", "amount": "5"}
    unused = {"from": "10", "upTo": None, "quantity": "0", "unitPrice": "1", "flatFee": "0", "amount": "0"}
    page = _render(invoice(lines=[line(model="Graduated", tiers=[used, unused])]))
    assert _cells(page, r'<tr class="step[^"]*">.*?</tr>') == [["First 10", "5 × €1.00", "€5.00"]]

"""The invoice's page in a real browser: on a phone, on a desk, with the longest texts nothing overflows."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetmeter_cluster.needs import BROWSERS
from fleetmeter_workers.documents.page import render_page

PHONE, TABLET, DESK = 390, 768, 1280
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
FRAME = """<!doctype html><meta charset="utf-8"><title>measure</title>
<iframe id="page" style="width: WIDTHpx; height: 900px; border: 0"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  const width = page.documentElement.clientWidth;
  const wide = [...page.body.querySelectorAll("*")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width > 0 && (box.right > width + 0.5 || box.left < -0.5) && !each.closest(".wide");
  });
  const inner = [...page.querySelectorAll(".wide")].filter((each) => each.scrollWidth > each.clientWidth);
  const named = (each) => `${each.tagName}.${each.className}: ${each.textContent.trim().slice(0, 40)}`;
  const told = wide.map(named);
  document.getElementById("found").textContent = JSON.stringify({
    width, scrolled: page.documentElement.scrollWidth, text: page.body.innerText.length, wide: told,
    inner: inner.length,
  });
});
frame.srcdoc = PAGE;
</script>
"""


def invoice(**changes: Any) -> dict[str, Any]:
    """An invoice with a usual line and one with all that is long: names, amounts, tiers, devices."""
    shares = [share("hut-door", "18.40"), share("gate", "0.00")]
    tiers = [tier("0", "1000", "0.0100"), tier("1000", None, "0.0084")]
    return {
        "schema": "fleetmeter.io/invoice/v1",
        "number": "EU-000006",
        "version": 1,
        "series": "EU",
        "region": "eu",
        "jurisdiction": "EU",
        "issueDate": "2023-07-04",
        "currency": "EUR",
        "seller": {
            "name": "Seller Ltd",
            "address": ["1 Street", "City"],
            "taxId": "DE1",
            "email": "a@b.example",
        },
        "customer": {"code": "acme", "name": "Acme", "address": ["2 Road", "Town"], "taxId": None},
        "contract": "acme-1",
        "plan": {"name": "standard", "version": "2023-01", "hash": "ab12"},
        "period": {
            "billingPeriod": "eu-202306",
            "start": "2023-05-31T22:00:00Z",
            "end": "2023-06-30T22:00:00Z",
            "timeZone": "Europe/Paris",
            "cutOff": "2023-07-03T22:00:00Z",
            "graceSeconds": 259200,
            "lateUsage": "Grace",
        },
        "events": 2000,
        "lines": [line("messages", "Device messages", "18.40", tiers, shares)],
        "adjustments": [],
        "subtotal": "18.40",
        "total": "18.40",
        "snapshot": {"events": 2000, "digest": "sha256:" + "ab" * 32},
    } | changes


def adjustment(amount: str) -> dict[str, Any]:
    """Late usage of the month before, with a long name."""
    return {
        "billingPeriod": "eu-202305",
        "start": "2023-04-30T22:00:00Z",
        "end": "2023-05-31T22:00:00Z",
        "invoice": "EU-000004",
        "planVersion": "2023-01",
        "charge": "messages",
        "description": LONG_WORD,
        "metric": "messages",
        "quantity": amount,
        "bookedQuantity": "1",
        "bookedAmount": "0.01",
        "exact": amount,
        "amount": amount,
    }


def line(
    charge: str, description: str, amount: str, tiers: list[dict[str, Any]], shares: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "charge": charge,
        "description": description,
        "metric": charge,
        "unit": "message",
        "model": "Graduated",
        "measure": "Quantity",
        "quantity": "2000",
        "events": 2000,
        "devices": len(shares),
        "tiers": tiers,
        "exact": amount,
        "amount": amount,
        "byDevice": shares,
    }


def tier(start: str, end: str | None, price: str) -> dict[str, Any]:
    return {"from": start, "upTo": end, "quantity": "1000", "unitPrice": price, "amount": "9.20"}


def share(device: str, amount: str) -> dict[str, Any]:
    return {
        "device": device,
        "quantity": "1000",
        "events": 1000,
        "amount": amount,
        "firstEvent": "2023-05-31T22:00:00Z",
        "lastEvent": "2023-06-30T21:59:59.999999Z",
    }


def longest() -> dict[str, Any]:
    """What the schema still allows: words without a space, ten digits on both sides of every point."""
    huge, fine = "9999999999.99", "0.000000000001"
    tiers = [tier(str(start * 10**9), str((start + 1) * 10**9), fine) for start in range(9)]
    tiers = [each | {"quantity": "9999999999.9999999999", "amount": huge} for each in tiers]
    tiers[0]["flatFee"] = huge
    shares = [share(f"{LONG_WORD}-{number}"[:128], huge) for number in range(12)]
    shares = [each | {"quantity": "9999999999.9999999999"} for each in shares]
    long_line = line(LONG_WORD, LONG_WORD, huge, tiers, shares) | {
        "unit": LONG_WORD[:32],
        "quantity": "9999999999.9999999999",
        "exact": "9999999999.990000000001",
    }
    party = {
        "name": LONG_WORD,
        "address": [LONG_WORD, LONG_WORD],
        "taxId": LONG_WORD,
        "iban": "DE" + "0" * 32,
    }
    return invoice(
        number="EU-" + "9" * 12,
        seller=party | {"email": f"{LONG_WORD}@{LONG_WORD[:60]}.example"},
        customer=party | {"code": LONG_WORD},
        contract=LONG_WORD,
        lines=[long_line, *invoice()["lines"]],
        adjustments=[adjustment(f"-{huge}")],
        subtotal=huge,
        total=huge,
    )


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found is not None, "no Chromium is on the PATH: apt-get install --no-install-recommends chromium"
    return found


def measure(browser: str, folder: Path, page: str, width: int) -> dict[str, Any]:
    """What the browser says of the page in a frame of this width."""
    text = json.dumps(page).replace("</", "<\\/")
    frame = folder / f"frame-{width}.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", text), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1600,1000",
        "--virtual-time-budget=5000",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:]
    return json.loads(unescape(found[1]))


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
@pytest.mark.parametrize("document", [invoice(), longest()], ids=["usual", "longest"])
def test_nothing_overflows_sideways(
    browser: str, tmp_path: Path, document: dict[str, Any], width: int
) -> None:
    found = measure(browser, tmp_path, render_page(msgspec.json.encode(document)), width)
    assert found["text"] > 500
    assert (found["width"], found["scrolled"], found["wide"]) == (width, width, [])
    # A table of the longest numbers scrolls in itself; a usual one has no need to.
    assert found["inner"] == 0 or document["number"] != "EU-000006"


def test_a_page_that_overflows_is_found(browser: str, tmp_path: Path) -> None:
    """The measure itself: one word that cannot break."""
    page = f"<!doctype html><body><p style='white-space: nowrap'>{LONG_WORD * 3}</p>"
    found = measure(browser, tmp_path, page, PHONE)
    assert found["scrolled"] > PHONE

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
from tests.invoice_document import adjustment, invoice, line, share

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


def tier(start: str, end: str, quantity: str, price: str, amount: str) -> dict[str, Any]:
    return {"from": start, "upTo": end, "quantity": quantity, "unitPrice": price, "amount": amount}


def usual() -> dict[str, Any]:
    """Two tiers and two devices."""
    tiers = [tier("0", "1000", "1000", "0.0100", "10.00"), tier("1000", "2000", "1000", "0.0084", "8.40")]
    shares = [share("hut-door", "1000", "18.40"), share("gate", "1000", "0.00")]
    two = line(model="Graduated", quantity="2000", tiers=tiers, exact="18.4", amount="18.40", byDevice=shares)
    return invoice(lines=[two], subtotal="18.40", total="18.40")


def longest() -> dict[str, Any]:
    """What the schema still allows: words without a space, ten digits on both sides of every point."""
    huge, fine = "9999999999.99", "0.000000000001"
    quantity, exact = "9999999999.9999999999", "9999999999.990000000001"
    tiers = [tier(str(start * 10**9), str((start + 1) * 10**9), quantity, fine, huge) for start in range(9)]
    tiers[0]["flatFee"] = huge
    shares = [share(f"{LONG_WORD}-{number}"[:128], quantity, huge) for number in range(12)]
    long_line = line(
        charge=LONG_WORD,
        description=LONG_WORD,
        metric=LONG_WORD,
        unit=LONG_WORD[:32],
        model="Graduated",
        quantity=quantity,
        tiers=tiers,
        exact=exact,
        amount=huge,
        byDevice=shares,
    )
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
        lines=[long_line, line()],
        adjustments=[adjustment(description=LONG_WORD, quantity=f"-{huge}", amount=f"-{huge}")],
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
@pytest.mark.parametrize("document", [usual(), longest()], ids=["usual", "longest"])
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

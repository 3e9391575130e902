"""`fleetmeter review`: events that may belong to another month, and what a person decides about them."""

import json
from itertools import islice
from typing import Annotated, Any

import typer

from fleetmeter_cli.amount import number
from fleetmeter_cli.problem import Problem, told
from fleetmeter_cli.region_api import region_api
from fleetmeter_cli.table import Output, OutputOption, console, moment, show, show_json
from fleetmeter_rules.time_evidence import in_words

# A terminal of 80 columns shows an id whole, and the device below it.
_ID_WIDTH = 36

app = typer.Typer(
    help="Look at events whose time is too uncertain to tell their period, and decide.", no_args_is_help=True
)

PeriodOption = Annotated[
    str, typer.Option("--billing-period", "--period", help="The billing period, like eu-202301.")
]
ContractOption = Annotated[str | None, typer.Option("--contract", help="Only this contract's.")]
EventsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids as `review list` shows them.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that nobody has decided yet.")]


@app.command("list")
def list_reviews(
    context: typer.Context,
    billing_period: PeriodOption,
    contract: ContractOption = None,
    decided: Annotated[bool, typer.Option("--decided", help="Show decided events as well.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many events at most.")] = 50,
    output: OutputOption = Output.table,
) -> None:
    """List billed events that may have happened in a neighbouring period.

    Each is booked where its time lies; give or take what is shown, it may be the other period's.

    Example: fleetmeter --region eu review list --billing-period eu-202301
    """
    with told(), region_api(context) as api:
        query = {
            "billingPeriod": billing_period,
            "contract": contract,
            "decided": "true" if decided else None,
        }
        counts = api.get("/v1/reviews", limit="1", **query)
        found = list(islice(api.pages("/v1/reviews", "events", **query), limit))
    if output is Output.json:
        show_json({name: counts[name] for name in ("candidates", "undecided")} | {"events": found})
        return
    typer.echo(
        f"{billing_period}: {number(counts['candidates'])} events in doubt,"
        f" {number(counts['undecided'])} undecided."
    )
    if not found:
        return
    console().print()
    show(
        ("Event", "Time (UTC)", "Give or take", "May be"),
        [_row(each) for each in found],
        widths={"Event": _ID_WIDTH},
        empty="",
    )
    steps = [(each["id"], *_step(step)) for each in found for step in each["history"]]
    if steps:
        console().print()
        show(("Event", "Decision", "By", "At (UTC)"), steps, widths={"Event": _ID_WIDTH}, empty="")


@app.command("accept")
def accept(
    context: typer.Context,
    billing_period: PeriodOption,
    events: EventsArgument = None,
    everything: AllOption = False,
    contract: ContractOption = None,
) -> None:
    """Leave events where they are booked, by id or all of them. Safe to repeat.

    Example: fleetmeter --region eu review accept --billing-period eu-202301 --all
    """
    with told(), region_api(context) as api:
        body = _body(billing_period, contract, events, everything)
        done = api.post("/v1/reviews/accept", json.dumps(body).encode())
    _tell(done, "events accepted as booked")


@app.command("move")
def move(
    context: typer.Context,
    billing_period: PeriodOption,
    events: EventsArgument = None,
    everything: AllOption = False,
    contract: ContractOption = None,
    to: Annotated[
        str | None, typer.Option("--to", help="previous or next, where an event may belong to either.")
    ] = None,
) -> None:
    """Bill events in the neighbouring period instead. Safe to repeat.

    Refused where the neighbouring period is final: its invoice is sent.

    Example: fleetmeter --region eu review move --billing-period eu-202301 ID --to next
    """
    with told(), region_api(context) as api:
        if to not in (None, "previous", "next"):
            raise Problem("--to is neither previous nor next.", "Leave it out to let the uncertainty say.", 2)
        body = _body(billing_period, contract, events, everything)
        done = api.post("/v1/reviews/move", json.dumps(body | ({} if to is None else {"to": to})).encode())
    _tell(done, "events moved")


@app.command("undo")
def undo(
    context: typer.Context,
    billing_period: PeriodOption,
    events: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids as `review list --decided` shows them.")
    ],
) -> None:
    """Take back what was decided about events, so that each waits for a decision again. Safe to repeat.

    Both stay in the history, with name and time. Refused once a period that it concerns is final.

    Example: fleetmeter --region eu review undo --billing-period eu-202301 ID
    """
    with told(), region_api(context) as api:
        body = {"billingPeriod": billing_period, "events": events}
        done = api.post("/v1/reviews/undo", json.dumps(body).encode())
    _tell(done, "decisions taken back")


def _body(
    billing_period: str, contract: str | None, events: list[str] | None, everything: bool
) -> dict[str, Any]:
    if bool(events) == everything:
        raise Problem("Which events?", "Name their ids, or say --all.", 2)
    wish: dict[str, Any] = {"billingPeriod": billing_period}
    if contract is not None:
        wish["contract"] = contract
    return wish | ({"events": events} if events else {})


def _tell(done: dict[str, int], what: str) -> None:
    before = f" ({number(done['unchanged'])} had been before)" if done["unchanged"] else ""
    typer.echo(f"{number(done['decided'])} {what}{before}; {number(done['undecided'])} are undecided.")


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    words = in_words(each["evidence"]["quality"], each["evidence"]["flags"])
    return (
        f"{each['id']} {each['device']}",
        moment(each["eventAt"]),
        f"{_span(each['uncertaintySeconds'])}, {each['method'].replace('_', ' ')}: {words}",
        " or ".join(neighbour["billingPeriod"] for neighbour in each["neighbours"]),
    )


def _step(step: dict[str, Any]) -> tuple[str, ...]:
    what = f"moved to {step['movedTo']}" if step["movedTo"] else step["decision"]
    return what, step["actor"], moment(step["decidedAt"])


def _span(seconds: int) -> str:
    """A time in the largest unit that tells it to a tenth or so."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds} s"

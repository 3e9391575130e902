"""`make demo`: from nothing to invoices, on a real cluster."""

import sys
from pathlib import Path

import yaml
from rich.console import Console

from fleetmeter_api.region import Region
from fleetmeter_cluster import binaries, images, parts
from fleetmeter_cluster.failure import Failure
from fleetmeter_cluster.lifecycle import Cluster, load, up
from fleetmeter_cluster.progress import Step, Steps, await_true
from fleetmeter_cluster.site import EXAMPLES, LOADS, PROJECT, TRACES, Site, backfill_of

OUTPUT = PROJECT / "demo-output"
PERIODS = 9
IMAGES = images.PRODUCT
KINDS = "billingregions,billingperiods,pricingplans"


def prepare(steps: Steps, cluster: Cluster) -> Site:
    """Brings the images into the cluster and installs Fleetmeter."""
    site = Site(cluster.kubeconfig, cluster.private)
    references = load(cluster.name, IMAGES, steps)
    steps.run("helm install", lambda _: site.install(references))
    return site


def declare(steps: Steps, site: Site) -> None:
    """Applies the Secrets, the plans and the region, and waits until it is ready."""
    steps.run("contracts, seller and tokens as Secrets", lambda _: site.grant())
    steps.run("pricing plans", lambda _: site.apply((EXAMPLES / "plans.yaml").read_text()))
    steps.run("the region", lambda _: site.apply((EXAMPLES / "region.yaml").read_text()))
    steps.run("the region is ready", lambda step: await_ready(site, step))


def await_ready(site: Site, step: Step, seconds: float = 240) -> None:
    """Waits for the region's Ready condition and shows what it says meanwhile."""

    def ready() -> bool:
        status, message = site.condition("billingregion", site.region, "Ready")
        step.say(message or "Ready")
        return status == "True"

    await_true(ready, f"BillingRegion {site.region} to be Ready", seconds=seconds)


def replay(steps: Steps, site: Site) -> None:
    """Registers the devices, loads both traces as history and says that the history is complete."""
    steps.run(
        "register the devices", lambda _: site.fleetmeter("devices", "import", EXAMPLES / "devices.ndjson")
    )
    backfill = backfill_id()
    for adapter, trace in LOADS.items():
        steps.run(f"load {trace}", lambda _, a=adapter, t=trace: site.load(backfill, TRACES / t, a))
    steps.run("complete the backfill", lambda _: site.fleetmeter("backfill", "complete", backfill))


def backfill_id() -> str:
    """The backfill that the demo's region asks for."""
    return backfill_of(Region.from_resource(yaml.safe_load((EXAMPLES / "region.yaml").read_text())))


def await_final(site: Site, step: Step, periods: int = PERIODS, seconds: float = 300) -> None:
    """Waits until every period of the region is Final, and the region says so."""

    def final() -> bool:
        mine = [bp for bp in site.objects("billingperiods") if bp["spec"]["regionName"] == site.region]
        phases = {bp["metadata"]["name"]: bp.get("status", {}).get("phase", "Pending") for bp in mine}
        done = [name for name, phase in phases.items() if phase == "Final"]
        waiting = next((f"{name} is {phase}" for name, phase in phases.items() if phase != "Final"), "")
        step.say(f"{len(done)} of {periods} months are final; {waiting}")
        region = site.get("billingregion", site.region) or {}
        return len(done) == periods == region.get("status", {}).get("finalPeriods")

    await_true(final, f"{periods} final periods", seconds=seconds)


def show(site: Site, output: Path) -> None:
    """Prints what the cluster says, what its region's invoices are, and where to look."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    site.show([binaries.path("kubectl"), "-n", site.namespace, "get", KINDS])
    console.print()
    site.show(site.command("invoices", "list"))
    console.print(f"\nThe invoices, as JSON and as pages: {output}/")
    console.print(f"Look further:  export KUBECONFIG={site.kubeconfig}")
    console.print("               kubectl -n fleetmeter get br,bp,pp")
    console.print("Remove it all: make demo-down")


def main() -> int:
    """Runs the demo; 1 with the reason when a step failed, 130 when it was interrupted."""
    try:
        with Steps("Fleetmeter in a cluster") as steps:
            parts.bring(steps, IMAGES)
            site = prepare(steps, up("eu", progress=steps))
            declare(steps, site)
            replay(steps, site)
            steps.run("close nine months, oldest first", lambda step: await_final(site, step))
            steps.run("save the invoices", lambda _: site.fleetmeter("invoices", "save", OUTPUT))
        show(site, OUTPUT)
    except Failure as failure:
        sys.stderr.write(f"\nThe demo stopped: {failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nInterrupted. `make demo` goes on from here; `make demo-down` removes everything.\n"
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

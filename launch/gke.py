r"""Prints a JobSet that trains on TPU slices in GKE.

  python launch/gke.py --topology v5e:16x16 --slices 2 --image IMAGE \
    CONFIG --run gs://BUCKET/RUN [--any.field value ...] | kubectl apply -f -

CONFIG and all arguments after it are passed to `jaxmusic train`; the run folder and the dataset
must be in a bucket or on a volume that all pods see. The image is built from launch/Dockerfile. All
other settings are in launch/gke_jobset.yaml, the template that this script fills in.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import re
import string
from collections.abc import Sequence

CHIPS_PER_HOST = 4
ACCELERATORS = {
    "v4": ("tpu-v4-podslice", 3),
    "v5e": ("tpu-v5-lite-podslice", 2),
    "v5p": ("tpu-v5p-slice", 3),
    "v6e": ("tpu-v6e-slice", 2),
}
"""GKE's name of each TPU generation, and the number of dimensions of its topologies."""
SPOT = "cloud.google.com/gke-spot"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the filled-in JobSet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--topology", required=True, help="of one slice, as in v5e:16x16")
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--image", required=True, help="made from launch/Dockerfile")
    parser.add_argument("--name", default="jaxmusic", help="of the JobSet")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--service-account", default="default", help="that may write to the bucket")
    parser.add_argument("--restarts", type=int, default=100, help="of all pods, before it fails")
    parser.add_argument("--grace", type=int, default=300, help="seconds to save in before SIGKILL")
    parser.add_argument("--spot", action="store_true", help="use spot nodes")
    parser.add_argument("train", nargs=argparse.REMAINDER, metavar="CONFIG --run gs://...")
    options = parser.parse_args(argv)
    try:
        print(jobset(options), end="")
    except ValueError as error:
        parser.error(str(error))


def jobset(options: argparse.Namespace) -> str:
    """Returns the JobSet as YAML.

    Raises:
      ValueError: an option is wrong.
    """
    if not options.train or options.train[0].startswith("-"):
        raise ValueError("name a config after the options: launch/gke.py --topology ... CONFIG ...")
    if options.slices < 1:
        raise ValueError("--slices must be at least 1")
    # Names of child jobs and pods are derived from it and limited to 63 characters.
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", options.name):
        raise ValueError("--name must be up to 40 small letters, digits and dashes, a letter first")
    accelerator, topology, hosts = slice_of(options.topology)
    if options.slices > 1 and hosts == 1:
        raise ValueError("GKE joins slices of several hosts only; take a larger --topology")
    template = pathlib.Path(__file__).with_name("gke_jobset.yaml").read_text()
    # Each pod first restarts a crashed process a few times, which is quicker than new pods.
    command = ["jaxmusic", "train", *options.train, "--restarts", "3"]
    text = string.Template(template).substitute(
        name=options.name,
        namespace=options.namespace,
        restarts=options.restarts,
        slices=options.slices,
        hosts=hosts,
        grace=options.grace,
        service_account=options.service_account,
        accelerator=accelerator,
        topology=topology,
        chips=CHIPS_PER_HOST,
        image=json.dumps(options.image),
        # JSON is YAML and quotes all arguments; GKE would expand $(NAME) in them.
        command=json.dumps(command).replace("$(", "$$("),
    )
    return _on_spot_nodes(text) if options.spot else text


def slice_of(text: str) -> tuple[str, str, int]:
    """Parses a slice such as v5e:16x16 into GKE's accelerator, its topology and number of hosts.

    Raises:
      ValueError: the slice is unknown or has no whole number of hosts.
    """
    generation, _, topology = text.partition(":")
    if generation not in ACCELERATORS:
        raise ValueError(f"--topology must begin with one of {', '.join(ACCELERATORS)}, as v5e:4x4")
    accelerator, dimensions = ACCELERATORS[generation]
    sides = topology.split("x")
    if len(sides) != dimensions or not all(re.fullmatch("[1-9][0-9]*", side) for side in sides):
        example = "x".join(["4"] * dimensions)
        raise ValueError(f"a topology of {generation} has {dimensions} sides, as {example}")
    chips = math.prod(map(int, sides))
    if chips % CHIPS_PER_HOST:
        raise ValueError(f"{text} has {chips} chips, which are not whole hosts of {CHIPS_PER_HOST}")
    return accelerator, topology, chips // CHIPS_PER_HOST


def _on_spot_nodes(text: str) -> str:
    selector = "              nodeSelector:\n"
    tolerations = "              tolerations:\n"
    taint = f"{{key: {SPOT}, operator: Equal, value: 'true', effect: NoSchedule}}"
    return text.replace(selector, f"{selector}                {SPOT}: 'true'\n").replace(
        tolerations, f"{tolerations}                - {taint}\n"
    )


if __name__ == "__main__":
    main()

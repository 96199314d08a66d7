"""Some steps of one training run on any mesh and any number of processes, as a program.

Tests start it by `run`, as the number of devices and the width of floats are settled once for a
process. It trains as `train.trainer` does, but in float64, where rounding leaves twelve
digits alike, and prints each case's losses and rows as JSON.
"""

import hashlib
import json
import sys

import hosts_fakes

STEPS = 8


def case(mesh=(1, 1, 1, 1), accumulate=1, remat="products", **settings):
    """A way to compute; `settings` are those of the optimiser."""
    return {"mesh": mesh, "accumulate": accumulate, "remat": remat, "optimizer": settings}


def run(data_dir, cases, devices=8, processes=1):
    """Losses and rows of every case.

    Args:
      data_dir: holds the dataset `starter`.
      cases: what `case` makes.
      devices: of each process.
      processes: how many compute together.

    Returns:
      For each case {"losses": [steps], "rows": [steps][rows], "blocks": [processes], "dtypes"}; a
      row is a hash, a block which of how many blocks of rows a process has read, and the types are
      those of all floats of the state and the loss.
    """
    order = {"data_dir": str(data_dir), "devices": devices, "cases": cases}
    order |= {"processes": processes, "port": hosts_fakes.free_port()}
    results = hosts_fakes.printed(
        [sys.executable, __file__, json.dumps(order | {"process": i})] for i in range(processes)
    )
    return [_joined(parts) for parts in zip(*results, strict=True)]


def _joined(parts):
    """What the processes have seen together."""
    assert all(part["losses"] == parts[0]["losses"] for part in parts)
    blocks = {tuple(part["block"]): part["rows"] for part in parts}
    assert all(blocks[tuple(part["block"])] == part["rows"] for part in parts)
    assert sorted(blocks) == [(i, len(blocks)) for i in range(len(blocks))]
    steps = zip(*(blocks[block] for block in sorted(blocks)))
    rows = [[row for part in step for row in part] for step in steps]
    return parts[0] | {"rows": rows, "blocks": [part["block"] for part in parts]}


def main(order):
    """The life of one process."""
    import jax

    jax.config.update("jax_num_cpu_devices", order["devices"])
    jax.config.update("jax_enable_x64", True)
    if order["processes"] > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address = f"127.0.0.1:{order['port']}"
        jax.distributed.initialize(address, order["processes"], order["process"])
    for each in order["cases"]:
        print(json.dumps(train(order, **each)), flush=True)


def train(order, mesh, accumulate, remat, optimizer):
    """One case, in this process."""
    import math

    import jax

    from jaxmusic import config
    from jaxmusic._src.codecs.registry import make_codec
    from jaxmusic._src.data.loader import Loader
    from jaxmusic._src.models import sharding
    from jaxmusic._src.models.mesh import make_mesh
    from jaxmusic._src.train.step import Program

    settings = {"learning_rate": 1e-2, "warmup": 4, "spike": 6.0, "ema": 0.9}
    experiment = config.Experiment(
        data=config.Data(dataset="starter", data_dir=order["data_dir"], context=64, batch=16),
        model=config.Transformer(
            **dict(layers=2, width=32, heads=4, kv_heads=2, head_dim=8, hidden=48),
            **dict(dtype="float64", remat=remat),
        ),
        optimizer=config.Optimizer(**settings | optimizer),
        mesh=config.Mesh(*mesh),
        steps=STEPS,
        accumulate=accumulate,
        objective=config.CrossEntropy(z_loss=1e-4),
    )
    loader = Loader(experiment.data, make_codec(experiment.codec))
    codec = loader.codec
    mesh = make_mesh(experiment.mesh, jax.devices()[: math.prod(mesh)])
    program = Program(experiment, codec.vocab_size, codec.onset_tokens, mesh)
    shape = (experiment.data.batch, experiment.data.context)
    block = sharding.process_rows(program.batch, shape)
    batches = loader.iterate(0, *block)
    state, losses, rows = program.initial(), [], []
    for _ in range(STEPS):
        batch = next(batches)
        rows.append([hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in batch.events.token])
        placed = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(program.batch, x, shape), batch
        )
        with jax.transfer_guard("disallow"):
            state, metrics = program.train(state, placed)
        losses.append(float(metrics["nll"]) / float(metrics["weight"]))
    floats = [x for x in jax.tree.leaves((state, metrics["nll"])) if x.dtype.kind == "f"]
    dtypes = sorted({str(x.dtype) for x in floats})
    return {"losses": losses, "rows": rows, "block": block, "dtypes": dtypes}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Saves or restores a toy run on some mesh and makes a step: the processes of a test run this.

    train_meshes.py save|restore RUN DEVICES FSDP TENSOR [PROCESS COUNT PORT]

Prints a hash of the parameters and moments that it saved or restored, and the loss after them.
"""

import hashlib
import sys

import jax
import numpy as np

mode, folder, devices, fsdp, tensor, *cluster = sys.argv[1:]
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", int(devices))
if cluster:
    process, count, port = map(int, cluster)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", count, process, initialization_timeout=60)

import train_fakes as fakes  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

from jaxmusic import config  # noqa: E402
from jaxmusic.core import paths  # noqa: E402
from jaxmusic.models.mesh import make_mesh  # noqa: E402
from jaxmusic.runs import checkpoint  # noqa: E402
from jaxmusic.runs import folder as runs  # noqa: E402
from jaxmusic.train.step import make_program  # noqa: E402

experiment = fakes.experiment(
    data=config.Data(dataset="fake", context=16, batch=8),
    model=config.Transformer(layers=2, width=16, heads=2, kv_heads=2, head_dim=8, hidden=16),
    mesh=config.Mesh(fsdp=int(fsdp), tensor=int(tensor)),
)
loader = fakes.FakeLoader(experiment.data, fakes.codec(), seed=experiment.seed)
program = make_program(
    experiment, loader.codec.vocab_size, loader.codec.onset_tokens, make_mesh(experiment.mesh)
)
about = (loader.codec, loader.dataset, loader.manifest, loader.styles, loader.controls())
stored = runs.Stored(experiment, *about)
checkpoints = checkpoint.Checkpoints(paths.absolute(folder), stored)
batches = loader.iterate(0, jax.process_index(), jax.process_count())


def step(state):
    rows = jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(program.batch, x, (8, 16)), next(batches)
    )
    state, metrics = program.train(state, rows)
    return state, float(metrics["nll"])


if mode == "save":
    state = program.initial()
    for _ in range(2):
        state, _ = step(state)
    checkpoints.save(2, state, {"seconds": 1.5})
else:
    assert checkpoints.latest() == 2
    state, info = checkpoints.restore(2, program.state)
    assert info["step"] == 2 and info["seconds"] == 1.5
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(program.state), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)
    next(batches), next(batches)
whole = multihost_utils.process_allgather((state.params, state.opt_state, state.step), tiled=True)
content = hashlib.sha256()
for leaf in jax.tree.leaves(whole):
    content.update(np.ascontiguousarray(leaf).tobytes())
state, loss = step(state)
checkpoints.wait()
checkpoints.close()
print(content.hexdigest(), loss)

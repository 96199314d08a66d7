"""Takes a toy run a step further on some mesh: the processes of a test run this.

    train_meshes.py RUN STEPS DEVICES FSDP TENSOR [PROCESS COUNT PORT]

Restores the latest checkpoint if there is one, makes a step, saves it, and makes more steps without
saving until `STEPS` were made. Prints as JSON hashes of the parameters and moments that it began
with and that it saved, and the loss of each step.
"""

import hashlib
import json
import sys

import jax
import numpy as np

folder, steps, devices, fsdp, tensor, *cluster = sys.argv[1:]
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", int(devices))
if cluster:
    process, count, port = map(int, cluster)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", count, process, initialization_timeout=60)

import train_fakes as fakes  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

from jaxmusic import config  # noqa: E402
from jaxmusic._src.core import paths  # noqa: E402
from jaxmusic._src.models.mesh import make_mesh  # noqa: E402
from jaxmusic._src.runs import checkpoint  # noqa: E402
from jaxmusic._src.runs import folder as runs  # noqa: E402
from jaxmusic._src.train.step import Program  # noqa: E402

experiment = fakes.experiment(
    data=config.Data(dataset="fake", context=16, batch=8),
    model=config.Transformer(layers=2, width=16, heads=2, kv_heads=2, head_dim=8, hidden=16),
    mesh=config.Mesh(fsdp=int(fsdp), tensor=int(tensor)),
)
loader = fakes.FakeLoader(experiment.data, fakes.codec(), seed=experiment.seed)
program = Program(
    experiment, loader.codec.vocab_size, loader.codec.onset_tokens, make_mesh(experiment.mesh)
)
about = (loader.codec, loader.dataset, loader.manifest, loader.styles, loader.controls())
stored = runs.Stored(experiment, *about)
checkpoints = checkpoint.Checkpoints(paths.absolute(folder), stored)


def content(state):
    parts = (state.params, state.opt_state, state.step)
    whole = multihost_utils.process_allgather(parts, tiled=True)
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(whole):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


begin = runs.latest(folder)
if begin < 0:
    begin, state = 0, program.initial()
else:
    state, info = checkpoints.restore(begin, program.state)
    assert info["step"] == begin and info["seconds"] == 1.5
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(program.state), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)
found = {"began": content(state), "losses": []}
batches = loader.iterate(begin, jax.process_index(), jax.process_count())
for step in range(begin + 1, int(steps) + 1):
    rows = jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(program.batch, x, (8, 16)), next(batches)
    )
    state, metrics = program.train(state, rows)
    found["losses"].append(float(metrics["nll"]))
    if step == begin + 1:
        found["saved"] = content(state)
        checkpoints.save(step, state, {"seconds": 1.5})
checkpoints.wait()
checkpoints.close()
print(json.dumps(found))

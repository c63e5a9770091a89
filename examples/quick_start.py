"""quick_start.ipynb as a script: cells begin with `# %%`. `python -m docs.generate` writes the notebook."""

# %% [markdown]
# # bfpc in a notebook
#
# A network is compiled, verified and run. `model.onnx` and `pictures.npy` may be your own;
# `python examples/small_network.py` writes small ones.

# %%
from pathlib import Path

import numpy as np
from rich import print as show

import bfpc
from bfpc import tables
from bfpc.config import load_config
from bfpc.inspection import inspect
from bfpc.pipeline import compile_model
from bfpc.progress_bars import progress_bars
from bfpc.verify import verify

# %% [markdown]
# ## Compile
#
# A preset, or a YAML file as a `Path`, says the formats. Pictures or arrays calibrate their ranges.

# %%
with progress_bars() as progress:
    compile_model(Path("model.onnx"), load_config("int8"), Path("build"), Path("pictures.npy"), progress=progress)
show(tables.summary(inspect(Path("build"))))

# %% [markdown]
# ## Verify
#
# Every layer and output beside the original network in onnxruntime. `csim=True` also compiles the C++ and demands the
# same bits.

# %%
found = verify(Path("build"), Path("pictures.npy"))
show(tables.verification(found))

# %% [markdown]
# ## Run
#
# As onnxruntime runs a model.

# %%
session = bfpc.load("build")
[scores] = session.run({session.get_inputs()[0].name: np.load("pictures.npy")})
scores.argmax(axis=1)

"""No call in the source could run code that a file holds; where one starts a program or imports by name, it is here."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.errors.provoke import SOURCES

# Calls, or arguments of calls, that run what they are given, and who may make them.
RUNS = {
    "eval": set[str](),
    "exec": set[str](),
    "yaml.load": set[str](),
    "os.system": set[str](),
    "register_custom_ops_library": set[str](),
    "np.load": {"bfpc/array_files.py"},  # without objects, see below
    "torch.load": {"bfpc/training/checkpoints.py"},  # tensors only, see below
    "pickle.loads": {"bfpc/jobs.py"},  # what this program wrote for its own workers
    # Functions that a user names, those of a build only with --trust; what bfpc doctor looks for.
    "import_module": {"bfpc/measures/hook.py", "bfpc/doctor.py"},
    # Make, and what it built of sources made anew; the tools that bfpc doctor asks for their versions.
    "subprocess.run": {"bfpc/runtime/simulation.py", "bfpc/doctor.py"},
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((SOURCES / "bfpc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(SOURCES).as_posix(), node


def test_what_could_run_code_is_called_only_where_that_is_safe() -> None:
    found: dict[str, set[str]] = {name: set() for name in RUNS}
    for file, call in calls():
        name = ast.unparse(call.func)
        for dangerous in (name, name.rpartition(".")[2]):
            if dangerous in found:
                found[dangerous].add(file)
    assert found == RUNS


def test_files_of_others_are_read_without_objects() -> None:
    given = {
        (ast.unparse(call.func), keyword.arg, ast.unparse(keyword.value))
        for _, call in calls()
        for keyword in call.keywords
    }
    assert ("np.load", "allow_pickle", "False") in given
    assert ("torch.load", "weights_only", "True") in given
    assert not [
        each for each in given if each[1:] in (("allow_pickle", "True"), ("weights_only", "False"), ("shell", "True"))
    ]

"""The shape of the house: who may import whom, how long a room may be, what help may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "clue_runner"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts)

# Arrows never point up: a layer imports itself and what stands before it.
LAYERS = [
    {"errors"},
    {"console"},
    {"config"},
    {"files"},
    {"runs"},
    {"data"},
    {"metrics", "submission"},
    {"tokens", "models"},
    {"architectures"},
    {"checkpoints"},
    {"engines"},
    {"adapters"},
    {"training"},
    {"memory", "reports", "suites", "probe"},
    {"commands"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FACE = {"__init__", "__main__", "api"}  # the package's face: lazy, stands above all layers

TENSORFLOW_FILES = {
    "engines/tensorflow.py",
    "engines/tensorflow_inference.py",
    "engines/tensorflow_variables.py",
    "checkpoints/formats/google.py",
    "models/dropout.py",
    "models/loops.py",
    "models/recompute.py",
}
JAX_FILES = {
    "engines/jax.py",
    "engines/jax_devices.py",
    "engines/jax_inference.py",
    "engines/devices.py",
    "models/attention_forms.py",
    "models/dropout.py",
    "models/recompute.py",
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, node.module)]
            if node.module == "clue_runner":
                found += [(node.lineno, f"clue_runner.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_never_point_up(path: Path) -> None:
    own = room(path)
    if own in FACE:
        return
    assert own in RANK, f"{own} is not a room of the house: give it a layer"
    wrong = []
    for line, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] == "clue_runner" and len(parts) > 1 and parts[1] in RANK and RANK[parts[1]] > RANK[own]:
            wrong.append(f"{path}:{line} {own} imports {name}")
    assert not wrong


def test_adapters_ask_engines_for_settings_alone() -> None:
    """What a rule and a technique can be set to is read in one file; no kind of task knows an engine."""
    asked = {
        (relative(path), name)
        for path in FILES
        if room(path) == "adapters"
        for _, name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("clue_runner.engines")
    }
    rooms = ("clue_runner.engines.rules", "clue_runner.engines.techniques")
    assert asked == {("adapters/sections.py", name) for name in rooms}


def file_of(name: str) -> Path | None:
    """Return the file of a module of ours, None for a name inside a module or a foreign one."""
    parts = name.split(".")
    if parts[0] != "clue_runner" or len(parts) == 1:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported_files(path: Path) -> set[Path]:
    """Return the files of ours that a file imports, wherever in it."""
    files = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            files |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {file_of(f"{node.module}.{alias.name}") for alias in node.names}
            files |= inner if inner - {None} else {file_of(node.module)}
    return {file for file in files if file is not None}


@pytest.mark.parametrize("name", ["data", "files"])
def test_a_room_has_no_circle_of_files(name: str) -> None:
    graph = {path: imported_files(path) for path in FILES if room(path) == name}
    while free := {path for path, needs in graph.items() if not needs & graph.keys()}:
        graph = {path: needs for path, needs in graph.items() if path not in free}
    assert not graph, f"these files import one another: {', '.join(map(relative, graph))}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES if room(path) == "data"}))
def test_a_folder_of_the_data_room_has_one_job(folder: Path) -> None:
    files = [path for path in FILES if path.parent == folder]
    assert len(files) <= 20
    assert sum(len(path.read_text(encoding="utf-8").split("\n")) for path in files) <= 2_500


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_backends_are_imported_in_their_rooms_only(path: Path) -> None:
    names = {name.split(".")[0] for _, name in imported(ast.parse(path.read_text(encoding="utf-8")))}
    if relative(path) not in TENSORFLOW_FILES:
        assert "tensorflow" not in names
    if relative(path) not in JAX_FILES:
        assert "jax" not in names


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.split("\n")) <= 401, "a file over 400 lines holds a second job"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_module_opens_with_its_contract(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and docstring.splitlines()[0].endswith(".")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_the_console_prints(path: Path) -> None:
    if path.name == "console.py":
        return
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not calls


def loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a ``clue`` command leaves loaded."""
    program = (
        "import sys\n"
        "from clue_runner.cli.main import main\n"
        f"sys.argv = ['clue', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('LOADED ' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stderr.rsplit("LOADED ", 1)[1].split())


HEAVY = {"tensorflow", "jax", "keras", "sklearn", "torch", "transformers"}


def test_help_imports_click_alone() -> None:
    loaded = loaded_by("--help")
    assert "click" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic", "yaml", "rich", "tokenizers", "pooch"})


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks",),
        ("tasks", "show", "afqmc"),
        ("models",),
        ("data", "check", "afqmc", "--from", "sample"),
        ("data", "stats", "afqmc", "--from", "sample"),
        ("config", "show", "--task", "afqmc"),
        ("submit", "check", "no-such-folder"),
        ("report", "tests/goldens/runs/v1/finished", "--data", "no-such-data"),
        ("compare", "no-such-run", "another"),
        ("bench", "plan", "smoke"),
        ("train", "--task", "afqcm"),
        ("train", "--task", "afqmc", "--data", "sample", "--dry-run"),
    ],
    ids=" ".join,
)
def test_light_commands_load_no_backend(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & HEAVY

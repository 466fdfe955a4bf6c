"""The building's order: who may import whom, and that a bare `import crossaisle` costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ["data", "prompts", "retrieval", "llm", "recommend", "eval", "train", "app"]
HEAVY = {
    "torch", "transformers", "chromadb", "polars", "scipy", "sentence_transformers", "bitsandbytes", "gguf", "jinja2",
    "peft", "accelerate", "sqlalchemy", "fastapi", "uvicorn", "nicegui", "lightgbm", "torch_geometric", "matplotlib", "openai",
    "sacrebleu", "rouge_score",
}  # fmt: skip
FILES = [ROOT / "__init__.py", *sorted(file for floor in FLOORS for file in (ROOT / floor).rglob("*.py"))]


def module_of(file: Path) -> tuple[str, ...]:
    """`("data", "workspace")`; a package is named by its folder, the root by ()."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def target(file: Path, node: ast.ImportFrom) -> tuple[str, ...]:
    """The module that a relative import names, as `module_of` would."""
    package = module_of(file) if file.name == "__init__.py" else module_of(file)[:-1]
    assert node.level - 1 <= len(package), f"{file}:{node.lineno} climbs out of the package"
    base = package[: len(package) - (node.level - 1)]
    return (*base, *(node.module.split(".") if node.module else ()))


def absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement names in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [str(node.module)]


def is_typing_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(body: list[ast.stmt], *, deep: bool, guarded: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; `deep` goes into functions, `guarded` into `if TYPE_CHECKING`."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif is_typing_guard(node) and not guarded:
            yield from imports(node.orelse, deep=deep, guarded=guarded)  # type: ignore[attr-defined]
        elif deep or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers"):
                for child in getattr(node, field, []):
                    yield from imports(child.body if isinstance(child, ast.ExceptHandler) else [child], deep=deep, guarded=guarded)


def tree(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text("utf-8"), str(file)).body


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 20
    assert {module_of(file)[0] for file in FILES[1:]} == set(FLOORS)


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: str(file.relative_to(ROOT)))
def test_a_folder_imports_only_from_the_folders_above_it(file: Path) -> None:
    own = module_of(file)[0]
    allowed = set(FLOORS[: FLOORS.index(own) + 1])
    if own in ("retrieval", "llm"):
        allowed -= {"retrieval", "llm"} - {own}
    for node in imports(tree(file), deep=True, guarded=True):
        if isinstance(node, ast.ImportFrom) and node.level:
            found = target(file, node)
            # `from .. import prompts` names folders after the word import; other names there belong to the root's face.
            folders = {found[0]} if found else {alias.name for alias in node.names}
            for folder in folders & set(FLOORS):
                assert folder in allowed, f"{file}:{node.lineno}: {own} imports from {folder}"
            assert folders & set(FLOORS) or folders <= {"__version__"}, f"{file}:{node.lineno} imports from the root's face"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_inside_the_package_imports_are_relative(file: Path) -> None:
    for node in imports(tree(file), deep=True, guarded=True):
        for name in absolute(node):
            assert name.split(".")[0] not in {"crossaisle", *FLOORS}, f"{file}:{node.lineno}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_heavy_is_imported_by_a_module_itself(file: Path) -> None:
    for node in imports(tree(file), deep=False, guarded=False):
        heavy = {name.split(".")[0] for name in absolute(node)} & HEAVY
        assert not heavy, f"{file}:{node.lineno}: {heavy} at module level"


def test_modules_import_each_other_in_no_circle() -> None:
    modules = {module_of(file): file for file in FILES}
    edges: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name, file in modules.items():
        edges[name] = set()
        for node in imports(tree(file), deep=False, guarded=False):
            if isinstance(node, ast.ImportFrom) and node.level:
                found = target(file, node)
                for alias in node.names:
                    edges[name].add((*found, alias.name) if (*found, alias.name) in modules else found)
        edges[name] -= {name, ()}
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], way: tuple[tuple[str, ...], ...]) -> None:
        assert name not in way, "a circle: " + " -> ".join(".".join(step) for step in (*way[way.index(name) :], name))
        if name not in done:
            for following in edges[name]:
                visit(following, (*way, name))
            done.add(name)

    assert sum(map(len, edges.values())) > 20
    for name in modules:
        visit(name, ())


def test_no_drawers() -> None:
    assert not [file for file in FILES if file.stem in ("utils", "util", "helpers", "helper", "common", "misc", "manager")]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, crossaisle; dir(crossaisle); print(sorted({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    loaded = set(ast.literal_eval(run.stdout))
    assert "crossaisle" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic", "typer", "rich"})


def test_every_public_name_can_be_had() -> None:
    import crossaisle

    for name in crossaisle.__all__:
        assert getattr(crossaisle, name) is not None
    with pytest.raises(AttributeError, match="it has CrossaisleError, "):
        _ = crossaisle.Recomender  # type: ignore[attr-defined]

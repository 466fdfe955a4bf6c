"""Layering: which package may import which, no import cycles, nothing heavy at module level, a cheap `import crossaisle`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["data", "prompts", "retrieval", "llm", "recommend", "eval", "train", "app"]
HEAVY = {
    "torch", "transformers", "chromadb", "polars", "scipy", "sentence_transformers", "bitsandbytes", "gguf", "jinja2",
    "peft", "accelerate", "sqlalchemy", "fastapi", "uvicorn", "nicegui", "lightgbm", "torch_geometric", "matplotlib", "openai",
}  # fmt: skip
SERVER_ONLY = {"fastapi", "jinja2"}
"""Allowed at module level in app/api: only `crossaisle serve` imports it, and route functions need FastAPI when they are defined."""
FILES = [ROOT / "__init__.py", *sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py"))]


def module_of(file: Path) -> tuple[str, ...]:
    """`("data", "workspace")`; a package is named by its folder, the root by ()."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def target(file: Path, node: ast.ImportFrom) -> tuple[str, ...]:
    """The absolute module of a relative import, in the form of `module_of`."""
    package = module_of(file) if file.name == "__init__.py" else module_of(file)[:-1]
    assert node.level - 1 <= len(package), f"{file}:{node.lineno} goes above the package"
    base = package[: len(package) - (node.level - 1)]
    return (*base, *(node.module.split(".") if node.module else ()))


def absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that an absolute import names."""
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


def test_every_layer_has_modules() -> None:
    assert len(FILES) > 20
    assert {module_of(file)[0] for file in FILES[1:]} == set(LAYERS)


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: str(file.relative_to(ROOT)))
def test_a_layer_imports_only_from_lower_layers(file: Path) -> None:
    own = module_of(file)[0]
    allowed = set(LAYERS[: LAYERS.index(own) + 1])
    if own in ("retrieval", "llm"):
        allowed -= {"retrieval", "llm"} - {own}
    for node in imports(tree(file), deep=True, guarded=True):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = target(file, node)
            # `from .. import prompts` names packages after the word import; other names there belong to the root `__init__.py`.
            folders = {base[0]} if base else {alias.name for alias in node.names}
            for folder in folders & set(LAYERS):
                assert folder in allowed, f"{file}:{node.lineno}: {own} imports from {folder}"
            assert folders & set(LAYERS) or folders <= {"__version__"}, f"{file}:{node.lineno} imports from the root __init__.py"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_inside_the_package_imports_are_relative(file: Path) -> None:
    for node in imports(tree(file), deep=True, guarded=True):
        for name in absolute(node):
            assert name.split(".")[0] not in {"crossaisle", *LAYERS}, f"{file}:{node.lineno}: {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_heavy_is_imported_by_a_module_itself(file: Path) -> None:
    for node in imports(tree(file), deep=False, guarded=False):
        heavy = {name.split(".")[0] for name in absolute(node)} & HEAVY
        if module_of(file)[:2] == ("app", "api"):
            heavy -= SERVER_ONLY
        assert not heavy, f"{file}:{node.lineno}: {heavy} at module level"


def test_no_import_cycles_type_only_imports_included() -> None:
    modules = {module_of(file): file for file in FILES}
    edges: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name, file in modules.items():
        edges[name] = set()
        for node in imports(tree(file), deep=True, guarded=True):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = target(file, node)
                for alias in node.names:
                    edges[name].add((*base, alias.name) if (*base, alias.name) in modules else base)
        edges[name] -= {name, ()}
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], path: tuple[tuple[str, ...], ...]) -> None:
        assert name not in path, "import cycle: " + " -> ".join(".".join(step) for step in (*path[path.index(name) :], name))
        if name not in done:
            for following in edges[name]:
                visit(following, (*path, name))
            done.add(name)

    assert sum(map(len, edges.values())) > 20
    for name in modules:
        visit(name, ())


def test_no_catch_all_modules() -> None:
    assert not [file for file in FILES if file.stem in ("utils", "util", "helpers", "helper", "common", "misc", "manager")]


def modules_loaded_by(statement: str) -> set[str]:
    """Top-level modules in a new process after a statement."""
    code = f"import sys, crossaisle; {statement}; print(sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    loaded = set(ast.literal_eval(run.stdout))
    assert "crossaisle" in loaded
    return loaded


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_loaded_by("dir(crossaisle)") & (HEAVY | {"numpy", "pydantic", "typer", "rich"})


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    assert not modules_loaded_by("import crossaisle.app.cli.main") & HEAVY


def test_every_public_name_can_be_imported() -> None:
    import crossaisle

    for name in crossaisle.__all__:
        assert getattr(crossaisle, name) is not None
    with pytest.raises(AttributeError, match="it has CrossaisleError, "):
        _ = crossaisle.Recomender  # type: ignore[attr-defined]


def public_definitions(
    body: list[ast.stmt], prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes, functions and methods with their qualified names."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), f"{file} has no docstring"
    assert not [name for name, node in public_definitions(tree(file)) if not ast.get_docstring(node)], file


def test_no_class_name_means_two_things() -> None:
    homes: dict[str, list[str]] = {}
    for file in FILES:
        for node in tree(file):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(".".join(module_of(file)))
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_modules_and_folders_stay_small() -> None:
    lines = {module_of(file): len(file.read_text("utf-8").splitlines()) for file in FILES if file.name != "__init__.py"}
    assert not {".".join(name): count for name, count in lines.items() if count > 350}
    assert sorted(lines.values())[len(lines) // 2] < 150
    folders: dict[tuple[str, ...], int] = {}
    for name in lines:
        folders[name[:-1]] = folders.get(name[:-1], 0) + 1
    assert not {".".join(name): count for name, count in folders.items() if count > 13}

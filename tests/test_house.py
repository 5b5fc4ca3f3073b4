"""The house rules that a machine can check: layers, lint, sizes, names, what the base install may hold."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import physioedge
import physioedge_export
import physioedge_runtime

ROOT = Path(__file__).parents[1]
PACKAGES = [physioedge, physioedge_export, physioedge_runtime]
SOURCES = sorted(
    path
    for folder in ("sdk", "export", "device_runtime", "weights", "samples", "benchmarks", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 320, 50
TOOLS = Path(sys.executable).parent
# what would tie the tree to one machine or one way of working on it
PRIVATE = re.compile(r"(?<![\w.])/(?:work|root|tmp)/(?!bash)\w|\bBRIEF\.md\b|co-authored-by", re.IGNORECASE)


def run_tool(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_layers():
    done = run_tool(str(TOOLS / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout[-3000:]


def test_lint():
    done = run_tool(str(TOOLS / "ruff"), "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_names_exist(package):
    """`__all__` is sorted, without repeats, and every name in it is there; so too in each module that has one."""
    for name in [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]:
        if name.endswith("__main__"):
            continue
        path = Path(importlib.util.find_spec(name).origin)
        if "__all__" not in path.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(name)
        assert list(module.__all__) == sorted(set(module.__all__)), name
        missing = [member for member in module.__all__ if not hasattr(module, member)]
        assert missing == [], name


def test_the_runtime_offers_every_error():
    """The front page of the runtime lists exactly the errors of the tree, and the three things one starts with."""
    from physioedge_runtime import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(physioedge_runtime.__all__) == tree | {"Bundle", "Result", "Stream"}
    assert all(name in (errors.__doc__ or "") for name in tree)
    codes = [getattr(errors, name).code for name in tree]
    assert len(set(codes)) == len(codes)


def test_files_and_functions_are_short():
    long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            long.append(f"{relative(path)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
                body = node.body[1:] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body
                if node.end_lineno - body[0].lineno + 1 > MAX_FUNCTION_LINES:
                    long.append(f"{relative(path)}: {node.name} with {node.end_lineno - body[0].lineno + 1} lines")
    assert long == []


def test_no_module_is_called_utils():
    assert [relative(path) for path in SOURCES if re.search(r"util|helper|misc|common", path.stem)] == []


def test_the_sampling_rate_never_has_a_default():
    """A rate that is assumed is how wrong results are made. None, which means not stated, is no rate."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            given = [*node.args.posonlyargs, *node.args.args]
            pairs = list(zip(given[len(given) - len(node.args.defaults) :], node.args.defaults, strict=True))
            pairs += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
            for argument, default in pairs:
                if argument.arg.startswith("fs") and not (isinstance(default, ast.Constant) and default.value is None):
                    found.append(f"{relative(path)}: {node.name}({argument.arg}=...)")
    assert found == []


def test_nothing_names_this_machine():
    tracked = run_tool("git", "ls-files", "-co", "--exclude-standard")
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".txt", ".json", ".sh", "")
            and path.is_file()
            and path != Path(__file__)
        ):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {match[0]}" for match in PRIVATE.finditer(text)]
    assert found == []


def test_no_pickle():
    """Nothing that is loaded can run code."""
    loading = re.compile(
        r"^\s*(?:import|from) (?:pickle|dill)\b|^\s*import joblib\b|from joblib import (?!Parallel, delayed$)"
        r"|allow_pickle=True|weights_only=False",
        re.MULTILINE,
    )
    found = [relative(path) for path in SOURCES if loading.search(path.read_text(encoding="utf-8"))]
    assert found == ["sdk/physioedge/signals/safe_pickle.py"]  # reads old recordings, calls nothing: test_safe_pickle


def test_typed_and_licensed():
    for package in PACKAGES:
        assert (Path(package.__file__).parent / "py.typed").exists()
    assert (ROOT / "weights" / "physioedge_weights" / "py.typed").exists()
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "weights" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    for folder in (ROOT / "samples" / "data", Path(physioedge_runtime.__file__).parent / "assets", ROOT / "weights"):
        assert "ODC-By" in (folder / "README.md").read_text()


def test_what_is_said_of_a_release_agrees():
    """Version and licence of the citation, and the Pythons that are named, are those of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = dict(re.findall(r"^(\w+): (\S.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    assert (cited["title"], cited["version"], cited["license"]) == tuple(
        project[key] for key in ("name", "version", "license")
    )
    versions = {line.rpartition(" ")[2] for line in project["classifiers"] if ":: Python :: 3." in line}
    assert versions == {"3.11", "3.12", "3.13"}
    assert project["requires-python"] == f">={min(versions)}"
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_has_a_tested_version():
    """Each requirement of pyproject.toml is pinned in constraints.txt, within its range."""
    packaging = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for line in (line for lines in lists for line in lines if not line.startswith("physioedge[")):
        requirement = packaging.Requirement(line)
        assert requirement.name in pins, line
        assert requirement.specifier.contains(pins[requirement.name]), f"{line}, tested with {pins[requirement.name]}"


def test_the_weights_are_in_step():
    """Both distributions have one version, and whatever extra brings the weights asks for that line of versions."""
    main, weights = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in (".", "weights")
    )
    assert weights["version"] == main["version"]
    assert "dependencies" not in weights
    asked = {
        extra: line
        for extra, lines in main["optional-dependencies"].items()
        for line in lines
        if line.startswith(weights["name"])
    }
    assert set(asked) == {"train", "export", "host"}
    major, minor = map(int, main["version"].split(".")[:2])
    assert set(asked.values()) == {f"{weights['name']}>={major}.{minor},<{major}.{minor + 1}"}


def test_the_base_install_is_what_a_device_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [re.split(r"[<>=]", line)[0] for line in project["dependencies"]] == ["numpy", "onnxruntime", "pynacl"]


def test_every_module_of_the_runtime_imports_without_torch():
    """In a process where importing anything heavy fails, as on a device."""
    names = [m.name for m in pkgutil.walk_packages(physioedge_runtime.__path__, "physioedge_runtime.")]
    blocked = [
        "torch",
        "scipy",
        "sklearn",
        "matplotlib",
        "onnx",
        "executorch",
        "torchao",
        "safetensors",
        "peft",
        "wfdb",
    ]
    code = (
        "import importlib, json, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        f"for name in json.loads({json.dumps(names)!r}): importlib.import_module(name)\n"
    )
    done = run_tool(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(names) > 10

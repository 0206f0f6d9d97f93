"""The development files agree with each other: locks, Procfile, CI, declared dependencies."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest

from tests.support.process import ROOT
from tests.support.project import canonical, imports, pins, required, toml

LOCKS = ["run.lock", "dev.lock", "bench.lock"]
# What the exporter of traces needs beside opentelemetry's own packages.
EXTRAS_TAIL = {"googleapis", "protobuf", "requests", "urllib3", "typing", "importlib", "zipp"}


def test_all_locks_pin_the_same_versions_with_hashes() -> None:
    locked = {
        canonical(package["name"]): package["version"]
        for package in toml("uv.lock")["package"]
        if "registry" in package["source"]
    }
    product, tests, compared = (pins(name) for name in LOCKS)
    assert product.items() <= locked.items()
    assert tests.items() <= locked.items()
    assert compared.items() <= locked.items()
    assert not product.keys() & tests.keys()
    assert product.items() <= compared.items()
    # uv.lock also knows what the extra brings; who wants that installs it.
    extra = locked.keys() - product.keys() - tests.keys() - compared.keys()
    assert {name.partition("-")[0] for name in extra} <= {"opentelemetry", *EXTRAS_TAIL}


def test_the_product_is_installed_without_what_only_tests_need() -> None:
    project = toml("pyproject.toml")
    product = required(project["project"]["dependencies"])
    tools = required(project["dependency-groups"]["dev"])
    assert product <= pins("run.lock").keys()
    assert not (tools - product) & pins("run.lock").keys()
    assert tools - product <= pins("dev.lock").keys()


def test_a_lock_names_no_index_and_every_package_has_a_wheel() -> None:
    for name in LOCKS:
        assert "://" not in (ROOT / name).read_text()
        assert not [line for line in (ROOT / name).read_text().splitlines() if line[:1] == "-"]
    packages = [p for p in toml("uv.lock")["package"] if "registry" in p["source"]]
    assert [p["name"] for p in packages if not p.get("wheels")] == []


def test_what_pyproject_asks_for_is_locked() -> None:
    project = toml("pyproject.toml")
    tracing = required(project["project"]["optional-dependencies"]["tracing"])
    wanted = required(project["project"]["dependencies"] + project["dependency-groups"]["dev"])
    [own] = [p for p in toml("uv.lock")["package"] if p["name"] == project["project"]["name"]]
    groups = own["metadata"]
    asked = groups["requires-dev"]
    assert {canonical(entry["name"]) for entry in asked["bench"]} == required(
        project["dependency-groups"]["bench"]
    )
    entries = groups["requires-dist"] + asked["dev"]
    assert {canonical(entry["name"]) for entry in entries} == wanted | tracing
    installed = {canonical(name) for names in packages_distributions().values() for name in names}
    assert wanted - installed <= {"pandas-stubs", "import-linter", "mypy", "ruff"}


def test_peers_of_the_benchmarks_are_installed_for_nothing_else() -> None:
    peers = required(toml("pyproject.toml")["dependency-groups"]["bench"])
    assert peers <= pins("bench.lock").keys()
    # TA-Lib is also an oracle of the tests.
    assert peers & (pins("run.lock") | pins("dev.lock")).keys() == {"ta-lib"}
    assert not peers & pins("run.lock").keys()


def test_procfile() -> None:
    assert (ROOT / "Procfile").read_text().splitlines() == [
        "release: python -m worker migrate",
        "worker: exec python -m worker",
    ]


def test_ci_runs_what_a_developer_runs() -> None:
    path = ROOT / ".ci" / "run"
    assert path.stat().st_mode & 0o100
    lines = path.read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == [
        "set -eu",
        'cd "$(dirname "$0")/.."',
        "python3 dev lint",
        "python3 dev test",
    ]
    assert (ROOT / "dev").stat().st_mode & 0o100


def test_the_quick_tier_names_files_that_exist() -> None:
    fast = toml("pyproject.toml")["tool"]["reckoner"]["fast"]
    assert [path for path in fast if not (ROOT / path).is_file()] == []
    assert fast == sorted(fast)


def test_no_test_file_is_imported() -> None:
    """What two files need is in a plain module: importing a test file collects its fixtures too."""
    found = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for name in [f"{node.module}.{alias.name}" for alias in node.names]
        if re.match(r"tests\.(\w+\.)*(test_\w+|conftest)\b", name)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["sql", "market", "worker", "tests"])
def test_every_import_is_declared(folder: str) -> None:
    project = toml("pyproject.toml")
    declared = required(project["project"]["dependencies"])
    extras = {"worker": ["tracing"], "market": ["plots", "parquet"]}
    for extra in extras.get(folder, []):
        declared |= required(project["project"]["optional-dependencies"][extra])
    if folder == "tests":
        declared |= required(project["dependency-groups"]["dev"])
        declared |= required(project["dependency-groups"]["bench"])  # which are not installed here
    distributions = packages_distributions()
    own = {"sql", "market", "worker", "tests"}
    for module, path in imports(folder).items():
        if module in sys.stdlib_module_names or module in own:
            continue
        names = {canonical(name) for name in distributions.get(module, [module])}
        assert names & declared, f"{path} imports {module}, which pyproject.toml does not declare"


def test_dev_itself_needs_nothing_but_python() -> None:
    tree = ast.parse((ROOT / "dev").read_text())
    modules = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert modules <= sys.stdlib_module_names

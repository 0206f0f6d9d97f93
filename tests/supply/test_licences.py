"""A licence that nobody accepted fails the lint in one line that names the package."""

from pathlib import Path

import pytest

from tests.supply import RUN_LOCK, licences, packages, settings

OURS = licences.Accepted(**settings()["licences"])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, in front of the real one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, *lines: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    text = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines]
    (info / "METADATA").write_text("\n".join(text) + "\n")


def test_the_product_has_accepted_licences_only() -> None:
    names = packages(RUN_LOCK)
    assert {"psycopg", "numpy", "yfinance"} <= set(names)
    assert licences.problems(names, OURS) == []


def test_names_kept_by_name_are_in_the_lock() -> None:
    assert OURS.packages.keys() <= set(packages(RUN_LOCK))


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (["License-Expression: MIT"], None),
        (["License-Expression: MIT OR GPL-3.0-only"], None),
        (["License-Expression: MIT AND GPL-3.0-only"], "MIT AND GPL-3.0-only"),
        (["License-Expression: (MIT OR GPL-2.0-only) AND ISC"], None),
        (["License-Expression: MIT WITH Strange-exception"], "MIT WITH Strange-exception"),
        (["License-Expression: LGPL-3.0-only"], "LGPL-3.0-only"),
        (["License-Expression: MIT and whatever"], "MIT and whatever"),
        (["License-Expression: ("], "("),
        (["License: Apache-2.0"], None),
        (["License: AGPL-3.0"], "AGPL-3.0"),
        (["License: MIT as long as you pay"], "MIT as long as you pay"),
        (["Classifier: License :: OSI Approved :: MIT License"], None),
        (["License: MIT", "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
         "GNU General Public License v3 (GPLv3)"),
        (["Classifier: License :: OSI Approved"], "unknown"),
        (["License: UNKNOWN"], "unknown"),
        (["License: A long text\n        of two lines"], "unknown"),
        ([], "unknown"),
    ],
)  # fmt: skip
def test_one_package(installed: Path, lines: list[str], refused: str | None) -> None:
    install(installed, "stranger", *lines)
    expected = [f"licence: stranger: {refused} is not accepted in pyproject.toml"]
    assert licences.problems(["stranger"], OURS) == (expected if refused else [])


def test_a_package_known_by_name_changes_its_licence(installed: Path) -> None:
    install(installed, "known", "License-Expression: AGPL-3.0-only")
    accepted = licences.Accepted(["MIT"], {}, {"known": "LGPL-3.0-only"})
    assert licences.problems(["known"], accepted) == [
        "licence: known: AGPL-3.0-only is not accepted in pyproject.toml"
    ]


def test_a_package_that_is_missing() -> None:
    assert licences.problems(["reckoner-nowhere"], OURS) == [
        "licence: reckoner-nowhere is in run.lock and not installed"
    ]

"""`npu-sim migrate` on a small project: terminal, JSON, page, exit codes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from torch_npu_sim.cli import app

SOURCES = {
    "train.py": (
        "import torch\nx = torch.ones(3).cuda()\nif x.device.type == 'cuda': print('<b>')\n"
    ),
    "model/attention.py": "import flash_attn\nimport torch\ny = torch.lgamma(torch.ones(2))\n",
    "csrc/kernel.cu": "__global__ void f() {}\n",
    "old.py": "print 'two'\n",
    "build/copy.py": "import flash_attn\n",
    ".venv/lib.py": "import flash_attn\n",
    "plain.py": "print('nothing')\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def migrate(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["migrate", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_terminal_lists_places_and_counts_what_is_redirected(project: Path) -> None:
    code, text = migrate(str(project))
    assert code == 0
    assert re.search(r"What transfer_to_npu redirects\s+│\s+1 │", text)
    assert "train.py:3" in text
    assert "train.py:2" not in text
    assert "csrc/kernel.cu:1" in text
    assert "model/attention.py:1" in text
    assert "not read: old.py: SyntaxError" in text
    assert "copy.py" not in text
    assert "lib.py" not in text


def test_all_lists_what_is_redirected_too(project: Path) -> None:
    assert "train.py:2" in migrate(str(project), "--all")[1]


def test_json_holds_every_finding(project: Path, tmp_path: Path) -> None:
    migrate(str(project), "--json", str(tmp_path / "report.json"))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["files"] == 5
    assert report["counts"] == {
        "extension": 2,
        "not redirected": 1,
        "host operator": 1,
        "fusion": 0,
        "redirected": 1,
    }
    places = {(f["path"], f["line"], f["kind"]) for f in report["findings"]}
    assert places == {
        ("csrc/kernel.cu", 1, "extension"),
        ("model/attention.py", 1, "extension"),
        ("model/attention.py", 3, "host operator"),
        ("train.py", 3, "not redirected"),
        ("train.py", 2, "redirected"),
    }
    assert list(report["unread"]) == ["old.py"]


class _Page(HTMLParser):
    """Collects what a browser would load, the cells, and whether each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_code(project: Path, tmp_path: Path) -> None:
    migrate(str(project), "--html", str(tmp_path / "report.html"))
    page = _Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.open == []
    assert all(target.startswith("#") for target in page.loaded)
    assert "print('<b>')" in page.text
    assert "model/attention.py:3" in page.text
    assert "old.py" in page.text
    assert "prefers-color-scheme: dark" in page.text


def test_check_fails_only_where_something_does_not_move(project: Path) -> None:
    assert migrate(str(project), "--check")[0] == 1
    assert migrate(str(project / "plain.py"), "--check")[0] == 0


def test_a_path_that_is_not_there_is_refused() -> None:
    code, text = migrate("nowhere")
    assert code == 2
    assert "expected the path of a project or a file, got nowhere" in text


def test_the_examples_move_by_themselves() -> None:
    examples = Path(__file__).parents[2] / "examples/migration"
    assert migrate(str(examples), "--check")[0] == 0

"""The report as one HTML page: what it holds agrees with the trace, and it needs nothing else."""

import json
import re
from html.parser import HTMLParser

import pytest
import torch
import torch.nn.functional as F

import torch_npu_sim
from torch_npu_sim.report import page
from torch_npu_sim.report.kernel import MemorySample
from torch_npu_sim.report.kernel_rows import Track, kernel_rows, memory_steps
from torch_npu_sim.report.page import write_page
from torch_npu_sim.report.table import format_time

VOID = {"br", "input", "meta"}


class Reader(HTMLParser):
    """Checks that every element is closed, and keeps ids, tables and the data of the script."""

    def __init__(self, text: str) -> None:
        """Reads a page."""
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.rows: dict[str, list[list[str]]] = {}
        self.section, self.cells, self.data, self.text = "", [], "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if "id" in found else set()
        if tag == "section":
            self.section = found["id"]
        if tag == "tr":
            self.cells = []
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.rows.setdefault(self.section, []).append(self.cells)

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.data = self.data or data
        elif self.open[-1:] != ["style"]:
            self.text += data
            if "td" in self.open or "th" in self.open:
                self.cells[-1] += data


def run_of_everything() -> torch_npu_sim.Trace:
    """Traces products, a fallback, a fusion, a copy over the link, two streams."""
    x = torch.rand(64, 64, device="npu")
    stream = torch.npu.Stream()
    torch.npu.synchronize()
    with torch_npu_sim.trace() as trace:
        for _ in range(3):
            torch.mm(x, x)
        torch.lgamma(x)
        y = F.silu(x) * x
        with torch.npu.stream(stream):
            y.exp()
        y.cpu()
    return trace


@pytest.fixture
def written(tmp_path):
    trace = run_of_everything()
    path = tmp_path / "out.html"
    trace.to_html(path, "script.py")
    return trace, path.read_text()


def test_the_page_needs_no_network(written):
    _, text = written
    assert "http" not in text
    assert not re.search(r"\b(src|@import|url\()", text)


def test_every_element_is_closed_and_every_link_leads_to_a_section(written):
    _, text = written
    reader = Reader(text)
    links = set(re.findall(r'href="#(\w+)"', text))
    assert links <= reader.ids
    assert {"timeline", "kernels", "roofline", "memory", "coverage", "fusions"} <= links


def test_the_summary_says_what_the_trace_says(written):
    trace, text = written
    said = Reader(text).text
    for value in (trace.total_us, trace.host_us, trace.device_us):
        assert format_time(value) in said
    assert f"in {len(trace.kernels)} kernels" in said
    assert f"{trace.energy_j:.6g} J" in said
    assert torch_npu_sim.get_chip().name in said


def test_the_kernel_table_adds_up_to_the_trace(written):
    trace, text = written
    head, *rows = Reader(text).rows["kernels"]
    assert head[3:5] == ["Kernels", "Total us"]
    assert sum(int(row[3]) for row in rows) == len(trace.kernels)
    assert sum(float(row[4]) for row in rows) == pytest.approx(trace.device_us, abs=0.01)
    product = next(row for row in rows if row[0] == "aten::mm")
    assert product[3] == "3"


def test_the_timeline_holds_every_kernel_of_every_stream(written):
    trace, text = written
    data = json.loads(Reader(text).data)
    spans = [
        (round(span[0], 3), data["words"][span[3]]) for t in data["tracks"] for span in t["spans"]
    ]
    assert sorted(spans) == sorted((round(k.start_us, 3), k.op) for k in trace.kernels)
    assert len(data["tracks"]) == len({(k.device, k.stream) for k in trace.kernels}) == 2
    assert data["total"] == trace.total_us


def test_fallbacks_and_fusions_are_listed(written):
    _, text = written
    rows = Reader(text).rows
    assert ["aten::lgamma", "1"] == rows["coverage"][1][:2]
    assert ["SwiGLU", "torch_npu.npu_swiglu"] == rows["fusions"][1][:2]


def test_the_roofline_has_the_chip_s_slopes_and_a_point_a_row_that_computes(written):
    trace, text = written
    assert "<title>device memory, 1.4 TB/s</title>" in text
    assert 'stroke-dasharray="5 4"><title>L2, 5.2 TB/s</title>' in text
    assert text.count("<circle") == sum(row.flops > 0 for row in kernel_rows(trace.kernels))


def test_the_energy_of_the_operators_is_that_of_the_trace(written):
    trace, text = written
    rows = Reader(text).rows["energy"]
    joules = sum(float(row[2].removesuffix(" J")) for row in rows)
    assert joules == pytest.approx(trace.energy_j, rel=1e-3)


def test_both_colour_schemes_define_the_same_colours(written):
    _, text = written
    light, dark = re.findall(r":root \{(.*?)\}", text, re.S)
    names = re.compile(r"--[\w-]+(?=:)")
    assert set(names.findall(light)) == set(names.findall(dark))
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= set(names.findall(light))


def test_an_empty_trace_makes_a_page(tmp_path):
    with torch_npu_sim.trace() as trace:
        pass
    write_page(trace, tmp_path / "out.html")
    said = Reader((tmp_path / "out.html").read_text()).text
    assert "No kernel ran" in said
    assert "No memory was allocated" in said
    assert "None of the known sequences" in said


def test_names_cannot_break_out_of_the_page(tmp_path):
    trace = run_of_everything()
    hostile = "</script><b>"
    object.__setattr__(trace.kernels[0], "op", hostile)
    write_page(trace, tmp_path / "out.html", hostile)
    text = (tmp_path / "out.html").read_text()
    assert hostile not in text
    assert hostile in json.loads(Reader(text).data)["words"]


def test_a_long_run_is_put_together_and_the_page_says_so(tmp_path, monkeypatch):
    trace = run_of_everything()
    monkeypatch.setattr(page, "_MOST_SPANS", 4)
    monkeypatch.setattr(page, "_MOST_ROWS", 2)
    write_page(trace, tmp_path / "out.html")
    reader = Reader((tmp_path / "out.html").read_text())
    spans = [span for track in json.loads(reader.data)["tracks"] for span in track["spans"]]
    assert len(spans) <= 4 + 1  # one more a stream
    assert sum(span[5] for span in spans) == len(trace.kernels)
    assert len(reader.rows["kernels"]) == 1 + 2
    left = kernel_rows(trace.kernels)[2:]
    assert f"{len(left)} more hold {sum(row.calls for row in left)} kernels" in reader.text
    assert "are one bar" in reader.text


def test_a_hundred_thousand_kernels_make_a_page_of_a_few_megabytes(tmp_path):
    trace = run_of_everything()
    trace._kernels = trace.kernels * (100_000 // len(trace.kernels))
    write_page(trace, tmp_path / "out.html")
    assert (tmp_path / "out.html").stat().st_size < 3e6


def test_a_track_puts_neighbours_of_a_stream_together():
    kernels = run_of_everything().kernels
    (track, _), each = Track.all_of(kernels, most_spans=3)
    assert each == -(-len(kernels) // 3)
    own = [k for k in kernels if (k.device, k.stream) == (track.device, track.stream)]
    first = own[:each]
    assert track.spans[0].start_us == first[0].start_us
    assert track.spans[0].end_us == first[-1].end_us
    assert track.spans[0].busy_us == pytest.approx(sum(k.duration_us for k in first))


def test_thinned_memory_keeps_peaks_and_the_end():
    levels = [1, 5, 2, 9, 3, 0] * 50 + [4]
    samples = [MemorySample(0, float(i), level, level) for i, level in enumerate(levels)]
    kept = memory_steps(samples, most=40)[0]
    assert len(kept) <= 44
    assert max(sample.allocated_bytes for sample in kept) == 9
    assert kept[-1] is samples[-1]
    assert [s.at_us for s in kept] == sorted(s.at_us for s in kept)
    assert memory_steps(samples, most=1000)[0] == samples

"""The page of a report: one file, whatever a run is called, and what its script does in a browser."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from ssl_eval import write_report

NAME = "<script>alert(1)<%2Fscript> & \"q\" 'a' _x_ 100% 日本"
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


class Reader(HTMLParser):
    """The text of the cells, what is fetched, and the scripts."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.links, self.scripts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif {"td", "th"} & set(self.open):
            self.cells[-1] += data


@pytest.fixture
def page(make_run, full_evaluation, tmp_path, tables_only):
    make_run("low", changes={"optim.lr": 1}, final=0.5)
    make_run(NAME, changes={"optim.lr": 10, "model.name": NAME}, final=0.9)
    make_run("!none", changes={"optim.lr": 9}, status="failed", done=0, error="DivergedError: </td><b>loss & nan")
    make_run("middle", changes={"optim.lr": 2}, final=0.7)
    write_report([tmp_path])
    return tmp_path / "report" / "index.html"


def test_page_is_whole_and_fetches_nothing(page):
    found = Reader(page.read_text())
    assert found.open == []
    assert all(link.startswith(("data:image/png", "#")) for link in found.links)
    assert "http-equiv" in page.read_text()
    assert len(found.scripts) == 1


def test_any_name_and_any_error_is_text(page):
    found = Reader(page.read_text())
    assert NAME in found.cells
    assert "DivergedError: </td><b>loss & nan" in found.cells
    assert "alert" not in found.scripts[0]
    tables = (page.parent / "table.md").read_text() + (page.parent / "table.tex").read_text()
    assert "<script" not in tables.replace("\\<", "")
    assert "_x_" not in tables


def test_every_run_is_shown_with_its_state(page):
    cells = Reader(page.read_text()).cells
    for name in ("low", "!none", "middle"):
        assert str(page.parent.parent / name) in cells
    assert "failed, epoch 0 of 6" in cells
    assert "<b>3</b> finished" in page.read_text()
    assert "<b>1</b> failed" in page.read_text()


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: what the script does is not tested")
def test_headings_sort_in_a_browser(page):
    """Chromium runs a copy of the page that presses its headings, by mouse and by key, and says what it sees."""
    script = """
<script>
const table = document.querySelector("table"), seen = [];
const press = (column) => {
  const head = [...table.querySelectorAll("thead th")].find((th) => th.textContent === column);
  head.querySelector("button").click();
  seen.push([head.getAttribute("aria-sort"), ...[...table.tBodies[0].rows].map((row) => row.cells[0].textContent)]);
};
press("kNN"); press("kNN"); press("kNN"); press("run"); press("lr");
document.title = JSON.stringify([seen, document.querySelectorAll("script").length, document.activeElement.tagName]);
</script></body>"""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", script))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", copy.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    title = dumped.split("<title>")[1].split("</title>")[0]
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        title = title.replace(entity, letter)
    seen, scripts, _ = json.loads(title)
    assert scripts == 2  # ours and this one: the name made none
    assert seen[0] == ["descending", NAME, "middle", "low", "!none"]  # what has no value comes last
    assert seen[1] == ["ascending", "low", "middle", NAME, "!none"]
    assert sorted(seen[2][1:]) == sorted(seen[0][1:])
    assert seen[2][0] is None
    assert seen[3][0] == "ascending"
    assert seen[4][:2] == ["descending", NAME]  # 10 above 9: numbers, not letters


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed: what the script does is not tested")
def test_wide_table_scrolls_inside_a_page_of_1280_pixels(make_run, tables_only):
    """The page itself is not wider than the window, and a table that is says so."""
    metrics = {f"linear_{k}_labels": 0.5 for k in range(1, 30)}
    folder = make_run("one", evaluation={"metrics": metrics})
    write_report([folder])
    page = folder / "report" / "index.html"
    script = """
<script>
const boxes = [...document.querySelectorAll(".scroll")].map((box) => [
  box.scrollWidth > box.clientWidth, box.classList.contains("wider"),
  getComputedStyle(box.nextElementSibling, "::before").content.includes("scroll the table"),
  box.offsetHeight > box.clientHeight + 8]);
document.title = JSON.stringify([innerWidth, document.documentElement.scrollWidth, boxes]);
</script></body>"""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", script))
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,900",
        "--dump-dom",
        copy.as_uri(),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    width, page_width, boxes = json.loads(dumped.split("<title>")[1].split("</title>")[0])
    assert width == 1280
    assert page_width <= width
    assert [True, True, True, True] in boxes  # wide, marked, with a hint and a scrollbar of its own height
    assert [False, False, False, False] in boxes

"""The console in a real Chromium: what a marketer does on it, who is let in, what is loaded, and whether everybody can use it.

One server process (`crossaisle serve`, with keys) and one browser for all. The store is the demo's; an item and a shopper whose names are
markup come in by the API.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crossaisle.app.console.widgets.elements import initials
from crossaisle.app.console.widgets.explanation import stretches
from crossaisle.app.console.widgets.heat_map_chart import Cell, chart_options, span
from crossaisle.app.service import csv_export
from crossaisle.app.service.api_keys import ApiKeys
from crossaisle.data.errors import QueryError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.category_map.cell_items import cell_drilldown
from crossaisle.recommend.recommender import Recommender

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
HOSTILE = '<img src=x onerror="window.hacked=1">{{7*7}} Tent'
STRANGER = '"><b onmouseover=alert(1)>zoe</b>'
PAGES = ("?q=phones", "atlas", "shopper?user=s001", "quality")
QUIET = "document.querySelector('h1') && !document.querySelector('.place.busy')"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, demo_workspace: Workspace) -> Workspace:
    """A copy of the demo store that may be written to."""
    path = tmp_path_factory.mktemp("console") / "shop"
    shutil.copytree(demo_workspace.path, path)
    return Workspace(path)


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    key: str
    workspace: Workspace

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers."""
        answer = httpx.request(method, self.url + path, json=body, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def served(store: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`crossaisle serve` on the store, which has a key, so that it asks for one on loopback too."""
    key = ApiKeys(store.path).create(["admin"], "test")
    reports = tmp_path_factory.mktemp("reports")
    (reports / "report.json").write_text(json.dumps(REPORT))
    (reports / "judge.json").write_text(json.dumps({"verdict": {"a judge": {}}}))
    command = "import sys; from crossaisle.app.cli.main import main; sys.argv[0] = 'crossaisle'; main()"
    options = ["--port", "0", "--llm", "none", "--report", str(reports)]
    process = subprocess.Popen(
        [sys.executable, "-c", command, "serve", "-w", str(store.path), *options], stderr=subprocess.PIPE, text=True, cwd="/"
    )
    said: list[str] = []
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"serving .* at (http://\S+),", line):
                url = found.group(1)
            if "startup complete" in line:
                break
        else:
            pytest.fail("".join(said))
        found = Served(url, key, store)
        tent = {"item_id": "ZZ-1", "title": HOSTILE, "category": ["Camping & Outdoors", "Tents"], "brand": "<i>Brand</i>", "price": 1.5}
        found.api("POST", "/v1/items", {"items": [tent]})
        found.api("POST", "/v1/events", {"user_id": STRANGER, "item_id": "ZZ-1", "kind": "purchase"})
        yield found
    finally:
        process.terminate()
        said.append(process.communicate(timeout=60)[1])
    faults = [line for line in said if "bug" in line or "Traceback" in line or "Error" in line]
    assert not faults, "".join(said)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not here: `apt-get install chromium` gives it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield found
        found.close()


class Visit:
    """A browser that is logged in, and what it complained of and asked for."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.served, self.faults = served, list[str]()
        self.context: BrowserContext = browser.new_context(base_url=served.url, **options)
        self.context.set_default_timeout(30_000)

    def page(self, path: str = "") -> Page:
        """A page of the console, when everything on it has been answered."""
        page = self.context.new_page()
        page.on("console", lambda told: self.faults.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: None if self._ours(request.url) else self.faults.append(f"outside: {request.url}"))
        page.goto(f"/console/{path}")
        settle(page)
        return page

    def _ours(self, url: str) -> bool:
        return url.startswith((self.served.url + "/", self.served.url.replace("http", "ws") + "/", "data:", "blob:"))

    def log_in(self) -> None:
        """Shows the key at the door."""
        page = self.context.new_page()
        page.goto("/console/?q=phones")
        page.get_by_label("API key").fill(self.served.key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/console/?q=phones")
        page.close()


def settle(page: Page) -> None:
    """Waits until nothing on a page is under way."""
    page.wait_for_function(QUIET)


def answered(page: Page, act: Any) -> None:
    """Does something that asks, and waits for the answer."""
    count = "[...document.querySelectorAll('.place')].reduce((sum, one) => sum + Number(one.dataset.answers || 0), 0)"
    before = page.evaluate(count)
    act()
    page.wait_for_function(f"before => {count} > before && {QUIET}", arg=before)


@pytest.fixture(scope="module")
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    """Somebody who is logged in."""
    found = Visit(browser, served, viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"])
    found.log_in()
    yield found
    found.context.close()


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves an error or a warning in the browser's console, or a request to somewhere else."""
    found: Visit | None = request.getfixturevalue("visit") if "visit" in request.fixturenames else None
    yield
    if found is not None:
        told, found.faults[:] = list(found.faults), []
        assert not told


REPORT: dict[str, Any] = {
    "cases": 120, "users": 90, "k": 10, "best_baseline": "item-knn", "split": {"protocol": "users"},
    "systems": {
        "popularity": {"kind": "baseline", "ndcg@10": {"value": 0.05, "low": 0.03, "high": 0.07}, "recall@10": {"value": 0.1, "low": 0.08, "high": 0.12},
                       "vs_best_baseline": {"value": -0.03, "low": -0.05, "high": -0.01}},
        "item-knn": {"kind": "baseline", "ndcg@10": {"value": 0.08, "low": 0.06, "high": 0.1}, "recall@10": {"value": 0.15, "low": 0.1, "high": 0.2},
                     "vs_best_baseline": {"value": 0.0, "low": 0.0, "high": 0.0}},
        "blend": {"kind": "blend", "ndcg@10": {"value": 0.123, "low": 0.1, "high": None}, "recall@10": {"value": None, "low": None, "high": None},
                  "vs_best_baseline": {"value": 0.043, "low": 0.02, "high": 0.06}},
    },
}  # fmt: skip


# ------------------------------------------------------------------ the door


def test_nobody_is_let_in_without_a_key(browser: Browser, served: Served) -> None:
    bare = httpx.get(f"{served.url}/console/", follow_redirects=False)
    assert bare.status_code == 401
    assert "crossaisle" not in bare.headers.get("set-cookie", "")
    stranger = browser.new_context(base_url=served.url)
    page = stranger.new_page()
    page.goto("/console/shopper?user=s001")
    assert page.url.startswith(f"{served.url}/login?next=")
    page.get_by_label("API key").fill("ca_00000000_wrong")
    page.get_by_role("button", name="Log in").click()
    assert "no key" in page.get_by_role("alert").inner_text()
    assert not page.get_by_text("s001").count()
    stranger.close()


def test_a_socket_is_not_let_in_either(served: Served) -> None:
    answer = httpx.get(f"{served.url}/console/_nicegui_ws/socket.io/?EIO=4&transport=polling")
    assert answer.status_code == 401


# ------------------------------------------------------------------ probe


def test_a_question_is_answered_and_taken_away(visit: Visit, served: Served) -> None:
    page = visit.page()
    assert page.get_by_text("No question yet").is_visible()
    page.get_by_label("Shoppers who bought").fill("phones")
    answered(page, lambda: page.keyboard.press("Enter"))
    told = served.api("POST", "/v1/probe", {"question": "phones"})
    needs = page.locator(".needs > li")
    assert needs.count() == len(told["needs"]) > 2
    cohort = told["cohort"]
    assert f"{cohort['users']:,} of {cohort['of']:,} shoppers bought that" in page.locator(".cohort").inner_text()
    first = told["needs"][0]
    assert needs.first.locator("h3").inner_text() == first["category"][-1]
    assert needs.first.locator(".lift strong").inner_text() == f"{first['lift']:.1f}×"
    assert first["sentence"] in needs.first.inner_text()
    assert needs.first.locator(".item").count() == len(first["items"]) == 3
    assert page.url.endswith("?q=phones")

    with page.expect_download() as coming:
        page.get_by_role("button", name="Download CSV").click()
    table = Path(coming.value.path()).read_text("utf-8")
    assert coming.value.suggested_filename == "probe-phones.csv"
    assert table == csv_export.segment_csv(told)
    lines = [line for line in csv.DictReader(io.StringIO(table)) if not line["item_id"]]
    assert [(line["category"], int(line["users"]), float(line["lift"])) for line in lines] == [
        (" > ".join(need["category"]), need["users"], need["lift"]) for need in told["needs"]
    ]

    needs.first.get_by_role("button", name="Copy the sentence").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == first["sentence"]
    page.get_by_role("button", name="Copy link").click()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.close()


def test_the_address_of_an_answer_gives_it_again(visit: Visit) -> None:
    page = visit.page("?q=phones&k=2")
    assert page.locator(".needs > li").count() == 2
    assert page.get_by_label("Shoppers who bought").input_value() == "phones"
    assert page.get_by_label("How many needs").input_value() == "2"
    page.close()


def test_suggestions_are_the_store_s_own(visit: Visit) -> None:
    page = visit.page()
    chip = page.locator("button.chip").first
    chip.wait_for()
    name = chip.inner_text()
    answered(page, chip.click)
    assert page.get_by_label("Shoppers who bought").input_value() == name
    assert page.locator(".cohort, .notice.bad").first.is_visible()
    page.close()


def test_questions_about_people_are_offered_and_understood(visit: Visit) -> None:
    page = visit.page()
    chip = page.locator("button.chip", has_text="people who started running")
    chip.wait_for()
    answered(page, chip.click)
    assert "Running" in page.locator(".chip.told").first.inner_text() or page.locator(".cohort").is_visible()
    assert not page.get_by_role("alert").count()
    page.close()


def test_two_groups_are_compared_and_taken_away(visit: Visit, served: Served) -> None:
    page = visit.page("?q=kitchen&against=baby")
    told = served.api("POST", "/v1/probe", {"question": "kitchen", "against": "baby"})
    rows = page.locator("table.figures tbody tr")
    assert rows.count() == len(told["differences"]) > 2
    first = told["differences"][0]
    assert rows.first.locator("th").inner_text() == first["category"][-1]
    assert f"{first['ratio']:.1f} ({first['ratio_interval'][0]:.1f} to" in rows.first.inner_text()
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download CSV").click()
    assert Path(coming.value.path()).read_text("utf-8") == csv_export.comparison_csv(told)
    page.close()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("?q=zxqvw%20nonsense%20blorb&k=0", "K: input should be greater"),
        ("?q=phones&since=yesterday", "2024-01-31"),
        ("?q=phones&level=five", "Level: "),
        ("?q=not%20phones", "only says what users do not have"),
    ],
)
def test_a_question_that_cannot_be_answered_gets_a_sentence(visit: Visit, path: str, told: str) -> None:
    page = visit.page(path)
    said = page.get_by_role("alert").inner_text()
    assert told in said
    assert said.endswith(".")
    page.close()


def test_where_nothing_stands_out_a_narrower_look_is_offered(visit: Visit) -> None:
    page = visit.page("?q=who%20would%20need%20a%20tripod%3F&level=1")
    assert "Nothing stands out" in page.locator(".blank").inner_text()
    answered(page, page.get_by_role("button", name="Look at narrower categories").click)
    assert "level=2" in page.url
    page.close()


# ------------------------------------------------------------------ atlas


def test_a_cell_of_the_map_tells_what_is_behind_it(visit: Visit, served: Served) -> None:
    page = visit.page("atlas")
    told = served.api("GET", "/v1/atlas")
    best = max((pair for pair in told["pairs"] if pair["sure"]), key=lambda pair: pair["lift"])
    source, target = (told["categories"][best[name]]["name"][-1] for name in ("source", "target"))
    cell = page.locator(".heat svg text").filter(has_text=re.compile(f"^{best['lift']:.2f}$")).first
    where = cell.bounding_box()
    assert where is not None
    answered(page, lambda: page.mouse.click(where["x"] + where["width"] / 2, where["y"] + where["height"] / 2))
    detail = page.locator(".beside .card h2").first
    detail.wait_for()
    assert detail.inner_text() == f"{source} → {target}"
    text = page.locator(".beside").inner_text()
    assert f"{best['users']:,} of " in text
    assert f"{best['lift']:.1f}× as often as usual" in text
    assert page.locator(".beside .item").count() >= 4

    page.get_by_label("Search a category").fill("pet")
    page.wait_for_function("[...document.querySelectorAll('.pair')].every(one => one.innerText.includes('Pet Supplies'))")
    assert page.locator(".pair").count() > 3
    page.get_by_label("At least, shoppers").fill("100000")
    page.get_by_text("Nothing is left").wait_for()
    page.close()


def test_the_atlas_by_keyboard(visit: Visit) -> None:
    page = visit.page("atlas")
    page.get_by_text("Strongest pairs").wait_for()
    page.locator(".pair").nth(1).focus()
    answered(page, lambda: page.keyboard.press("Enter"))
    page.locator(".pair[aria-pressed=true]").wait_for()
    assert page.locator(".beside .card h2").first.inner_text() in page.locator(".pair[aria-pressed=true]").inner_text().replace("\n", " ")
    page.get_by_label("Depth of categories").click()
    answered(page, page.get_by_role("option", name="2, narrowest").click)
    page.get_by_text("Show more of").wait_for()
    page.close()


# ------------------------------------------------------------------ shopper


def titles(page: Page) -> list[str]:
    return page.locator(".recs h3").all_inner_texts()


def test_a_shopper_is_picked_and_a_rule_changes_the_list(visit: Visit, served: Served) -> None:
    page = visit.page("shopper")
    page.get_by_label("Shopper, by id").fill("s00")
    answered(page, page.locator(".finder .found button", has_text="s001").click)
    told = served.api("POST", "/v1/recommend", {"user": "s001"})
    assert titles(page) == [one["title"] for one in told["recommendations"]]
    assert "user=s001" in page.url
    history = page.locator(".history").first
    history.wait_for()
    assert page.get_by_text("Leans to").is_visible()

    reason = page.locator(".claim").first
    tip = reason.locator(".tip")
    assert not tip.is_visible()
    reason.focus()
    assert tip.is_visible()
    assert told["recommendations"][0]["explanation"]["evidence"][0]["text"] in tip.inner_text()
    page.mouse.move(0, 0)
    page.keyboard.press("Tab")
    assert not tip.is_visible()

    before, prices = titles(page), [one["price"] for one in told["recommendations"]]
    answered(page, lambda: page.get_by_label("Price to").fill("15"))
    ruled = served.api("POST", "/v1/recommend", {"user": "s001", "rules": {"max_price": 15}})["recommendations"]
    assert max(prices) > 15
    assert titles(page) == [one["title"] for one in ruled] != before

    answered(page, lambda: page.get_by_label("Price to").fill(""))
    answered(page, lambda: page.get_by_label("New items").fill("2"))
    answered(page, lambda: page.get_by_label("New: had by at most").fill("9"))
    kept = served.api("POST", "/v1/recommend", {"user": "s001", "new_items": 2, "new_up_to": 9})["recommendations"]
    assert titles(page) == [one["title"] for one in kept] != before

    page.get_by_label("Price to").fill("cheap")
    page.get_by_role("alert").wait_for()
    assert "max price" in page.get_by_role("alert").inner_text()
    page.close()


@pytest.fixture
def by_steps(store: Workspace, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A service whose reasons stand one by one: its address, and the folder in which a file lets each of them stand."""
    program = [sys.executable, str(Path(__file__).parents[2] / "stepwise_server.py"), str(store.path), str(tmp_path)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd="/")
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", tmp_path
    finally:
        for place in range(5):
            (tmp_path / f"go-{place}").touch()
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("width", [1280, 390])
def test_reasons_are_filled_in_as_they_are_worded_and_nothing_moves(browser: Browser, by_steps: tuple[str, Path], width: int) -> None:
    url, folder = by_steps
    context = browser.new_context(base_url=url, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto("/console/shopper?user=s001")
    waiting = page.get_by_text("The reason is being worded")
    waiting.nth(4).wait_for()
    assert page.locator(".recs h3").count() == 5
    assert not page.locator(".claim").count()
    button = page.get_by_role("button", name="Why this?").nth(1)
    button.focus()
    heights = "[...document.querySelectorAll('.recs h3')].map(one => one.getBoundingClientRect().top + scrollY)"
    before = page.evaluate(heights)
    for place in range(5):
        (folder / f"go-{place}").touch()
        page.wait_for_function(f"document.querySelectorAll('.recs .claim').length > {place}")
        assert waiting.count() == 4 - place
        assert page.locator(".recs > li").nth(place).get_by_text("All evidence").is_visible()
    settle(page)
    moved = max(abs(now - then) for now, then in zip(page.evaluate(heights), before, strict=True))
    assert moved <= (2 if width > 600 else 60), moved  # on a phone a long reason may take a line or two more than were kept free
    assert button.evaluate("one => one === document.activeElement")
    context.close()


def test_why_and_why_not(visit: Visit) -> None:
    page = visit.page("shopper?user=s001")
    page.get_by_role("button", name="Why this?").nth(1).click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_text("It is the 2nd of").wait_for()
    assert sheet.get_by_text("What would change it").is_visible()
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    page.get_by_label("Why not this item?").fill("lunalo")
    answered(page, page.locator(".finder .found button", has_text="Lunalo").first.click)
    assert "Lunalo" in sheet.get_by_role("heading", level=2).inner_text()
    page.close()


def test_a_basket_and_words(visit: Visit) -> None:
    page = visit.page("shopper")
    page.get_by_label("Add an item to the basket").fill("city fold")
    answered(page, page.locator(".finder .found button", has_text="Tumbelo City Fold Stroller").click)
    alone = titles(page)
    assert len(alone) == 5
    page.get_by_label("In words").fill("something for a camping trip")
    answered(page, lambda: page.keyboard.press("Enter"))
    assert "text=something" in page.url
    answered(page, page.get_by_role("button", name="Take out Tumbelo City Fold Stroller").click)
    assert "items=" not in page.url
    page.close()


def test_what_strangers_wrote_is_text(visit: Visit) -> None:
    page = visit.page("shopper")
    page.get_by_label("Shopper, by id").fill(STRANGER)
    answered(page, page.locator(".finder .found button", has_text="zoe").click)
    page.locator(".history").first.wait_for()
    assert HOSTILE in page.locator(".history").first.inner_text()
    assert STRANGER in page.locator(".chip.told").first.inner_text()
    page.get_by_label("Only these brands").fill("<i>")
    answered(page, page.locator(".finder .found button", has_text="Brand").click)
    assert page.get_by_role("button", name="Take out <i>Brand</i>").is_visible()
    page.goto("/console/?q=%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D1%22%3E%20tents")
    settle(page)
    assert page.evaluate("window.hacked") is None
    assert not page.locator("img[src=x], b[onmouseover]").count()
    page.close()


# ------------------------------------------------------------------ quality


def test_quality_shows_reports_and_the_clicks_of_served_lists_alone(visit: Visit, served: Served) -> None:
    looked = visit.page("shopper?user=s002")
    assert titles(looked)
    looked.close()
    page = visit.page("quality")
    before = page.locator("section", has_text="Click-through by day").last.inner_text()
    shown = re.search(r"(\d+)\s+(\d+)\s+[\d.]+%", before)
    page.close()
    given = served.api("POST", "/v1/recommend", {"user": "s003"})
    item = given["recommendations"][0]["item_id"]
    click = {"user_id": "s003", "kind": "click", "item_id": item, "recommendation_id": given["recommendation_id"]}
    served.api("POST", "/v1/events", click)

    page = visit.page("quality")
    text = page.locator(".nicegui-content").inner_text()
    assert "blend" in text
    assert "0.123 [0.100, -]" in text
    assert "item-knn" in text
    assert "This report is of another version" in text  # the judges' file, which lacks most
    page.get_by_text("As a table").click()
    rows = page.locator("section", has_text="Click-through by day").locator("tbody tr")
    assert rows.count() == 1
    places, clicked = (int(rows.first.locator("td").nth(column).inner_text()) for column in (0, 1))
    assert clicked == 1
    assert places % 5 == 0
    assert shown is None or places >= 5
    served_by_the_api = len(lists(served))
    assert places == sum(lists(served).values())
    assert served_by_the_api == places // 5
    page.close()


def lists(served: Served) -> dict[str, int]:
    """The lists in the log, and how many places each has."""
    import polars as pl

    from crossaisle.data.events import EventLog
    from crossaisle.data.events.served_lists import ServedLists

    log = EventLog.open(served.workspace)
    found = ServedLists.read(log).places.group_by("recommendation_id").agg(pl.len())
    log.close()
    return dict(found.iter_rows())


# ------------------------------------------------------------------ for everybody


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, served: Served, visit: Visit, mode: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        base_url=served.url, storage_state=visit.context.storage_state(), color_scheme=mode, viewport={"width": 1280, "height": 900}
    )
    axe, found = Axe(), list[str]()
    for path in PAGES:
        page = context.new_page()
        page.goto(f"/console/{path}")
        settle(page)
        if path == "atlas":
            answered(page, page.locator(".pair").first.click)
        if path.startswith("shopper"):
            page.get_by_role("button", name="Why this?").first.click()
            page.get_by_role("dialog").get_by_role("heading", level=2).wait_for()
        assert page.evaluate("document.body.classList.contains('body--dark')") == (mode == "dark")
        for fault in axe.run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found += [f"{path} {mode}: {fault['id']}: {node['html'][:160]} {node['failureSummary'][:200]}" for node in fault["nodes"]]
        page.close()
    context.close()
    assert not found, "\n".join(found)


def test_a_phone_shows_all_of_it_and_nothing_jumps(browser: Browser, served: Served, visit: Visit) -> None:
    context = browser.new_context(base_url=served.url, storage_state=visit.context.storage_state(), viewport={"width": 390, "height": 844})
    context.add_init_script(
        "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(one => { if (!one.hadRecentInput) window.moved += "
        "one.value; })).observe({type: 'layout-shift', buffered: true});"
    )
    for path in (*PAGES, "", "shopper"):
        page = context.new_page()
        page.goto(f"/console/{path}")
        settle(page)
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate("window.moved") < 0.1, path  # "good" by web.dev's measure
        small = page.evaluate(
            "[...document.querySelectorAll('button, .pages a')].filter(one => one.offsetParent && one.offsetHeight < 24).length"
        )
        assert small == 0, path  # WCAG 2.2, target size
        page.close()
    context.close()


def test_the_theme_that_was_chosen_is_kept(visit: Visit) -> None:
    page = visit.page()
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function("document.body.classList.contains('body--dark')")
    page.close()
    page = visit.page("atlas")
    page.wait_for_function("document.body.classList.contains('body--dark')")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function("!document.body.classList.contains('body--dark')")
    page.close()


# ------------------------------------------------------------------ its parts


def test_the_api_still_answers_what_is_not_there(served: Served) -> None:
    missing = httpx.get(f"{served.url}/v1/nothing")
    assert missing.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{served.url}/v1/recommend").status_code == 405


@pytest.mark.parametrize(
    ("text", "claims", "pieces"),
    [
        ("Dry. Light.", [("Light.", "e2")], [("Dry. ", None), ("Light.", "e2")]),
        ("Dry. Light.", [("Light.", "e2"), ("Dry.", "e1")], [("Dry.", "e1"), (" ", None), ("Light.", "e2")]),
        ("Dry.", [("Wet.", "e1")], [("Dry.", None)]),
        ("Dry and light.", [("Dry and light.", "e1"), ("light.", "e2")], [("Dry and light.", "e1")]),
        ("", [], []),
        ("Dry.", [("", "e1")], [("Dry.", None)]),
    ],
)
def test_stretches(text: str, claims: list[tuple[str, str]], pieces: list[tuple[str, str | None]]) -> None:
    found = stretches(text, [{"text": words, "evidence": evidence} for words, evidence in claims])
    assert found == pieces
    assert "".join(words for words, _ in found) == text


@pytest.mark.parametrize(
    ("title", "letters"), [("Lunalo Soft Wrap", "LS"), ("  (big) tent", "BT"), ("", "?"), ("…", "?"), ("<b>x", "B"), ("ünder Öl", "ÜÖ")]
)
def test_initials(title: str, letters: str) -> None:
    assert initials(title) == letters


def cell(lift: float, source: int = 0, target: int = 1) -> Cell:
    told = {"users": 30, "lift": lift, "lift_interval": [lift / 2, None], "share": 0.3, "base_rate": 0.1, "sure": True}
    return Cell(source, target, ["A", "<b>"], ["C", "D"], told, 100)


def test_the_map_puts_rows_left_and_columns_on_top() -> None:
    options, _ = chart_options([7, 9], [["A", "<b>"], ["C", "D"]], [cell(2.0, 7, 9)], dark=False)
    (datum,) = options["series"][0]["data"]
    assert datum["value"] == [1, 0, 1.0]  # x is the target, y the source, then the binary logarithm
    assert datum["at"] == [7, 9]
    assert "30 of 100" in datum["name"]
    assert options["tooltip"]["formatter"] == "{b}"  # which ECharts escapes


def test_cells_without_a_figure_say_why() -> None:
    names = [["A"], ["B"], ["C"]]
    for dark in (False, True):
        options, _ = chart_options([0, 1, 2], names, [cell(2.0, 0, 1)], dark, known=[(0, 1), (0, 2)], least=20)
        shown, same, hidden = options["series"]
        assert [datum["at"] for datum in shown["data"]] == [[0, 1]]
        assert [datum["at"] for datum in same["data"]] == [[0, 0], [1, 1], [2, 2]]
        assert [datum["at"] for datum in hidden["data"]] == [[1, 0], [1, 2], [2, 0], [2, 1]]  # (0, 2) is known, and left out by a filter
        assert same["data"][1]["name"] == "B\nThe same category"
        assert "fewer than 20 shoppers" in hidden["data"][0]["name"]
        assert same["label"]["formatter"] != hidden["label"]["formatter"]
        tones = [one["inRange"]["color"][0] for one in options["visualMap"][1:]]
        assert tones[0] != tones[1]
        assert [one["seriesIndex"] for one in options["visualMap"]] == [0, 1, 2]


def test_the_scale_of_the_map() -> None:
    assert [span([cell(lift)]) for lift in (1.1, 2.0, 2.1, 0.1, 1000.0, 0.0)] == [1, 1, 2, 4, 4, 1]


def test_behind_a_cell_only_what_may_be_told(store: Workspace, settings: Settings) -> None:
    import polars as pl

    recommender = Recommender(store, settings.with_(llm="none"))
    catalogue, pairs = recommender.catalogue, pl.read_parquet(store.path / "associations.parquet").filter(pl.col("level") == "item")
    source, target = ("Furniture",), ("Bed & Bath",)
    inside = [
        set(catalogue.items["item_id"].filter(pl.Series(catalogue.tree.under(catalogue.tree.code[path]))).to_list())
        for path in (source, target)
    ]
    told = cell_drilldown(store, catalogue, source, target, min_users=5)
    assert told.pairs
    for pair in told.pairs:
        assert pair.source in inside[0]
        assert pair.target in inside[1]
        row = pairs.row(by_predicate=(pl.col("source") == pair.source) & (pl.col("target") == pair.target), named=True)
        assert pair.users == row["support"] >= 5
        assert not 0 < row["source_users"] - row["support"] < 5
        assert not 0 < row["target_users"] - row["support"] < 5
    assert [one.users for one in told.targets] == [None] * len(told.targets)
    most = told.pairs[0].users
    cut = cell_drilldown(store, catalogue, source, target, users=most + 2, min_users=5)
    assert told.pairs[0] not in cut.pairs  # the rest of the cell would be two
    assert not cell_drilldown(store, catalogue, source, target, min_users=200).pairs
    with pytest.raises(QueryError, match="no category"):
        cell_drilldown(store, catalogue, ("Nowhere",), target)
    recommender.close()

"""The pages in a real browser: readable by everybody at every width, in light and dark, with and without JavaScript."""

import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from outside.box import eventually

AXE = (Path(__file__).parent / "outside/axe/axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 390, 1280)


def browser(box, *, scripts=True):
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
        f"--host-resolver-rules=MAP {box.hostname} 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(60)
    return driver


def address(box, path):
    return f"https://{box.hostname}:{box.at('https')[1]}{path}"


def log_in(box, driver):
    driver.get(address(box, "/admin/login"))
    driver.delete_all_cookies()  # those of the page that it is on
    driver.get(address(box, "/admin/login"))
    driver.find_element(By.ID, "email").send_keys(box.email)
    driver.find_element(By.ID, "password").send_keys(box.password)
    driver.find_element(By.CSS_SELECTOR, "main button").click()
    eventually(lambda: driver.current_url.endswith("/admin"), words="the status page")


def result(check, state, group="Mail", **more):
    now = int(time.time())
    return {
        "id": check, "title": f"The check {check}", "group": group, "state": state, "seen": f"what {check} saw",
        "wanted": "peace", "why": "Because mail is lost without it.", "remedy": "", "mend": None, "since": now - 7200,
        "checked": now, "flaps": None, **more,
    }


def bad_day():
    """Every state, with the longest words that there are."""
    key = "v=DKIM1; k=rsa; p=" + "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A" * 12
    now = int(time.time())
    remedy = f"Enter this record at your provider:\n\n  mail._domainkey.demo.example. TXT \"{key}\"\n\nThen look again."
    return [
        result("broken", "failed", seen=key, wanted=key, remedy=remedy, mend="mailstead dns publish"),
        result("port-25", "failed", seen="no answer within 4 s", remedy="Ask the provider to open port 25.\n  telnet mx 25"),
        result("odd", "warning", "Machine", remedy="Turn it.", flaps={"times": 6, "since": now - 30_000, "broken": True}),
        result("dim", "unknown", "Names (DNS)", seen="no result within 12 seconds", remedy="Look again."),
        result("news", "notice", "Updates", remedy="Read it."),
        result("kept", "ok", "Reputation", checked=now - 4 * 3600),
        result("fine", "ok", "A-very-long-heading-without-any-space-in-it-at-all", seen="x" * 200),
        result("not-here", "skipped", "Machine", seen="not applicable in a demo"),
    ]


def checks_folder(box):
    folder = box.folder / "var/lib/mailstead/checks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(box, name, text):
    """As durable files are written: at once."""
    fresh = checks_folder(box) / "fresh"
    fresh.write_text(text)
    fresh.rename(checks_folder(box) / name)


def put_run(box, begun, *results):
    put(box, "run.jsonl", "".join(json.dumps(line) + "\n" for line in [begun, *results]))


@pytest.fixture(scope="module")
def shown(make_box):
    """A box on a bad day."""
    box = make_box().start()
    put(box, "results.json", json.dumps(bad_day()))
    yield box
    box.stop()


@pytest.fixture(scope="module")
def eyes(shown):
    driver = browser(shown)
    yield driver
    driver.quit()


def complaints(driver):
    """What the browser says of the pages; a refused login, a missing page and a wish too soon are answers, not faults."""
    answers = ("status of 401", "status of 404", "status of 429")
    return [entry for entry in driver.get_log("browser") if not any(words in entry["message"] for words in answers)]


def as_seen(driver, width, scheme):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def judge(driver, words):
    assert not complaints(driver), words
    wide = driver.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1], f"{words}: it scrolls sideways, {wide}"
    driver.execute_script(AXE)
    found = driver.execute_async_script(
        "const done = arguments[1]; axe.run(document, {runOnly: {type: 'tag', values: arguments[0]}, resultTypes: ['violations']}).then("
        "r => done({bad: r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html + ' ' + n.failureSummary)]), ran: r.passes.length}),"
        "e => done({bad: [String(e)], ran: 0}))",
        RULES,
    )
    assert found["ran"] > 10 and not found["bad"], f"{words}: {json.dumps(found, indent=1)}"


def pages(box, driver):
    """Every page of the panel, one after the other; the driver stands on it while its name is out."""
    driver.get(address(box, "/admin/login"))
    driver.delete_all_cookies()
    driver.get(address(box, "/admin/login"))
    yield "login"
    driver.find_element(By.ID, "email").send_keys(box.email)
    driver.find_element(By.ID, "password").send_keys("a guess")
    driver.find_element(By.CSS_SELECTOR, "main button").click()
    eventually(lambda: driver.find_elements(By.CSS_SELECTOR, "[role=alert]"), words="the refusal")
    yield "login refused"
    log_in(box, driver)
    yield "status"
    driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true })")
    yield "status, all opened"
    driver.get(address(box, "/admin/nothing-here"))
    yield "message"
    driver.get(address(box, "/list/leave?list=team%40demo.example&token=abc"))
    yield "leaving a list"
    driver.get(address(box, "/list/leave?list=team%40demo.example"))
    yield "no link out of a list"
    driver.get(address(box, "/setup?domain=demo.example"))
    yield "setting up"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_for_everybody(shown, eyes, width):
    for page in pages(shown, eyes):
        for scheme in ("light", "dark"):
            as_seen(eyes, width, scheme)
            judge(eyes, f"{page}, {width} px, {scheme}")


def test_a_page_during_a_run_and_one_without_results_are_for_everybody(shown, eyes):
    put_run(shown, {"began": 1, "checks": 8}, result("fine", "ok"))
    as_seen(eyes, 320, "light")
    try:
        log_in(shown, eyes)
        assert "1 of 8" in eyes.find_element(By.ID, "progress").text
        judge(eyes, "during a run")
        (checks_folder(shown) / "results.json").rename(checks_folder(shown) / "aside")
        (checks_folder(shown) / "run.jsonl").unlink()
        eyes.get(address(shown, "/admin"))
        judge(eyes, "without results")
    finally:
        put(shown, "results.json", json.dumps(bad_day()))
        (checks_folder(shown) / "run.jsonl").unlink(missing_ok=True)


def test_a_change_arrives_without_a_reload_and_moves_nothing_under_the_reader(shown, eyes):
    as_seen(eyes, 390, "light")
    put(shown, "results.json", json.dumps(bad_day()))
    log_in(shown, eyes)
    complaints(eyes)
    one = lambda selector: eyes.find_element(By.CSS_SELECTOR, selector)  # noqa: E731
    assert not eyes.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    # The reader opens a check in its group, far down, and looks at it; the page is marked so that a reload would show.
    eyes.execute_script("window.marked = true; const row = document.querySelector('[data-group] [data-check=kept] summary');"
                        "row.click(); row.focus(); row.scrollIntoView({block: 'center'}); ")
    place = "return document.querySelector('[data-group] [data-check=kept] summary').getBoundingClientRect().top"
    before = eyes.execute_script(place)
    assert eyes.execute_script("return window.scrollY") > 100

    changed = [result("kept", "ok", "Reputation", seen="seen anew"), result("fine", "failed", "Mail", seen="it broke", remedy="Mend it.")]
    put_run(shown, {"began": int(time.time()), "checks": 8}, *changed)
    eventually(lambda: "2 of 8" in one("#progress").text, words="the progress of the run")
    assert one("[data-group] [data-check=fine] .state").text == "Failed"
    assert one("#urgent-checks [data-check=fine] .title").text.startswith("The check fine")
    assert one("[data-group] [data-check=kept] .value").text == "seen anew"
    assert "The check fine: Failed" in one("#news").get_attribute("textContent")
    assert one("#headline").text == "4 things need you" and eyes.title.startswith("4 things need you")
    assert abs(eyes.execute_script(place) - before) < 2, "the page moved under the reader"
    assert one("[data-group] [data-check=kept]").get_attribute("open") is not None
    assert eyes.execute_script("return document.activeElement.closest('[data-check]').dataset.check") == "kept"

    # All is mended: what the reader has open stays, the rest of what needed a look goes.
    mended = [{**check, "state": "ok", "remedy": "", "flaps": None} for check in bad_day()]
    put(shown, "results.json", json.dumps(mended))
    (checks_folder(shown) / "run.jsonl").unlink()
    eventually(lambda: one("#headline").text == "Everything is in order", words="the new headline")
    assert "Everything is in order" in one("#news").get_attribute("textContent") and not one("#progress").text
    left = [check.get_attribute("data-check") for check in eyes.find_elements(By.CSS_SELECTOR, "#urgent-checks [data-check]")]
    opened = {"broken", "port-25", "odd"}  # as the page opened them
    assert set(left) == opened, left
    assert abs(eyes.execute_script(place) - before) < 2
    assert one("[data-group=Mail] small").text.endswith("in order")
    assert eyes.execute_script("return window.marked") is True and not complaints(eyes)
    judge(eyes, "after changes")


def test_the_button_has_the_box_look_and_the_page_shows_how(shown, eyes):
    as_seen(eyes, 390, "light")
    put(shown, "results.json", json.dumps(bad_day()))
    log_in(shown, eyes)
    eyes.execute_script("window.marked = true")
    press = "document.querySelector('#look button').click()"
    eyes.execute_script(press)
    known = len(shown.json("status", "--list"))
    rows = "return new Set([...document.querySelectorAll('[data-group] [data-check]')].map(one => one.dataset.check)).size"
    # What was made up for these tests has no text and goes; the real checks come, and their groups with them.
    eventually(lambda: eyes.execute_script(rows) >= known, 40, "every check on the page")
    eventually(lambda: not eyes.find_element(By.ID, "progress").text, 40, "the end of the run")
    eyes.execute_script(press)
    eventually(lambda: "just looked" in eyes.find_element(By.ID, "progress").text, words="that it was too soon")
    assert eyes.execute_script("return window.marked") is True and not complaints(eyes)
    judge(eyes, "after a run")


def test_without_javascript_all_of_it_works(shown):
    put(shown, "results.json", json.dumps(bad_day()))
    driver = browser(shown, scripts=False)
    try:
        log_in(shown, driver)
        assert driver.find_elements(By.CSS_SELECTOR, "noscript meta[http-equiv=refresh]"), "it does not load itself again"
        row = driver.find_element(By.CSS_SELECTOR, "[data-group] [data-check=broken]")
        row.find_element(By.TAG_NAME, "summary").click()
        assert "Enter this record" in row.find_element(By.CSS_SELECTOR, "pre").text
        (shown.folder / "var/lib/mailstead/web/look-again").unlink(missing_ok=True)
        driver.find_element(By.CSS_SELECTOR, "#look button").click()

        def looked():
            driver.get(address(shown, "/admin"))
            return driver.find_elements(By.CSS_SELECTOR, "[data-check=service-web]") and not driver.find_element(By.ID, "progress").text

        eventually(looked, 40, "the results of the run")
        driver.find_element(By.CSS_SELECTOR, ".logout button").click()
        eventually(lambda: driver.current_url.endswith("/admin/login"), words="the login page")
    finally:
        driver.quit()

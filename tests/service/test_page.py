"""The page in a browser: what a person does with it, from the first key to the audit log."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter
from tests.service.conftest import Running, serving

from vultus.service import Settings
from vultus.types import UInt8Array

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("axe_playwright_python", reason="axe is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
SEEN = "window.violations = []; addEventListener('securitypolicyviolation', (e) => violations.push(e.blockedURI));"


@dataclass(slots=True)
class Photos:
    """Files to choose, by what they show."""

    collins: Path
    collins_again: Path
    hopper: Path
    hopper_again: Path
    doubtful: Path
    nobody: Path


@dataclass(slots=True)
class Tab:
    """A page of the browser, and what it complained of.

    Args:
        page: it.
        said: errors and warnings of its console; an answer that is an error is one.
        faults: exceptions that nobody caught.
    """

    page: Any
    url: str
    said: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def see(self, text: str) -> None:
        playwright.expect(self.page.get_by_text(text).first).to_be_visible()

    def go(self, section: str, heading: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=section, exact=True).click()
        playwright.expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_focused()

    def choose(self, label: str, *paths: Path) -> None:
        self.page.get_by_label(f"{label}: choose").set_input_files(list(paths))

    def sign_in(self, key: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("API key").fill(key)
        self.button("Sign in").click()
        playwright.expect(self.page.get_by_role("heading", level=1)).to_be_focused()  # there is something to use

    def accessible(self) -> None:
        """axe finds nothing that matters, in light and in dark."""
        self.page.evaluate(AXE)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        self.page.emulate_media(color_scheme="dark")
        found += self.page.evaluate("axe.run({runOnly: ['color-contrast'], resultTypes: ['violations']})")["violations"]
        self.page.emulate_media(color_scheme="light")
        told = [(v["id"], v["impact"], n["html"], n["failureSummary"]) for v in found for n in v["nodes"]]
        assert told == []

    def clean(self) -> None:
        """No error on the console, no exception, nothing that the policy refused."""
        assert (self.said, self.faults, self.page.evaluate("window.violations")) == ([], [], [])


AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8") + "\n;undefined"


@pytest.fixture(scope="module")
def service(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without galleries."""
    folder = tmp_path_factory.mktemp("page")
    yield from serving(
        Settings(data=str(folder), threads=1, keep_thumbnails=True, requests_per_second=0, attempts=0, review_fmr=1e-5)
    )


@pytest.fixture(scope="module")
def context(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser; the end of the module ends it, and with it the event loop that Playwright holds."""
    playwright.expect.set_options(timeout=30_000)
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")),
            executable_path=CHROMIUM,
            args=FLAGS,
            viewport={"width": 1280, "height": 860},
            reduced_motion="reduce",
        )
        opened.set_default_timeout(30_000)
        opened.add_init_script(SEEN)
        yield opened
        opened.close()


@pytest.fixture
def tab(service: Running, context: Any) -> Iterator[Tab]:
    """A page where nobody is signed in."""
    context.clear_cookies()
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 860})
    opened = Tab(page, service.url)
    page.goto(f"{service.url}/healthz")  # of the same origin, and asks for nothing that the next test might hear of
    page.evaluate("localStorage.clear()")
    page.goto(service.url)
    page.on("console", lambda m: opened.said.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda problem: opened.faults.append(str(problem)))
    yield opened
    page.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: UInt8Array, hopper: UInt8Array) -> Photos:
    """Two people, each twice; one of them so blurred that her score is near the threshold; and nobody.

    One lies on its side in the file, and is turned by what its EXIF says, as photos of phones are.
    """
    folder = tmp_path_factory.mktemp("photos")
    made = {
        "collins": Image.fromarray(astronaut),
        "collins_again": Image.fromarray((astronaut[20:420, ::-1][:, 30:450] * 0.8).astype("uint8")),
        "hopper": Image.fromarray(hopper),
        "hopper_again": Image.fromarray((hopper[20:560, ::-1][:, 20:480] * 0.85).astype("uint8")),
        "doubtful": Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(3.8)),
        "nobody": Image.new("RGB", (320, 240), "#8aa"),
    }
    paths = {name: folder / f"{name}.jpg" for name in made}
    made["collins_again"] = made["collins_again"].transpose(Image.Transpose.ROTATE_90)
    for name, picture in made.items():
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "collins_again" else 1
        picture.save(paths[name], quality=95, exif=exif)
    return Photos(**paths)


def enrol(tab: Tab, subject: str, name: str, *paths: Path) -> None:
    tab.button("Enrol a person").click()
    tab.page.get_by_label("Id", exact=True).fill(subject)
    tab.page.get_by_label("Name", exact=True).fill(name)
    tab.choose("Photos", *paths)
    tab.button("Enrol").click()
    tab.see(f"{subject} is enrolled with {len(paths)} template")


def test_from_the_first_key_to_the_audit_log(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    tab.sign_in(service.key)

    tab.go("People", "People")
    tab.button("Make a gallery").click()
    page.get_by_label("Name").fill("staff")
    tab.button("Make the gallery").click()
    tab.see("Nobody is enrolled yet")
    enrol(tab, "ada/1", "Eileen Collins", photos.collins, photos.collins_again)
    enrol(tab, "grace", "Grace Hopper", photos.hopper)
    tab.see("A printed photo or a screen would pass")
    for name in ("Eileen Collins", "Grace Hopper"):
        picture = page.get_by_role("img", name=f"Picture of {name}")
        expect(picture).to_be_visible()
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 40
    tab.accessible()

    tab.go("Search", "Search for a person")
    tab.choose("Photo to search with", photos.hopper_again)
    tab.button("Search").click()
    expect(page.locator(".candidate")).to_have_count(1)
    expect(page.locator(".candidate .name")).to_have_text("Grace Hopper")
    expect(page.locator(".candidate").get_by_role("img", name="Score 0.")).to_be_visible()
    tab.see("pad: not_evaluated")
    tab.accessible()
    tab.button("Use another photo").click()
    page.get_by_label("False alarms accepted").select_option("0.1")
    tab.choose("Photo to search with", photos.doubtful)
    tab.button("Search").click()
    tab.see("it went to the review queue")

    tab.go("Groups", "Groups")
    tab.choose("Photos without names", photos.collins, photos.hopper, photos.hopper_again, photos.nobody)
    tab.button("Group the faces").click()
    expect(page.locator(".group")).to_have_count(2)
    tab.see("3 faces in 4 photos")
    pair = page.get_by_role("region", name="Group 1")
    expect(pair.get_by_role("img")).to_have_count(2)
    tab.accessible()
    pair.get_by_label("Id").fill("rear-admiral")
    pair.get_by_role("button", name="Enrol group 1").click()
    tab.see("rear-admiral is enrolled with 2 templates")
    expect(page.locator(".group")).to_have_count(1)

    tab.go("People", "People")
    page.get_by_label("Find by name or id").fill("grace")
    expect(page.locator(".person:visible")).to_have_count(1)
    page.locator(".person:visible").click()
    page.get_by_label("Name", exact=True).fill("Grace Brewster Hopper")
    tab.button("Save the name").click()
    tab.see("The name is saved")
    page.get_by_label("Merge another person into this one").fill("rear-admiral")
    tab.button("Merge").click()
    tab.accessible()
    page.get_by_role("dialog", name="Merge rear-admiral into grace?").get_by_role("button", name="Merge").click()
    tab.see("rear-admiral is merged: 2 templates changed hands")
    tab.button("Close").click()
    tab.see("grace · 3 templates")
    page.locator(".person", has_text="Eileen Collins").click()
    tab.button("Delete this person").click()
    tab.button("Cancel").click()
    tab.button("Delete this person").click()
    page.get_by_role("dialog", name="Delete Eileen Collins?").get_by_role("button", name="Delete", exact=True).click()
    tab.see("Eileen Collins is deleted")
    expect(page.locator(".person")).to_have_count(1)
    held = service.client.get("/v1/galleries/staff/subjects").json()["subjects"]
    assert [(s["subject_id"], s["name"], s["templates"]) for s in held] == [("grace", "Grace Brewster Hopper", 3)]

    tab.go("Audit", "Audit log")
    said = page.locator("tbody tr")
    for action in ("subject.delete", "subject.merge", "subject.rename", "group.enrol", "cluster", "identify"):
        expect(said.filter(has_text=action).first).to_be_visible()
    expect(said.nth(0)).to_contain_text("subject.delete · outcome")
    tab.button("Verify the log").click()
    tab.see("The log is whole")
    tab.accessible()
    tab.button("Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    tab.accessible()
    tab.clean()


def test_two_photos_are_compared_on_the_scale(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    tab.sign_in(service.key)
    tab.choose("First photo", photos.collins)
    tab.choose("Second photo", photos.collins_again)
    expect(page.get_by_text("1 face found")).to_have_count(2)
    assert page.locator(".boxes rect.used").count() == 2
    x = float(page.locator(".boxes rect").first.get_attribute("x"))
    y = float(page.locator(".boxes rect").first.get_attribute("y"))
    with photos.collins.open("rb") as file:
        seen = service.client.post("/v1/detect", files={"image": file}).json()
    assert (x, y) == tuple(seen["faces"][0]["box"][:2])
    for i in range(2):  # the overlay and the picture have one shape, turned or not
        frame = page.locator(".frame").nth(i)
        shape = "(image) => `0 0 ${image.naturalWidth} ${image.naturalHeight}`"
        assert frame.locator("svg").get_attribute("viewBox") == frame.locator("img").evaluate(shape)
    tab.button("Compare").click()
    expect(page.get_by_role("heading", name="The same person")).to_be_visible()
    with photos.collins.open("rb") as one, photos.collins_again.open("rb") as other:
        answer = service.client.post("/v1/verify", files={"image": one, "other": other}).json()
    score, threshold = answer["score"], answer["threshold"]
    words = f"Score {score:.3f} on a scale from 0 to 1. The threshold is {threshold:.3f}."
    expect(page.get_by_role("img", name=words)).to_be_visible()
    track, marker, limit = (page.locator(c).bounding_box() for c in (".track", ".marker", ".limit"))
    for mark, value in ((marker, score), (limit, threshold)):
        middle = (mark["x"] + mark["width"] / 2 - track["x"]) / track["width"]
        assert middle == pytest.approx(value, abs=0.01)
    tab.see("A printed photo or a screen would pass")
    page.get_by_text("What this decision rests on").click()
    tab.see("1 in 10,000 comparisons of two people")
    tab.accessible()
    tab.button("Use another photo").nth(1).click()
    tab.choose("Second photo", photos.hopper)
    tab.button("Compare").click()
    expect(page.get_by_role("heading", name="Not the same person")).to_be_visible()
    tab.clean()


def test_a_key_without_the_scope_score_sees_the_band(tab: Tab, service: Running, photos: Photos) -> None:
    _, key = service.service.keys.create("door", ("identify",))
    tab.sign_in(key)
    playwright.expect(tab.page.get_by_role("navigation").get_by_role("link")).to_have_text(
        ["Compare", "Search", "Review"]
    )
    tab.choose("First photo", photos.collins)
    tab.choose("Second photo", photos.collins_again)
    tab.button("Compare").click()
    playwright.expect(tab.page.get_by_role("img", name="Band: high.")).to_be_visible()
    assert tab.page.locator(".marker").count() == 0
    tab.accessible()
    tab.clean()


def test_a_key_that_may_only_enrol_names_the_gallery(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    service.client.post("/v1/galleries", json={"name": "gate"})
    _, key = service.service.keys.create("gate", ("enrol",))
    tab.sign_in(key)
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["People"])
    tab.see("This key may not list people")
    tab.button("Enrol a person").click()
    page.get_by_label("Id", exact=True).fill("grace")
    tab.button("Enrol").click()
    expect(page.get_by_role("alert")).to_contain_text("A photo is needed")
    tab.choose("Photos", photos.hopper)
    tab.button("Enrol").click()
    expect(page.get_by_role("alert")).to_contain_text("A gallery is needed")
    tab.button("Cancel").click()
    page.get_by_label("Gallery").fill("gate")
    tab.button("Enrol a person").click()
    page.get_by_label("Id", exact=True).fill("..")
    tab.choose("Photos", photos.hopper)
    tab.button("Enrol").click()
    expect(page.get_by_role("alert")).to_contain_text("This id cannot be used here")
    page.get_by_label("Id", exact=True).fill("<b>é/?#")
    page.get_by_text("Consent and expiry").click()
    page.get_by_label("Consent").fill("form 12")
    page.get_by_label("Expires").fill("2099-01-31")
    tab.button("Enrol").click()
    tab.see("<b>é/?# is enrolled with 1 template")
    kept = service.client.get("/v1/galleries/gate/subjects/%3Cb%3E%C3%A9%2F%3F%23").json()["details"]
    assert [(t["consent"], t["expires"][:10]) for t in kept] == [("form 12", "2099-01-31")]
    tab.clean()


def test_two_people_decide_a_review(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    gallery = "/v1/galleries/reviewed"
    assert service.client.post("/v1/galleries", json={"name": "reviewed"}).status_code == 201
    with photos.collins.open("rb") as file:
        service.client.post(f"{gallery}/subjects", files={"image": file}, data={"subject_id": "x"})
    with photos.doubtful.open("rb") as file:
        found = service.client.post(f"{gallery}/identify", files={"image": file}, data={"fpir": "0.1"}).json()
    assert found["review"]
    for name, verdicts in (("first", "0 verdicts so far"), ("second", "1 verdict so far")):
        _, key = service.service.keys.create(name, ("read", "identify"))
        tab.sign_in(key)
        tab.go("Review", "Review queue")
        tab.see(verdicts)
        card = page.get_by_role("article", name="Is it x?")
        expect(card.get_by_role("img")).to_have_count(2)
        if name == "first":
            tab.accessible()
        card.get_by_role("button", name="Same person").click()
        if name == "second":
            tab.see("Nothing waits for a review")
        else:
            tab.see("1 verdict so far; another person decides")
            expect(card.get_by_role("button", name="Same person")).to_have_count(0)
        tab.button("Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
    assert service.client.get(f"/v1/reviews/{found['review']}").json()["state"] == "confirmed"
    tab.clean()


def test_what_the_service_refuses_is_shown(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    page.get_by_label("API key").fill("vk_wrong")
    tab.button("Sign in").click()
    alert = page.get_by_role("alert")
    expect(alert.locator("strong")).to_have_text("Unauthorized")
    expect(alert).to_contain_text("Request ")
    tab.sign_in(service.key)
    tab.choose("First photo", photos.nobody)
    tab.see("No face found")
    tab.button("Compare").click()
    expect(alert).to_contain_text("Two photos are needed")
    tab.choose("Second photo", photos.collins)
    tab.button("Compare").click()
    with photos.nobody.open("rb") as one, photos.collins.open("rb") as other:
        refused = service.client.post("/v1/verify", files={"image": one, "other": other}).json()
    expect(alert.locator("strong")).to_have_text(refused["title"])
    expect(alert).to_contain_text(refused["detail"])
    expect(page.locator(".verdict")).to_have_count(0)
    page.context.clear_cookies()
    tab.button("Compare").click()
    expect(page.get_by_label("API key")).to_be_visible()
    expect(alert).to_contain_text("no key was sent")
    assert tab.faults == []
    assert page.evaluate("window.violations") == []


def test_photos_are_pasted_dropped_and_taken(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    tab.sign_in(service.key)
    content = base64.b64encode(photos.collins.read_bytes()).decode()
    made = """async ([content, kind, where]) => {
        const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "pasted.jpg", { type: "image/jpeg" }));
        const init = { bubbles: true, cancelable: true };
        const event = kind === "paste"
            ? new ClipboardEvent(kind, { ...init, clipboardData: data })
            : new DragEvent(kind, { ...init, dataTransfer: data });
        document.querySelector(where).dispatchEvent(event);
    }"""
    page.evaluate(made, [content, "paste", "body"])
    expect(page.get_by_role("img", name="First photo: pasted.jpg")).to_be_visible()
    tab.see("1 face found")
    page.evaluate(made, [content, "drop", ".photos:nth-child(2) .zone"])
    expect(page.get_by_role("img", name="Second photo: pasted.jpg")).to_be_visible()
    expect(page.get_by_text("1 face found")).to_have_count(2)
    page.evaluate("""() => {
        const data = new DataTransfer();
        data.items.add(new File(["words"], "notes.txt", { type: "text/plain" }));
        const init = { bubbles: true, cancelable: true, dataTransfer: data };
        document.querySelector(".photos .shown").dispatchEvent(new DragEvent("drop", init));
    }""")
    expect(page.get_by_role("alert")).to_contain_text("That is not a photo")
    tab.button("Use another photo").first.click()
    page.get_by_role("button", name="use the camera").first.click()
    tab.button("Take the photo").click()
    expect(page.get_by_role("img", name="camera.jpg")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    tab.see("No face found")
    tab.clean()


@pytest.fixture
def narrow(tab: Tab) -> Tab:
    tab.page.set_viewport_size({"width": 360, "height": 740})
    return tab


def test_every_section_fits_a_phone(narrow: Tab, service: Running, photos: Photos) -> None:
    page = narrow.page
    narrow.sign_in(service.key)
    width: Callable[[], int] = lambda: page.evaluate("document.documentElement.scrollWidth")  # noqa: E731
    narrow.choose("First photo", photos.collins)
    narrow.choose("Second photo", photos.hopper)
    narrow.button("Compare").click()
    playwright.expect(page.locator(".verdict")).to_be_visible()
    assert width() == 360
    links = page.get_by_role("navigation").get_by_role("link")
    assert links.count() == 7
    for i in range(7):
        links.nth(i).click()
        playwright.expect(links.nth(i)).to_have_attribute("aria-current", "page")
        page.wait_for_load_state("networkidle")
        assert width() == 360, links.nth(i).text_content()
    narrow.clean()


def test_the_keyboard_is_enough(tab: Tab, service: Running, photos: Photos) -> None:
    page, expect = tab.page, playwright.expect
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(service.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Compare two photos")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("First photo: choose a photo")).to_be_focused()
    outline = "(input) => getComputedStyle(input.nextElementSibling).outlineStyle"
    assert page.get_by_label("First photo: choose a photo").evaluate(outline) == "solid"
    page.keyboard.press("Shift+Tab")
    back = []
    for _ in range(9):
        back.append(page.evaluate("document.activeElement.textContent"))
        page.keyboard.press("Shift+Tab")
    sections = ["Compare", "Search", "People", "Groups", "Review", "Audit", "Keys"]
    assert back[::-1] == ["Skip to the content", *sections, "Sign out"]
    keys = page.get_by_role("navigation").get_by_role("link", name="Keys")
    keys.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Keys")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("kiosk")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    tab.accessible()
    page.keyboard.press("Enter")
    expect(page.locator(".secret")).to_contain_text("vk_")
    new = next(key for key in service.client.get("/v1/keys").json()["keys"] if key["name"] == "kiosk")
    assert new["scopes"] == ["read"]
    page.get_by_role("button", name=f"Revoke kiosk ({new['key_id']})").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Revoke kiosk?")).to_be_visible()
    expect(tab.button("Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name=f"Revoke kiosk ({new['key_id']})")).to_be_focused()
    tab.clean()

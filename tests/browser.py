"""A headless Chromium of the system, driven by playwright, without a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


class Browser:
    """One page at a time, each in a fresh context."""

    def __init__(self, chromium: "Chromium") -> None:
        self._chromium = chromium
        self.requests: list[str] = []
        """The addresses that the page has requested."""
        self.complaints: list[str] = []
        """Errors and warnings on the page's console."""

    def open(self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file, or an address of this machine, in a window of a size, a phone's if it is narrow."""
        for context in self._chromium.contexts:
            context.close()
        context = self._chromium.new_context(
            viewport={"width": width, "height": height},
            is_mobile=width < 600,
            color_scheme="dark" if dark else "light",
            offline=isinstance(page, Path),
        )
        self.page = context.new_page()
        self.requests.clear()
        self.complaints.clear()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(page.resolve().as_uri() if isinstance(page, Path) else page)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        return self.page.evaluate(expression)

    def press(self, key: str) -> None:
        """Press and release a key."""
        self.page.keyboard.press(key)

    def type(self, words: str) -> None:
        """Press a key for each character."""
        self.page.keyboard.type(words)


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Yield a browser, and close it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield Browser(chromium)
        chromium.close()

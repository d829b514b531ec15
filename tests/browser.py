"""A real browser, Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from ferops.local import access
from stacks import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

LOOKS = {"desktop": (1180, 900, False), "phone in the dark": (390, 844, True)}
"""Width, height and darkness of a page, by what it is seen on."""

FOUND = """axe.run().then(({violations}) =>
  violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html.slice(0, 120)).join(" | ")}`))"""


class Page:
    """The one page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.sent = 0

    def open(self, url: str) -> None:
        """Go to `url` and wait until it is loaded; an answer of 4xx is a page, too."""
        self._ask("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Run JavaScript in the page, wait for its promise, and return the value."""
        reply = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in reply:
            raise AssertionError(reply["exceptionDetails"])
        return reply["result"].get("value")

    def wait_for(self, condition: str, *, within_s: float = 120.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not self.run(condition):
            assert time.monotonic() < deadline_s, f"{condition}: not on {self.run('document.body.innerText')!r}"
            time.sleep(0.1)

    def type(self, text: str) -> None:
        """Type into the element that has the focus, and press Enter."""
        self._ask("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self._ask(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
            )

    def press(self, key: str, code: int) -> None:
        """Press a key that types nothing, such as ArrowRight; `code` is its number on Windows."""
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def click(self, x: float, y: float) -> None:
        """Click at a place of the window, in CSS pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def dark(self, dark: bool, *, printed: bool = False) -> None:
        """Show the page as somebody sees it who likes dark pages, or not; or as they print it."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])

    def shot(self, path: Path) -> None:
        """Write a picture of the whole page, PNG."""
        self._ask("Emulation.setScrollbarsHidden", hidden=True)  # they would lie over the page
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def size(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in an input, as a person does in the dialog; return when the page has been told."""
        heard = f"document.querySelector({json.dumps(selector)}).addEventListener('change', resolve, {{once: true}})"
        self.run(f"window.chosen = new Promise((resolve) => {heard}); null")
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
        self.run("window.chosen.then(() => null)")

    def offline(self, away: bool) -> None:
        self._ask("Network.enable")
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._ask("Network.emulateNetworkConditions", offline=away, **unlimited)

    def downloads_to(self, folder: Path) -> None:
        self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def downloaded(self, path: Path) -> bytes:
        """Return the content of a download, once it is whole: until then it has another name."""
        return bytes(_wait(path.read_bytes))

    def close(self) -> None:
        """End the browser in order, so that its logs are whole."""
        self._ask("Browser.close")

    def _ask(self, method: str, **params: Any) -> Any:
        self.sent += 1
        self.connection.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while True:
            reply = json.loads(self.connection.recv(timeout=120))
            if reply.get("id") == self.sent:
                assert "error" not in reply, reply
                return reply["result"]


@contextmanager
def browser(scratch: Path, *options: str) -> Iterator[Page]:
    """Start Chromium with a profile of its own below `scratch`; in it every name `*.test` is this machine."""
    profile = scratch / "profile"
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = _wait(lambda: (profile / "DevToolsActivePort").read_text().split()[0])
            pages: Sequence[dict[str, str]] = _wait(
                lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5))
            )
            target = next(each for each in pages if each["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None) as connection:
                yield Page(connection)
        finally:
            process.terminate()


def camera(path: Path, people: NDArray[np.uint8]) -> tuple[str, ...]:
    """Write what the camera of a browser shows, MJPEG; return the options of `browser` that give it that camera.

    Args:
        people: two rows of three, uint8 `(320, 480, 3)`; the first two are before the camera.
    """
    still = Image.fromarray(np.pad(people[:160, :320], ((40, 40), (0, 0), (0, 0)), constant_values=90))
    frame = io.BytesIO()
    still.resize((640, 480)).save(frame, "JPEG", quality=95)
    path.write_bytes(30 * frame.getvalue())
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    return (*fake, f"--use-file-for-fake-video-capture={path}")


def log_in(page: Page, running: Running) -> None:
    """Log in to both servers as a person does; browsers keep both logins."""
    page.open(f"{running.ports.prefect_url}/")
    page.wait_for("document.querySelector('input[type=password]') !== null")
    page.run("document.querySelector('input[type=password]').focus()")
    page.type(access.login(running.layout, "prefect"))
    page.wait_for("location.pathname === '/dashboard'")
    page.open(running.ports.mlflow_url.replace("//", f"//{access.login(running.layout, 'mlflow')}@"))
    page.open(f"{running.ports.mlflow_url}/?again")
    assert page.run("fetch('/ajax-api/2.0/mlflow/experiments/search?max_results=1').then(reply => reply.status)") == 200


def _wait(ready: Callable[[], Any]) -> Any:
    for _ in range(300):
        try:
            return ready()
        except (OSError, IndexError):
            time.sleep(0.1)
    raise AssertionError("the browser did not start")


def judged(page: Page, name: str) -> Any:
    """Return what axe finds, whose script the page has run, and that nothing is wider than the window.

    FEROPS_SCREENSHOTS names a folder for pictures.
    """
    if folder := os.environ.get("FEROPS_SCREENSHOTS"):
        page.shot(Path(folder) / f"{name}.png")
    wide = page.run("document.documentElement.scrollWidth > innerWidth ? ['wider than the window'] : []")
    return page.run(FOUND) + wide

"""A visitor: somebody with a browser of their own, who reads pages, fills in forms and follows redirects."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from .failure import Failure
from .forms import read_forms
from .http import httpx

PATIENCE_SECONDS = 60.0
"""How long a visitor waits for an answer; the first one may find the server still starting."""

_PRICE = re.compile(r'class="price">\s*€([0-9.]+)')


class Visitor:
    """One visitor of the app at ``base_url``, who wants ``product``; ``price`` is what its page asked for it.

    Every method raises ``Failure`` where the app does not answer as a visitor would expect.
    """

    def __init__(self, name: str, product: str, base_url: str) -> None:
        self.name = name
        self.product = product
        self.price: float | None = None
        # Every request has a connection of its own: it may meet any worker of the server, and none that the server
        # closes just as it is used again. A proxy of this machine is not asked: the app is on loopback.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._browser = httpx.Client(base_url=base_url, timeout=PATIENCE_SECONDS, limits=limits, trust_env=False)
        self._page: httpx.Response | None = None

    def open(self, path: str) -> None:
        """Open a page."""
        self._send("GET", path)

    def look_at_product(self) -> None:
        """Open the product's page and read the price."""
        self.open(f"/products/{self.product}")
        found = _PRICE.search(self._shown().text)
        if found is None:
            raise Failure(f"{self.name} finds no price on the page of {self.product}")
        self.price = float(found[1])

    def submit(self, path: str, **fields: str) -> None:
        """Fill in the form of this page that goes to ``path``, with what the page has hidden in it, and send it."""
        page = self._shown()
        for form in read_forms(page.text):
            url = urljoin(str(page.url), form.action)
            if urlsplit(url).path == path:
                self._send("POST", url, form.fields | fields)
                return
        raise Failure(f"{self.name} finds no form for {path} on {page.url.path}")

    def press(self, path: str) -> None:
        """Press a button that a script answers with a bare POST to ``path``."""
        self._send("POST", path)

    def follow(self) -> None:
        """Go where the last answer redirected to."""
        page = self._shown()
        if not page.is_redirect:
            raise Failure(f"{self.name} was expected to be redirected by {page.url.path}, which answered otherwise")
        self._send("GET", urljoin(str(page.url), page.headers["Location"]))

    def close(self) -> None:
        """Leave."""
        self._browser.close()

    def _shown(self) -> httpx.Response:
        assert self._page is not None, "no page was opened"
        return self._page

    def _send(self, method: str, url: str, fields: dict[str, str] | None = None) -> None:
        try:
            self._page = self._browser.request(method, url, data=fields)
        except httpx.HTTPError as exc:
            raise Failure(f"{self.name}: {method} {urlsplit(url).path} got no answer: {exc}") from exc
        if self._page.status_code >= 400:
            raise Failure(f"{self.name}: {method} {urlsplit(url).path} was answered with {self._page.status_code}")

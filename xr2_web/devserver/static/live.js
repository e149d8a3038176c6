// Says whether a page is connected, and leaves a browser's few connections to the pages that are looked at.
"use strict";
(() => {
  let place = null;
  let source = null;

  function tell(state, words) {
    const connection = document.querySelector(".connection");
    connection.dataset.state = state;
    connection.textContent = words;
  }

  // What a reader has opened or closed stays so, whatever arrives.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) =>
    !(name === "open" && element.tagName === "DETAILS");

  document.addEventListener("htmx:sseOpen", (event) => {
    place = event.target;
    source = event.detail.source;
    tell("open", "live");
  });
  document.addEventListener("htmx:sseError", () => tell("lost", "connecting again"));
  document.addEventListener("visibilitychange", () => {
    if (!source) return;
    if (document.hidden) {
      source.close();
      tell("lost", "paused");
    } else if (source.readyState === EventSource.CLOSED) {
      // The extension connects each element once: the same element again is another one.
      const copy = place.cloneNode(true);
      place.replaceWith(copy);
      htmx.process(copy);
    }
  });
})();

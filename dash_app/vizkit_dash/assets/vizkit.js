/* What the other modules share. One global, window.vizkit_dash, is where Dash looks for components by their name. */
(function () {
  "use strict";
  const app = (window.vizkit_dash = window.vizkit_dash || {});

  /* Where this app is mounted. A host may serve Dash under a prefix, which Dash writes into its own config. */
  function prefix() {
    const config = document.getElementById("_dash-config");
    try {
      return JSON.parse(config.textContent).requests_pathname_prefix || "/";
    } catch (none) {
      return "/";
    }
  }

  /* The sizes in which the server makes thumbnails: the next larger one is asked for and scaled down. */
  const SIDES = [64, 96, 160, 224, 448];

  function thumbnail(ref, pixels, version) {
    const side = SIDES.find((s) => s >= pixels) || SIDES[SIDES.length - 1];
    const path = ref.split("/").map(encodeURIComponent).join("/");
    return prefix() + "_vizkit/thumb/" + side + "/" + path + (version ? "?v=" + encodeURIComponent(version) : "");
  }

  /* Numbers as a person reads them: always four significant digits, so that columns stand even, a real minus sign. */
  function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : value.toPrecision(4);
    return text.replace("-", "−");
  }

  app.shared = { prefix, thumbnail, number, h: window.React.createElement };
})();

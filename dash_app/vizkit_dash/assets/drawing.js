/* A picture that the server drew. Both looks are there, hidden by the style sheet as the page is light or dark; a hidden
   lazy picture is not fetched. */
(function () {
  "use strict";
  const { h } = window.vizkit_dash.shared;

  function Drawing({ src, dark, alt }) {
    const image = (from, look) => h("img", { key: from, src: from, alt, loading: "lazy", className: look });
    return h("div", { className: "vk-drawn" }, image(src, dark ? "vk-light" : ""), dark ? image(dark, "vk-dark") : null);
  }

  window.vizkit_dash.Drawing = Drawing;
})();

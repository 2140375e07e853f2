/* A grid of pictures. One component for all cells: a thousand components with a thousand ids would take seconds to load.
   One cell at a time is in the tab order (roving tabindex); the arrow keys move it. */
(function () {
  "use strict";
  const { useRef, useState, useEffect } = window.React;
  const { h, thumbnail, number } = window.vizkit_dash.shared;

  /* How many cells stand in the first row, read from where the browser put them: CSS decides, not we. */
  function columns(cells) {
    const top = cells.length ? cells[0].getBoundingClientRect().top : 0;
    let n = 0;
    while (n < cells.length && Math.abs(cells[n].getBoundingClientRect().top - top) < 2) n += 1;
    return Math.max(1, n);
  }

  function target(key, at, cells) {
    const last = cells.length - 1;
    const row = columns(cells);
    switch (key) {
      case "ArrowRight": return Math.min(last, at + 1);
      case "ArrowLeft": return Math.max(0, at - 1);
      case "ArrowDown": return at + row <= last ? at + row : at;
      case "ArrowUp": return at - row >= 0 ? at - row : at;
      case "Home": return 0;
      case "End": return last;
      default: return null;
    }
  }

  function spoken(item) {
    const parts = [(item.rank != null ? item.rank + ": " : "") + (item.label || item.id)];
    if (item.similarity != null) parts.push(item.similarity.toFixed(1) + " % similar");
    if (item.distance != null) parts.push("distance " + number(item.distance));
    if (item.same != null) parts.push(item.same ? "same class" : "another class");
    return parts.join(", ");
  }

  function Mark({ same }) {
    if (same == null) return null;
    /* Colour, shape and word: any one of the three is enough. */
    return h("span", { className: same ? "vk-mark vk-same" : "vk-mark vk-other", title: same ? "same class" : "another class" },
      h("span", { className: "vk-sign" }, same ? "✓" : "–"), same ? "same" : "other");
  }

  function Picture({ item, side, compact }) {
    const pixels = Math.min(448, side * Math.min(2, window.devicePixelRatio || 1));
    const name = item.label || item.id;
    const src = item.src || thumbnail(item.id, pixels, item.version);
    return h("span", { className: "vk-frame" },
      /* Keyed by its address: a new picture never shows the old one's pixels while it loads. */
      h("img", { key: src, src, alt: name, loading: "lazy", decoding: "async", width: side, height: side, draggable: false }),
      !compact && item.rank != null ? h("span", { className: "vk-rank" }, item.rank) : null);
  }

  function Words({ item }) {
    const share = item.similarity == null ? 0 : Math.max(0, Math.min(100, item.similarity));
    return h("span", { className: "vk-words", "aria-hidden": true },
      h("span", { className: "vk-line" }, h("span", { className: "vk-label" }, item.label || item.id), h(Mark, { same: item.same })),
      item.similarity == null ? null
        : h("span", { className: "vk-line vk-numbers" },
            h("span", { className: "vk-bar" }, h("span", { className: "vk-fill", style: { width: share + "%" } })),
            h("span", { className: "vk-percent" }, share.toFixed(1), " %")),
      item.distance == null ? null : h("span", { className: "vk-line vk-distance" }, "distance ", number(item.distance)));
  }

  function ImageGrid(props) {
    const { items = [], current, compact = false, label = "Pictures", side = 224 } = props;
    const list = useRef(null);
    const start = Math.max(0, items.findIndex((item) => item.id === current));
    const [at, setAt] = useState(start);
    useEffect(() => setAt(start), [current, items.length]);
    /* A shelf scrolls to the picture that is current. The shelf alone: scrollIntoView would move the page as well. */
    useEffect(() => {
      const cell = list.current.querySelector("[aria-current=true]");
      const shelf = list.current.closest(".vk-shelf");
      if (!cell || !shelf || !compact) return;
      const [a, b] = [cell.getBoundingClientRect(), shelf.getBoundingClientRect()];
      if (a.top < b.top || a.bottom > b.bottom) shelf.scrollTop += a.top - b.top - (b.height - a.height) / 2;
      if (a.left < b.left || a.right > b.right) shelf.scrollLeft += a.left - b.left - (b.width - a.width) / 2;
    }, [current, items.length]);
    const stop = Math.min(at, Math.max(0, items.length - 1));

    /* Clicks and keys are heard once, on the list. */
    const cells = () => Array.from(list.current.querySelectorAll("button"));
    function choose(event) {
      const cell = event.target.closest("button");
      if (!cell) return;
      const i = cells().indexOf(cell);
      setAt(i);
      props.setProps({ selected: items[i].id, n_selected: (props.n_selected || 0) + 1 });
    }
    function move(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const all = cells();
      const to = target(event.key, all.indexOf(document.activeElement), all);
      if (to === null) return;
      event.preventDefault();
      setAt(to);
      all[to].focus();
    }

    return h("ol", { id: typeof props.id === "string" ? props.id : undefined, ref: list, "aria-label": label,
        className: "vk-grid" + (compact ? " vk-compact" : ""), onClick: choose, onKeyDown: move },
      items.map((item, i) => h("li", { key: compact ? item.id : i },
        h("button", { type: "button", className: "vk-cell", "data-id": item.id, tabIndex: i === stop ? 0 : -1,
            "aria-label": spoken(item), "aria-current": item.id === current ? "true" : undefined,
            title: compact ? item.label || item.id : undefined },
          h(Picture, { item, side, compact }), compact ? null : h(Words, { item })))));
  }

  window.vizkit_dash.ImageGrid = ImageGrid;
})();

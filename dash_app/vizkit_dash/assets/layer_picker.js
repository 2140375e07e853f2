/* Choosing a layer: a button that says which one it is, and a list with what is known of each, the telling ones first.
   A combobox with a list box, as the ARIA authoring practices describe it. */
(function () {
  "use strict";
  const { useEffect, useRef, useState } = window.React;
  const { h } = window.vizkit_dash.shared;

  const count = (n) => n.toLocaleString("en");

  function Row({ row, active, chosen, id, pick }) {
    const ref = useRef(null);
    useEffect(() => { if (active) ref.current.scrollIntoView({ block: "nearest" }); }, [active]);
    return h("div", { id, ref, role: "option", "aria-selected": chosen, className: "vk-layer" + (active ? " vk-active" : ""),
        onMouseDown: (event) => { event.preventDefault(); pick(row.value); } },
      h("span", { className: "vk-index" }, row.index),
      h("span", { className: "vk-name" }, row.value, row.curated ? h("span", { className: "vk-star", title: "a telling layer" }, " ★") : null),
      h("span", { className: "vk-about" }, row.type, " · ", row.shape, " · ", count(row.channels), " channels · ",
        count(row.params), " parameters"));
  }

  function found(rows, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => words.every((w) => (row.value + " " + row.type + " " + row.index).toLowerCase().includes(w));
    const all = rows.filter(fits);
    const curated = all.filter((row) => row.curated);
    return { curated, all, flat: curated.concat(all) };
  }

  function LayerPicker({ id, field, value, describedBy, invalid, choose }) {
    const [open, setOpen] = useState(false);
    const [text, setText] = useState("");
    const [at, setAt] = useState(0);
    const box = useRef(null);
    const button = useRef(null);
    const rows = field.options;
    const { curated, all, flat } = found(rows, text);
    const chosen = rows.find((row) => row.value === value);

    useEffect(() => {
      if (!open) return undefined;
      const away = (event) => { if (!box.current.contains(event.target)) setOpen(false); };
      document.addEventListener("pointerdown", away);
      return () => document.removeEventListener("pointerdown", away);
    }, [open]);

    function show() {
      setText("");
      setAt(Math.max(0, found(rows, "").flat.findIndex((row) => row.value === value)));
      setOpen(true);
    }
    function pick(path) {
      setOpen(false);
      button.current.focus();
      if (path !== value) choose(path);
    }
    function keys(event) {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
      if (event.key in steps) setAt(Math.max(0, Math.min(flat.length - 1, at + steps[event.key])));
      else if (event.key === "Enter" && flat[at]) pick(flat[at].value);
      else if (event.key === "Escape") { setOpen(false); button.current.focus(); }
      else if (event.key === "Tab") { setOpen(false); return; }
      else return;
      event.preventDefault();
    }
    const section = (title, part, offset) => part.length
      ? h("div", { role: "group", "aria-label": title }, h("div", { className: "vk-group" }, title),
          part.map((row, i) => h(Row, { key: row.value, id: id + "-" + (offset + i), row, pick,
            active: offset + i === at, chosen: row.value === value })))
      : null;

    return h("div", { className: "vk-picker", ref: box },
      h("button", { id, ref: button, type: "button", className: "vk-input vk-select", "aria-haspopup": "listbox", "aria-expanded": open,
          "aria-describedby": describedBy, "data-invalid": invalid || undefined, disabled: !rows.length,
          onClick: () => (open ? setOpen(false) : show()),
          onKeyDown: (event) => { if (!open && (event.key === "ArrowDown" || event.key === "ArrowUp")) { event.preventDefault(); show(); } } },
        chosen ? h("span", { className: "vk-index" }, chosen.index) : null,
        h("span", { className: "vk-name" }, value || field.placeholder || "default")),
      open ? h("div", { className: "vk-popover" },
        h("input", { className: "vk-input", type: "search", autoFocus: true, value: text, placeholder: "Find by name, type or number",
          role: "combobox", "aria-expanded": true, "aria-controls": id + "-list", "aria-label": "Find a layer",
          "aria-activedescendant": flat[at] ? id + "-" + at : undefined, autoComplete: "off", spellCheck: false,
          onChange: (event) => { setText(event.target.value); setAt(0); }, onKeyDown: keys }),
        h("div", { id: id + "-list", role: "listbox", "aria-label": field.label, className: "vk-list" },
          section("Telling layers", curated, 0), section("All, in network order", all, curated.length),
          flat.length ? null : h("p", { className: "vk-help" }, "No layer is called that."))) : null);
  }

  window.vizkit_dash.shared.LayerPicker = LayerPicker;
})();

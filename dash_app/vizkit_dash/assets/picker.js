/* Choosing among things that deserve a line of explanation each: models, pictures, layers. A button says which one it is;
   below it opens a list, with a box to search where it is long. A combobox with a list box, as the ARIA practices have it. */
(function () {
  "use strict";
  const { useEffect, useRef, useState } = window.React;
  const { h } = window.vizkit_dash.shared;

  const LONG = 12; // rows from which a box to search is worth its place

  function Row({ row, active, chosen, id, pick }) {
    const ref = useRef(null);
    useEffect(() => { if (active) ref.current.scrollIntoView({ block: "nearest" }); }, [active]);
    return h("div", { id, ref, role: "option", "aria-selected": chosen, className: "vk-option" + (active ? " vk-active" : "") + (row.index == null ? "" : " vk-indexed"),
        onMouseDown: (event) => { event.preventDefault(); pick(row.value); } },
      row.index == null ? null : h("span", { className: "vk-index" }, row.index),
      h("span", { className: "vk-name" }, row.label, row.star ? h("span", { className: "vk-star", "aria-hidden": true }, " ★") : null),
      h("span", { className: "vk-about" }, row.about));
  }

  function found(rows, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => words.every((w) => [row.label, row.about, row.index].join(" ").toLowerCase().includes(w));
    const all = rows.filter(fits);
    const first = all.filter((row) => row.star);
    return { first, all, flat: first.concat(all) };
  }

  function Picker({ id, field, value, describedBy, invalid, choose }) {
    const [open, setOpen] = useState(false);
    const [text, setText] = useState("");
    const [at, setAt] = useState(0);
    const box = useRef(null);
    const button = useRef(null);
    const rows = field.options;
    const { first, all, flat } = found(rows, text);
    const chosen = rows.find((row) => row.value === value);

    useEffect(() => {
      if (!open) return undefined;
      const away = (event) => { if (!box.current.contains(event.target)) setOpen(false); };
      document.addEventListener("pointerdown", away);
      return () => document.removeEventListener("pointerdown", away);
    }, [open]);

    const [right, setRight] = useState(false);
    function show() {
      /* Near the right edge of the panel the list opens to the left. */
      const panel = box.current.closest(".vk-panel, body").getBoundingClientRect();
      setRight(box.current.getBoundingClientRect().left + 400 > panel.right);
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
      ? h("div", { role: "group", "aria-label": title || field.label }, title ? h("div", { className: "vk-group" }, title) : null,
          part.map((row, i) => h(Row, { key: row.value, id: id + "-" + (offset + i), row, pick,
            active: offset + i === at, chosen: row.value === value })))
      : null;

    return h("div", { className: "vk-picker", ref: box },
      h("button", { id, ref: button, type: "button", className: "vk-input vk-select", "aria-haspopup": "listbox", "aria-labelledby": id + "-label " + id, "aria-expanded": open,
          "aria-describedby": describedBy, "data-invalid": invalid || undefined, disabled: !rows.length,
          onClick: () => (open ? setOpen(false) : show()),
          onKeyDown: (event) => { if (!open && (event.key === "ArrowDown" || event.key === "ArrowUp")) { event.preventDefault(); show(); } } },
        chosen && chosen.index != null ? h("span", { className: "vk-index" }, chosen.index) : null,
        h("span", { className: "vk-name" }, chosen ? chosen.label : value || field.placeholder || "default")),
      open ? h("div", { className: right ? "vk-popover vk-right" : "vk-popover" },
        h("input", { className: rows.length > LONG ? "vk-input" : "vk-unseen", type: "search", autoFocus: true, value: text,
          readOnly: rows.length <= LONG, placeholder: "Find by name, type or number",
          role: "combobox", "aria-expanded": true, "aria-controls": id + "-list", "aria-label": "Find: " + field.label,
          "aria-activedescendant": flat[at] ? id + "-" + at : undefined, autoComplete: "off", spellCheck: false,
          onChange: (event) => { setText(event.target.value); setAt(0); }, onKeyDown: keys }),
        h("div", { id: id + "-list", role: "listbox", "aria-label": field.label, className: "vk-list" },
          section(first.length ? field.star : "", first, 0), section(first.length ? field.rest : "", all, first.length),
          flat.length ? null : h("p", { className: "vk-help" }, "Nothing is called that."))) : null);
  }

  window.vizkit_dash.shared.Picker = Picker;
})();

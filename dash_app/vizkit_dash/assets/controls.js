/* The settings of a technique, drawn from a description of each field. Native controls wherever there is one, because they
   work with every keyboard, phone and screen reader. A choice is told once, when it is made, not while a slider moves. */
(function () {
  "use strict";
  const { useEffect, useState, useRef } = window.React;
  const { h, Picker } = window.vizkit_dash.shared;

  const same = (a, b) => String(a) === String(b);

  function Select({ id, field, value, describedBy, invalid, choose }) {
    const known = field.options.some((o) => same(o.value, value));
    return h("select", { id, className: "vk-input vk-select", value: value == null ? "" : String(value), "aria-describedby": describedBy,
        "aria-invalid": invalid || undefined, onChange: (event) => choose(event.target.value) },
      /* A value from an address that is none of the choices is shown as it is, beside the sentence about it. */
      known || value == null ? null : h("option", { value: String(value) }, String(value)),
      field.options.map((o) => h("option", { key: String(o.value), value: String(o.value) }, o.label)));
  }

  /* A box that holds what is typed until it is meant: Enter, or leaving it. */
  function Box({ id, field, value, describedBy, invalid, choose, numeric }) {
    const given = value == null ? "" : String(value);
    const [text, setText] = useState(given);
    useEffect(() => setText(given), [given]);
    /* A word from an address stands in a box for words, beside the sentence about it: a box for numbers would drop it. */
    const counts = numeric && Number.isFinite(Number(text));
    const list = (field.offers || []).length ? id + "-offers" : undefined;
    const tell = (now) => {
      if (now === given) return;
      /* An empty box would be read as the default; it shows again what is in force. */
      if (numeric && !field.optional && now.trim() === "") { setText(given); return; }
      choose(numeric && now.trim() !== "" && Number.isFinite(Number(now)) ? Number(now) : now);
    };
    return h(window.React.Fragment, null,
      h("input", { id, className: "vk-input", type: counts ? "number" : "text", value: text, placeholder: field.placeholder,
        min: field.min, max: field.max, step: counts ? (field.whole ? 1 : "any") : undefined, list, autoComplete: "off",
        "aria-describedby": describedBy, "aria-invalid": invalid || undefined, spellCheck: false,
        onChange: (event) => {
          const now = event.target.value;
          setText(now);
          /* The arrows of the box and a pick from its list are choices; typed keys come with an inputType. */
          if (numeric && event.nativeEvent.inputType === undefined) tell(now);
        },
        onBlur: () => tell(text),
        onKeyDown: (event) => { if (event.key === "Enter") { event.preventDefault(); tell(text); } } }),
      list ? h("datalist", { id: list }, field.offers.map((n) => h("option", { key: n, value: n }))) : null);
  }

  function Slider(props) {
    const { id, field, value, describedBy, choose } = props;
    const number = Number(value);
    const inside = value != null && value !== "" && Number.isFinite(number) && number >= field.min && number <= field.max;
    const [at, setAt] = useState(inside ? number : field.min);
    const range = useRef(null);
    useEffect(() => { if (inside) setAt(number); }, [value]);
    /* React's onChange fires while the thumb moves; the browser's own change event when it has come to rest. */
    const latest = useRef(choose);
    latest.current = choose;
    useEffect(() => {
      const rest = (event) => latest.current(Number(event.target.value));
      const element = range.current;
      element.addEventListener("change", rest);
      return () => element.removeEventListener("change", rest);
    }, []);
    return h("div", { className: "vk-slider" },
      h("input", { type: "range", ref: range, min: field.min, max: field.max, step: field.step, value: at, "aria-label": field.label,
        "aria-describedby": describedBy, style: { "--at": ((at - field.min) / (field.max - field.min)) * 100 + "%" },
        onChange: (event) => setAt(Number(event.target.value)) }),
      h(Box, { ...props, value: inside ? at : value, numeric: true }));
  }

  function Switch({ id, field, value, describedBy, choose }) {
    return h("label", { className: "vk-switch" },
      h("input", { id, type: "checkbox", role: "switch", checked: Boolean(value), "aria-describedby": describedBy,
        onChange: (event) => choose(event.target.checked) }), h("span", null, field.label));
  }

  const KINDS = { select: Select, slider: Slider, switch: Switch, picker: Picker,
    text: (props) => h(Box, props), number: (props) => h(Box, { ...props, numeric: true }) };

  function Field({ base, field, value, error, choose }) {
    const id = base + "-" + field.name;
    const describedBy = id + "-help";
    const Kind = KINDS[field.kind];
    return h("div", { className: "vk-field vk-kind-" + field.kind, "data-field": field.name },
      field.kind === "switch" ? null : h("label", { htmlFor: id, id: id + "-label" }, field.label),
      h(Kind, { id, field, value, describedBy, invalid: Boolean(error), choose }),
      /* Help and error share one place, so that nothing below moves when the one turns into the other. */
      error ? h("p", { id: describedBy, className: "vk-error" }, error)
        : h("p", { id: describedBy, className: "vk-help", title: help(field, value) }, help(field, value)));
  }

  /* Of a model it is worth more to know how large it is than what a model is. */
  function help(field, value) {
    const chosen = (field.options || []).find((o) => same(o.value, value));
    return (chosen && chosen.about) || field.help;
  }

  let instances = 0;

  function Controls(props) {
    const { fields = [], values = {}, errors = {} } = props;
    const base = useRef(null);
    if (base.current === null) base.current = "vk-controls-" + (instances += 1);
    /* What was chosen shows at once; the server's answer then takes its place, whatever it is. */
    const [mine, setMine] = useState({});
    useEffect(() => setMine({}), [values]);
    const now = { ...values, ...mine };
    const choose = (name, value) => {
      setMine((before) => ({ ...before, [name]: value }));
      props.setProps({ changed: { name, value, n: ((props.changed && props.changed.n) || 0) + 1 } });
    };
    const draw = (field) => h(Field, { key: field.name, base: base.current, field, value: now[field.name], error: errors[field.name],
      choose: (value) => choose(field.name, value) });
    const plain = fields.filter((f) => !f.advanced);
    const advanced = fields.filter((f) => f.advanced);
    const wrong = advanced.some((f) => errors[f.name]);
    const [open, setOpen] = useState(false);
    useEffect(() => { if (wrong) setOpen(true); }, [wrong]);
    const narrow = useNarrow();
    const all = [h("div", { key: "plain", className: "vk-fields" }, plain.map(draw)),
      advanced.length ? h("details", { key: "advanced", className: "vk-advanced", open, onToggle: (event) => setOpen(event.currentTarget.open) },
        h("summary", null, "Advanced"), h("div", { className: "vk-fields" }, advanced.map(draw))) : null];
    const wrongs = Object.keys(errors).length > 0;
    return h("div", { className: "vk-controls", role: "group", "aria-label": props.label },
      narrow ? h(Folded, { wrongs, words: plain.map((f) => now[f.name]).filter((v) => v != null && v !== "") }, all) : all);
  }

  /* On a phone the pictures come first, and the settings are one line that says what they are. */
  function Folded({ words, wrongs, children }) {
    const [open, setOpen] = useState(false);
    useEffect(() => { if (wrongs) setOpen(true); }, [wrongs]);
    return h("details", { className: "vk-settings", open, onToggle: (event) => { if (event.target === event.currentTarget) setOpen(event.target.open); } },
      h("summary", null, "Settings ", h("span", null, words.join(" · "))), h("div", null, children));
  }

  function useNarrow() {
    const query = useRef(window.matchMedia("(max-width: 640px)")).current;
    const [narrow, setNarrow] = useState(query.matches);
    useEffect(() => {
      const hear = () => setNarrow(query.matches);
      query.addEventListener("change", hear);
      return () => query.removeEventListener("change", hear);
    }, []);
    return narrow;
  }

  window.vizkit_dash.Controls = Controls;
})();

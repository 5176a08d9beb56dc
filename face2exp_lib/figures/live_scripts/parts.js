// What the live figures share. Colours are those of figures/style.py.
const COLOURS = {right: "#0072b2", new: "#d55e00", old: "#7f7f7f", mean: "#009e73"};

const make = (parent, tag, attributes = {}, text = "") => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
};

// A labelled input of the browser, which keyboards and screen readers know; `told` words its value.
const slider = (parent, text, {min, max, step, value}, told, moved) => {
  const label = make(parent, "label", {class: "live-slider"});
  make(label, "span", {}, text);
  const input = make(label, "input", {type: "range", min, max, step});
  input.value = value;
  const output = make(label, "output");
  const tell = () => {
    output.textContent = told(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { tell(); moved(); });
  tell();
  return {get: () => input.valueAsNumber, set: (to) => { input.value = to; tell(); }};
};

const choice = (parent, text, options, moved) => {
  const label = make(parent, "label", {class: "live-choice"}, text + " ");
  const select = make(label, "select");
  for (const [value, name] of Object.entries(options)) make(select, "option", {value}, name);
  select.addEventListener("change", moved);
  return {get: () => select.value};
};

const dark = () => document.documentElement.dataset.theme === "dark";

// Drawn now, and again where the page turns dark or light.
const drawnWith = (draw) => {
  draw();
  new MutationObserver(draw).observe(
    document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
};

const signed = (value, digits) => {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? "−" : "+") + text;
};

// Small helpers for the page's elements. Text goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function show(element, wanted = true) {
  element.hidden = !wanted;
}

export function complain(place, message, again) {
  const parts = [make("p", {}, message)];
  if (again) {
    const button = make("button", { type: "button" }, "Try again");
    button.addEventListener("click", again);
    parts.push(button);
  }
  place.replaceChildren(make("div", { className: "error", role: "alert" }, ...parts));
}

// A number with as many digits as tell something.
export function readable(value) {
  if (value === null) return "no number";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3));
  return text.replace("-", "−");
}

export function counted(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} billion`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} million`;
  return value.toLocaleString("en");
}

// One stop for the Tab key in a list of many; the arrow keys move within it.
export function roving(list, columns = () => 1) {
  list.addEventListener("keydown", (event) => {
    const items = [...list.querySelectorAll("button:not([hidden])")];
    const now = items.indexOf(document.activeElement);
    if (now < 0) return;
    const across = columns(items);
    const steps = {
      ArrowDown: across, ArrowUp: -across, ArrowRight: 1, ArrowLeft: -1,
      PageDown: across * 10, PageUp: -across * 10, Home: -items.length, End: items.length,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    focusOn(items, items[Math.min(Math.max(now + steps[event.key], 0), items.length - 1)]);
  });
}

export function focusOn(items, item, focus = true) {
  for (const other of items) other.tabIndex = other === item ? 0 : -1;
  if (focus) item.focus();
}

// "n02124075 Egyptian cat": the name, and the number by which WordNet knows it.
export function partsOf(label) {
  const found = /^(n\d{8})\s+(.+)$/.exec(label);
  return found ? { name: found[2], number: found[1] } : { name: label, number: "" };
}

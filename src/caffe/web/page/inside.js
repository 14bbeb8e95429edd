// The net as a list of layers and as a graph; which of its layers is chosen.

import { askOnce, newest } from "./api.js";
import { byId, complain, counted, focusOn, make, roving, show } from "./dom.js";
import { Graph } from "./graph.js";
import { keepAnswer } from "./json.js";
import { Panel } from "./panel.js";

export class Inside {
  constructor(page) {
    this.page = page;
    this.panel = new Panel(page);
    this.signal = newest();
    this.graph = new Graph((name) => this.#step(name));
    this.layers = [];
    byId("open-inside").addEventListener("click", () => {
      page.step();
      if (byId("inside-body").hidden || this.source.dropped) this.open();
      else this.#close();
    });
    byId("find").addEventListener("input", () => this.#find());
    byId("find").addEventListener("keydown", (event) => {
      const first = byId("layers").querySelector("li:not([hidden]) button");
      if (event.key === "ArrowDown" && first) {
        event.preventDefault();
        focusOn([...byId("layers").querySelectorAll("button")], first);
      }
    });
    byId("layers").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#step(button.dataset.layer);
    });
    roving(byId("layers"));
    for (const way of ["list", "graph"]) {
      byId(`as-${way}`).addEventListener("change", () => this.#showAs(way));
    }
    byId("unfolded").addEventListener("change", () => this.#drawGraph());
  }

  async open() {
    const { page } = this;
    const { model } = page.state;
    byId("inside-error").replaceChildren();
    byId("open-inside").textContent = "Reading the net …";
    const path = `/models/${encodeURIComponent(model)}`;
    const signal = this.signal();
    try {
      const { answer, command } = await askOnce(path, { signal });
      signal.throwIfAborted();
      keepAnswer("structure-json", answer, command);
      this.#take(answer, { name: model, looks: true, explains: answer.task === "classes",
        filters: `${path}/filters`, graph: `${path}/graph` });
    } catch (error) {
      if (error.name === "AbortError") return;
      complain(byId("inside-error"), error.message, () => this.open());
      byId("open-inside").textContent = "Look inside";
    }
  }

  // A net that was dropped on the page: looked at, and not run.
  openDropped(answer, command, source) {
    this.signal();
    keepAnswer("structure-json", answer, command);
    this.#take(answer, source);
    byId("inside").scrollIntoView({ block: "start" });
  }

  #take(net, source) {
    const { page } = this;
    this.source = source;
    this.#list(net);
    show(byId("inside-body"));
    byId("open-inside").textContent = source.dropped ? "Back to the model" : "Close";
    byId("open-inside").setAttribute("aria-expanded", "true");
    const known = this.layers.some((layer) => layer.name === page.state.layer);
    const start = this.layers.find((layer) => layer.family === "convolution") ?? this.layers[0];
    if (start) this.choose(known ? page.state.layer : start.name);
    this.graph.forget();
    if (byId("as-graph").checked) this.#drawGraph();
  }

  #close() {
    show(byId("inside-body"), false);
    byId("open-inside").textContent = "Look inside";
    byId("open-inside").setAttribute("aria-expanded", "false");
    this.page.state.layer = "";
    this.page.remember();
  }

  goBack({ layer }) {
    if (!layer) {
      if (this.isOpen) this.#close();
    } else if (!this.isOpen) {
      this.open();
    } else if (this.layers.some((one) => one.name === layer)) {
      this.choose(layer);
    }
  }

  get isOpen() {
    return !byId("inside-body").hidden;
  }

  refresh() {
    if (this.isOpen) this.panel.refresh();
  }

  #list(net) {
    this.layers = net.layers;
    const facts = [`${net.net || "The net"}: ${net.layers.length} layers`];
    if (net.parameters) facts.push(`${counted(net.parameters)} parameters`);
    if (net.multiply_adds) facts.push(`${counted(net.multiply_adds)} multiply-adds for a picture`);
    if (net.classes) facts.push(`${counted(net.classes)} classes`);
    byId("totals").textContent = facts.join(", ");
    byId("layers").replaceChildren(...net.layers.map((layer) => {
      const button = make("button", { type: "button", tabIndex: -1, className: layer.family },
        make("span", { className: "layer-name" }, layer.name),
        make("span", { className: "layer-type" }, layer.type),
        make("span", { className: "layer-shape" }, layer.shapes[0] ? shapeText(layer.shapes[0]) : ""));
      button.dataset.layer = layer.name;
      if (layer.in_place) button.classList.add("in-place");
      return make("li", {}, button);
    }));
    this.#find();
  }

  #find() {
    const wanted = byId("find").value.trim().toLowerCase();
    for (const item of byId("layers").children) {
      const hidden = !item.textContent.toLowerCase().includes(wanted);
      item.hidden = hidden;
      item.firstChild.hidden = hidden;
    }
    const found = byId("layers").querySelector("li:not([hidden])");
    show(byId("none-found"), this.layers.length > 0 && !found);
    show(byId("layers"), byId("none-found").hidden);
    this.graph.find(wanted);
  }

  #step(name) {
    if (name !== this.page.state.layer) this.page.step();
    this.choose(name);
  }

  choose(name) {
    const layer = this.layers.find((one) => one.name === name);
    if (!layer) return;
    this.page.state.layer = name;
    const buttons = [...byId("layers").querySelectorAll("button")];
    const chosen = buttons.find((button) => button.dataset.layer === name);
    for (const button of buttons) {
      if (button === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    focusOn(buttons, chosen, false);
    within(byId("layers"), chosen.parentElement);
    this.graph.mark(name);
    this.panel.show(layer, this.source, this.graph.matesOf(name), (other) => this.#step(other));
  }

  #showAs(way) {
    show(byId("list-pane"), way === "list");
    show(byId("graph-pane"), way === "graph");
    byId("inside-body").classList.toggle("wide", way === "graph");
    if (way === "graph") this.#drawGraph();
  }

  async #drawGraph() {
    const query = { fold: byId("unfolded").checked ? "no" : "yes" };
    const { source } = this;
    this.graph.wait();
    try {
      const { answer } = await askOnce(source.graph, { query, body: source.body });
      if (source !== this.source) return;
      this.graph.draw(answer);
      this.choose(this.page.state.layer);
    } catch (error) {
      this.graph.fail(error, () => this.#drawGraph());
    }
  }
}

function shapeText(shape) {
  const [, ...rest] = shape;
  if (rest.length === 3 && rest[1] * rest[2] > 1) return `${rest[0]} × ${rest[1]}×${rest[2]}`;
  return rest.length ? String(rest.reduce((product, one) => product * one, 1)) : String(shape);
}

// Scrolls the list only, and never the page.
function within(list, item) {
  const top = item.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 3;
  }
}

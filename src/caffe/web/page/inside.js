// The net as a list of layers; a layer's responses and filters.

import { ask, newest } from "./api.js";
import { valuesFigure } from "./charts.js";
import { byId, complain, counted, focusOn, make, readable, roving, show } from "./dom.js";
import { keepAnswer } from "./json.js";

const PER_PAGE = 36;

export class Inside {
  constructor(page) {
    this.page = page;
    this.signal = newest();
    this.first = 0;
    this.layers = [];
    byId("open-inside").addEventListener("click", () => {
      if (byId("inside-body").hidden) this.open();
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
      if (button) this.choose(button.dataset.layer);
    });
    roving(byId("layers"));
    for (const view of ["responses", "filters"]) {
      byId(`tab-${view}`).addEventListener("click", () => this.#turn(view));
      byId(`tab-${view}`).addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        const other = byId(`tab-${view === "filters" ? "responses" : "filters"}`);
        if (other.disabled) return;
        other.focus();
        other.click();
      });
    }
    if (page.state.scale) byId("scale").value = page.state.scale;
    byId("scale").addEventListener("change", () => {
      this.page.state.scale = byId("scale").value;
      this.page.remember();
      this.refresh();
    });
    byId("cam-here").addEventListener("click", () => this.page.camAt(this.page.state.layer));
  }

  async open() {
    const { page } = this;
    byId("inside-error").replaceChildren();
    byId("open-inside").textContent = "Reading the net …";
    const path = `/models/${encodeURIComponent(page.state.model)}`;
    try {
      const { answer, command } = await ask(path);
      keepAnswer("structure-json", answer, command);
      this.#list(answer);
    } catch (error) {
      complain(byId("inside-error"), error.message, () => this.open());
      byId("open-inside").textContent = "Look inside";
      return;
    }
    show(byId("inside-body"));
    byId("open-inside").textContent = "Close";
    byId("open-inside").setAttribute("aria-expanded", "true");
    const known = this.layers.some((layer) => layer.name === page.state.layer);
    const start = this.layers.find((layer) => layer.family === "convolution") ??
      this.layers[0];
    this.choose(known ? page.state.layer : start.name);
  }

  #close() {
    show(byId("inside-body"), false);
    byId("open-inside").textContent = "Look inside";
    byId("open-inside").setAttribute("aria-expanded", "false");
    this.page.state.layer = "";
    this.page.remember();
  }

  get isOpen() {
    return !byId("inside-body").hidden;
  }

  #list(net) {
    this.layers = net.layers;
    byId("totals").textContent = `${net.net}: ${net.layers.length} layers, ` +
      `${counted(net.parameters)} parameters, ${counted(net.multiply_adds)} multiply-adds for a ` +
      `picture, ${counted(net.classes)} classes`;
    byId("layers").replaceChildren(...net.layers.map((layer) => {
      const shape = layer.shapes.length ? shapeText(layer.shapes[0]) : "";
      const button = make("button", { type: "button", tabIndex: -1, className: layer.family },
        make("span", { className: "layer-name" }, layer.name),
        make("span", { className: "layer-type" }, layer.type),
        make("span", { className: "layer-shape" }, shape));
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
    show(byId("none-found"), this.layers.length > 0 && !byId("layers").querySelector("li:not([hidden])"));
    show(byId("layers"), byId("none-found").hidden);
  }

  choose(name) {
    const layer = this.layers.find((one) => one.name === name);
    if (!layer) return;
    const { state } = this.page;
    this.layer = layer;
    this.first = 0;
    state.layer = name;
    if (!layer.filters || !state.view) state.view = "responses";
    if (!layer.responses && layer.filters) state.view = "filters";
    const buttons = [...byId("layers").querySelectorAll("button")];
    const chosen = buttons.find((button) => button.dataset.layer === name);
    for (const button of buttons) {
      if (button === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    focusOn(buttons, chosen, false);
    within(byId("layers"), chosen.parentElement);
    show(byId("detail-empty"), false);
    show(byId("detail-body"));
    byId("layer-name").textContent = name;
    byId("layer-facts").textContent = factsOf(layer);
    byId("tab-filters").disabled = !layer.filters;
    byId("tab-responses").disabled = !layer.responses;
    show(byId("cam-here"), layer.responses === "maps");
    this.#turn(state.view);
  }

  #turn(view) {
    const { page } = this;
    page.state.view = view;
    page.remember();
    this.first = 0;
    for (const one of ["responses", "filters"]) {
      const tab = byId(`tab-${one}`);
      tab.setAttribute("aria-selected", String(one === view));
      tab.tabIndex = one === view ? 0 : -1;
    }
    byId("view").setAttribute("aria-labelledby", `tab-${view}`);
    this.refresh();
  }

  async refresh() {
    const { page, layer } = this;
    if (!this.isOpen || !layer) return;
    const asked = page.state.view === "filters";
    show(byId("scale-option"), !asked && layer.responses === "maps");
    byId("cam-here").disabled = !page.picture;
    if (!asked && !page.picture) {
      show(byId("view-json"), false);
      this.signal();
      byId("view").replaceChildren(make("p", { className: "empty" },
        "Give a picture above to see what this layer makes of it."));
      return;
    }
    const view = byId("view");
    view.setAttribute("aria-busy", "true");
    const query = { layer: layer.name, first: this.first, count: PER_PAGE };
    const signal = this.signal();
    const tell = (text) => view.replaceChildren(make("p", { className: "empty" }, text));
    try {
      const path = `/models/${encodeURIComponent(page.state.model)}/filters`;
      const { answer, command } = asked
        ? await ask(path, { query, signal, tell })
        : await ask("/responses", {
          query: { ...page.mode(), ...query, scale: page.state.scale || "each" },
          body: page.picture, signal, tell,
        });
      keepAnswer("view-json", answer, command);
      await this.#draw(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      complain(view, error.message, () => this.refresh());
    }
    view.removeAttribute("aria-busy");
  }

  async #draw(answer) {
    const view = byId("view");
    if (answer.kind === "values") {
      const labels = answer.classes ? await this.page.labels() : null;
      view.replaceChildren(valuesFigure(answer.values, labels));
      return;
    }
    if (!answer.tiles) {
      view.replaceChildren(make("p", { className: "empty" }, "There are no more."));
      return;
    }
    const picture = new Image();
    picture.src = answer.tiles;
    await picture.decode();
    view.replaceChildren(...tiles(answer, picture), ...this.#pages(answer));
  }

  #pages(answer) {
    if (answer.total === 1) return [];
    const last = answer.first + answer.maps.length;
    const text = answer.total > answer.maps.length
      ? `${answer.first + 1} to ${last} of ${answer.total}` : `${answer.total} in all`;
    const turn = (label, by, possible) => {
      const button = make("button", { type: "button", disabled: !possible }, label);
      button.addEventListener("click", () => {
        this.first += by;
        this.refresh().then(() => byId("view").focus({ preventScroll: true }));
      });
      return button;
    };
    const buttons = answer.total > PER_PAGE
      ? [turn("Previous", -PER_PAGE, answer.first > 0), turn("Next", PER_PAGE, last < answer.total)]
      : [];
    return [make("p", { className: "pages" }, make("span", {}, text), ...buttons)];
  }
}

// The maps as buttons, and the one under the pointer or the focus enlarged.
function tiles(answer, picture) {
  const [height, width] = answer.tile;
  const draw = (canvas, i) => {
    canvas.width = width;
    canvas.height = height;
    const x = (i % answer.columns) * width;
    const y = Math.floor(i / answer.columns) * height;
    canvas.getContext("2d").drawImage(picture, x, y, width, height, 0, 0, width, height);
  };
  const large = make("canvas");
  const caption = make("figcaption");
  const loupe = make("figure", { className: "loupe", ariaHidden: "true" }, large, caption);
  const buttons = answer.maps.map((map, i) => {
    const canvas = make("canvas");
    draw(canvas, i);
    const said = `${map.name}: ${readable(map.low)} to ${readable(map.high)}`;
    const button = make("button", { type: "button", className: "tile", tabIndex: i ? -1 : 0 },
      canvas);
    button.setAttribute("aria-label", said);
    const enlarge = () => {
      draw(large, i);
      caption.replaceChildren(make("strong", {}, map.name),
        ` ${readable(map.low)} to ${readable(map.high)}, mean ${readable(map.mean)}`);
      for (const other of buttons) other.classList.toggle("enlarged", other === button);
    };
    button.addEventListener("pointerenter", enlarge);
    button.addEventListener("focus", enlarge);
    button.addEventListener("click", () => {
      enlarge();
      focusOn(buttons, button);
    });
    return button;
  });
  const grid = make("div", { className: answer.kind === "matrix" ? "tiles one" : "tiles" },
    ...buttons);
  grid.style.setProperty("--ratio", `${width} / ${height}`);
  large.style.aspectRatio = `${width} / ${height}`;
  const across = () => {
    const top = buttons[0].offsetTop;
    const next = buttons.findIndex((button) => button.offsetTop > top);
    return next < 0 ? buttons.length : next;
  };
  roving(grid, across);
  buttons[0].dispatchEvent(new Event("pointerenter"));
  const alone = buttons.length === 1;
  return [scaleNote(answer),
    alone ? grid : make("div", { className: "maps" }, grid, loupe)];
}

function scaleNote(answer) {
  const range = `${readable(answer.black)} to ${readable(answer.white)}`;
  if (answer.kind === "colour") {
    return make("p", { className: "fine" }, `In colour, as the net reads them; one scale for ` +
      `all, ${range}.`);
  }
  if (answer.kind !== "maps") {
    const what = answer.kind === "matrix" ? `; outputs down, inputs across${every(answer.step)}` : ", for all of them";
    return make("p", { className: "fine" }, `Black to white is ${range}${what}.`);
  }
  const text = answer.scale === "all" ? `${range}, for all maps` : "each map’s own least to most";
  return make("p", { className: "fine" }, make("span", { className: "ramp" }),
    ` is ${text}. Where the layer answers strongly it is bright.`);
}

function every(step) {
  return step > 1 ? `; one of ${step} is shown, each way` : "";
}

function shapeText(shape) {
  const [, ...rest] = shape;
  if (rest.length === 3 && rest[1] * rest[2] > 1) return `${rest[0]} × ${rest[1]}×${rest[2]}`;
  return rest.length ? String(rest.reduce((product, one) => product * one, 1)) : String(shape);
}

function factsOf(layer) {
  const facts = [layer.type];
  if (layer.bottoms.length) facts.push(`reads ${layer.bottoms.join(", ")}`);
  if (layer.in_place) facts.push("works in place");
  if (layer.shapes.length) facts.push(`top of ${layer.shapes[0].join(" × ")}`);
  if (layer.parameters) {
    const shapes = layer.parameter_shapes.map((shape) => shape.join("×")).join(", ");
    facts.push(`${counted(layer.parameters)} parameters (${shapes})`);
  }
  if (layer.multiply_adds) facts.push(`${counted(layer.multiply_adds)} multiply-adds`);
  const [field] = layer.receptive_field ?? [];
  if (field && layer.responses === "maps" && field.size > 1) {
    facts.push(`each place sees ${field.size} pixels across`);
  }
  return facts.join(" · ");
}

// Scrolls the list only, and never the page.
function within(list, item) {
  const top = item.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 3;
  }
}

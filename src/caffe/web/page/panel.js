// One layer: what it makes of the picture, its parameters, and how both are spread.

import { askOnce, newest, remembered } from "./api.js";
import { spreadFigure, valuesFigure } from "./charts.js";
import { byId, complain, counted, make, show } from "./dom.js";
import { fileName, saveCsv, savePng } from "./download.js";
import { keepAnswer } from "./json.js";
import { tilesFigure } from "./tiles.js";

const PER_PAGE = 36;
const BLOBS = { Convolution: ["weights", "bias"], Deconvolution: ["weights", "bias"],
  InnerProduct: ["weights", "bias"], BatchNorm: ["mean", "variance", "factor"],
  Scale: ["factor", "offset"], PReLU: ["slopes"], Embed: ["vectors", "bias"] };

export class Panel {
  constructor(page) {
    this.page = page;
    this.signal = newest();
    this.first = 0;
    for (const view of ["responses", "filters"]) {
      byId(`tab-${view}`).addEventListener("click", () => {
        if (page.state.view === view) return;
        page.step();
        this.#turn(view);
      });
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
      page.state.scale = byId("scale").value;
      page.remember();
      this.refresh();
    });
    byId("blob").addEventListener("change", () => {
      this.first = 0;
      this.refresh();
    });
    byId("cam-here").addEventListener("click", () => page.camAt(page.state.layer));
    byId("view-save").addEventListener("click", () => this.#save());
  }

  // `mates` are the layers that stand in one box of the graph with it.
  show(layer, source, mates, choose) {
    const { state } = this.page;
    this.layer = layer;
    this.source = source;
    this.first = 0;
    if (!layer.filters || !state.view) state.view = "responses";
    if ((!layer.responses || !source.looks) && layer.filters) state.view = "filters";
    show(byId("detail-empty"), false);
    show(byId("detail-body"));
    byId("layer-name").textContent = layer.name;
    byId("layer-facts").textContent = factsOf(layer);
    byId("tab-filters").disabled = !layer.filters;
    byId("tab-responses").disabled = !layer.responses || !source.looks;
    show(byId("cam-here"), layer.responses === "maps" && source.explains);
    const names = BLOBS[layer.type] ?? [];
    const shapes = layer.parameter_shapes ?? [];
    byId("blob").replaceChildren(...shapes.map((shape, i) => make("option", { value: i },
      `${names[i] ?? `parameter ${i}`} (${shape.join("×") || "1"})`)));
    show(byId("mates"), mates.length > 1);
    byId("mates").replaceChildren(...mates.map((name) => {
      const button = make("button", { type: "button", className: "chip" }, name);
      if (name === layer.name) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => choose(name));
      return button;
    }));
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
    const { page, layer, source } = this;
    if (!layer) return;
    const asked = page.state.view === "filters";
    show(byId("scale-option"), !asked && layer.responses === "maps");
    show(byId("blob-option"), asked && byId("blob").children.length > 1);
    byId("cam-here").disabled = !page.picture;
    const view = byId("view");
    const signal = this.signal();
    if (asked ? !source.filters : !page.picture || !source.looks) {
      this.#empty();
      view.replaceChildren(make("p", { className: "empty" }, asked
        ? "Drop its .caffemodel, too, to see its parameters."
        : layer.responses ? "Give a picture above to see what this layer makes of it."
          : "This layer makes nothing that could be shown."));
      return;
    }
    const part = { layer: layer.name, first: this.first, count: PER_PAGE };
    const options = asked
      ? { query: { ...part, blob: byId("blob").value || 0 }, body: source.body }
      : { query: { ...page.mode(), ...part, scale: page.state.scale || "each" },
        body: page.picture };
    const path = asked ? source.filters : "/responses";
    if (!remembered(path, options)) this.#wait(`Looking into ${layer.name} …`);
    const tell = (text) => this.#wait(text);
    try {
      const { answer, command } = await askOnce(path, { ...options, signal, tell });
      signal.throwIfAborted();
      const drawn = await this.#drawn(answer, asked);
      signal.throwIfAborted();
      this.answer = answer;
      keepAnswer("view-json", answer, command);
      show(byId("view-save"));
      byId("view-save").textContent = answer.tiles ? "PNG" : "CSV";
      byId("view-save").setAttribute("aria-label",
        `Download what is shown, as ${answer.tiles ? "a PNG" : "a table"}`);
      view.replaceChildren(...drawn);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#empty();
      complain(view, error.message, () => this.refresh());
    }
    view.removeAttribute("aria-busy");
  }

  // What another layer made must not stand under this one's name, not even while one waits.
  #wait(text) {
    this.#empty();
    byId("view").setAttribute("aria-busy", "true");
    byId("view").replaceChildren(make("p", { className: "loading", role: "status" },
      make("span", { className: "spinner" }), text));
  }

  #empty() {
    byId("view").removeAttribute("aria-busy");
    show(byId("view-json"), false);
    show(byId("view-save"), false);
  }

  async #drawn(answer, asked) {
    const what = asked ? "filters" : "maps";
    const total = answer.kind === "maps" ? answer.total : answer.shape[0];
    const spread = spreadFigure(answer.statistics, answer.dead, total, what);
    if (answer.kind === "values") {
      const labels = answer.classes ? await this.page.labels() : null;
      return [valuesFigure(answer.values, labels), spread];
    }
    if (!answer.tiles) return [make("p", { className: "empty" }, "There are no more.")];
    return [...await tilesFigure(answer), ...this.#pages(answer), spread];
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

  #save() {
    const { answer, layer } = this;
    const name = fileName(this.page.state.model, layer.name, this.page.state.view);
    if (answer.tiles) savePng(`${name}.png`, answer.tiles);
    else saveCsv(`${name}.csv`, ["index", "value"], answer.values.map((value, i) => [i, value]));
  }
}

function factsOf(layer) {
  const facts = [layer.type];
  if (layer.bottoms.length) facts.push(`reads ${layer.bottoms.join(", ")}`);
  if (layer.in_place) facts.push("works in place");
  if (layer.shapes[0]) facts.push(`top of ${layer.shapes[0].join(" × ")}`);
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

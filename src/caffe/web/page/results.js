// What is in the picture: classes with bars, objects with boxes, or areas; and beside it, what
// another model says.

import { askOnce, newest } from "./api.js";
import { byId, complain, make, partsOf, readable, show } from "./dom.js";
import { fileName, saveCsv } from "./download.js";
import { keepAnswer } from "./json.js";

const percent = (share) => `${(share * 100).toFixed(share >= 0.1 ? 0 : share >= 0.001 ? 1 : 2)} %`;
const ASKED_AT = { classes: "/classify", boxes: "/detect", areas: "/segment",
  // What makes maps of numbers says so, and that look inside shows them.
  maps: "/classify" };
const TITLES = {
  classes: "What is in it", boxes: "What is found in it", areas: "What is where in it",
};

// Colours far from each other for classes that are near.
export const colourOf = (index) => `hsl(${Math.round((index * 137.5 + 190) % 360)} 85% 45%)`;

export class Results {
  constructor(page) {
    this.page = page;
    this.signal = newest();
    this.besideSignal = newest();
    byId("class-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#chooseByName();
    });
    byId("results-csv").addEventListener("click", () => this.#saveCsv());
    byId("beside").addEventListener("change", () => {
      page.step();
      page.state.beside = byId("beside").value;
      page.remember();
      this.showBeside();
    });
  }

  // The models that may stand beside the one that is chosen.
  offerBeside() {
    const { about, state } = this.page;
    const others = about.models.filter((model) => model.name !== state.model);
    if (!others.some((model) => model.name === state.beside)) state.beside = "";
    byId("beside").replaceChildren(make("option", { value: "" }, "no other model"),
      ...others.map((model) => make("option", { value: model.name }, model.title)));
    byId("beside").value = state.beside;
    show(byId("beside-option"), others.length > 0);
  }

  async classify() {
    const { page } = this;
    const body = page.picture;
    if (!body) return false;
    const signal = this.signal();
    const tell = (text) => this.#waiting(text);
    tell("Looking at the picture …");
    try {
      const task = await page.task(page.state.model, { signal, tell });
      const query = page.mode();
      if (task === "classes") Object.assign(query, { top: 5, seen: "yes" });
      const { answer, command } = await askOnce(ASKED_AT[task], { query, body, signal, tell });
      signal.throwIfAborted();
      keepAnswer("classify-json", answer, command);
      this.task = task;
      this.#draw(answer);
      this.showBeside();
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return false;
    }
  }

  async showBeside() {
    const { page } = this;
    const { beside } = page.state;
    const wanted = Boolean(beside && page.picture);
    show(byId("beside-results"), wanted);
    byId("both").classList.toggle("two", wanted);
    const titles = new Map(page.about.models.map((model) => [model.name, model.title]));
    byId("model-title").textContent = wanted ? titles.get(page.state.model) : "";
    show(byId("model-title"), wanted);
    const signal = this.besideSignal();
    if (!wanted) return;
    byId("beside-title").textContent = titles.get(beside);
    const list = byId("beside-top");
    const say = (text) => list.replaceChildren(make("li", { className: "said" },
      make("span", { className: "spinner" }), text));
    say("Looking at the picture …");
    try {
      const task = await page.task(beside, { signal, tell: say });
      const query = { ...page.mode(), model: beside };
      if (task === "classes") query.top = 5;
      const { answer } = await askOnce(ASKED_AT[task], {
        query, body: page.picture, signal, tell: say });
      signal.throwIfAborted();
      list.replaceChildren(...rowsOf(task, answer).map((row) => item(row)));
    } catch (error) {
      if (error.name === "AbortError") return;
      list.replaceChildren(make("li", { className: "said" }, error.message));
    }
  }

  #waiting(text) {
    show(byId("results-empty"), false);
    byId("results-error").replaceChildren();
    byId("loading-text").textContent = text;
    byId("status").textContent = text;
    show(byId("results-loading"));
    byId("results").setAttribute("aria-busy", "true");
  }

  #ready() {
    show(byId("results-loading"), false);
    byId("results").removeAttribute("aria-busy");
  }

  loading(text) {
    this.#waiting(text);
  }

  fail(error, again = this.page.picture ? () => this.page.classify() : null) {
    this.#ready();
    byId("status").textContent = "";
    byId("top").replaceChildren();
    byId("time").textContent = "";
    for (const id of ["class-form", "classify-json", "results-csv", "beside-results"]) {
      show(byId(id), false);
    }
    complain(byId("results-error"), error.message, again);
  }

  #draw(answer) {
    this.#ready();
    const { page, task } = this;
    this.rows = rowsOf(task, answer);
    byId("results-title").textContent = TITLES[task];
    byId("top").replaceChildren(...this.rows.map((row, i) => this.#row(row, i)));
    byId("top").classList.toggle("plain", task !== "classes");
    if (!this.rows.length) {
      byId("top").replaceChildren(make("li", { className: "said" },
        `Nothing with a score of ${answer.threshold} or more.`));
    }
    if (task === "boxes") page.stage.showBoxes(answer, colourOf);
    else if (task === "areas") page.stage.showAreas(answer);
    else page.stage.standIn(answer.seen);
    byId("time").textContent = timeText(answer);
    const [first] = this.rows;
    byId("status").textContent = first ? `${first.name}, ${first.said}; ${this.rows.length} in all`
      : "Nothing was found";
    page.named(first ? `${first.name} ${first.said}` : "nothing found");
    show(byId("class-form"), task === "classes");
    show(byId("classify-json"));
    show(byId("results-csv"), this.rows.length > 0);
  }

  #row(row, number) {
    if (this.task === "boxes") {
      const button = make("button", { type: "button", className: "where" }, "Where?");
      button.setAttribute("aria-label", `Where in the picture is this ${row.name}?`);
      const light = () => this.page.stage.lightUp(number);
      const dark = () => this.page.stage.lightUp(null);
      for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, light);
      for (const event of ["pointerleave", "blur"]) button.addEventListener(event, dark);
      return item(row, button);
    }
    if (this.task === "areas") return item(row);
    const where = make("button", { type: "button", className: "where", ariaPressed: "false" },
      "Where?");
    where.dataset.class = row.index;
    where.setAttribute("aria-label", `Where in the picture is ${row.name} seen?`);
    where.addEventListener("click", () => {
      this.page.step();
      if (where.getAttribute("aria-pressed") === "true") this.page.stage.showWhole();
      else this.page.stage.explain(row.index);
    });
    return item(row, where);
  }

  async #chooseByName() {
    const wanted = byId("class").value.trim().toLowerCase();
    const labels = await this.page.labels();
    if (!wanted) return;
    let index = labels.findIndex((label) => label.toLowerCase() === wanted);
    if (index < 0) index = labels.findIndex((label) => label.toLowerCase().includes(wanted));
    if (index < 0 && /^(class )?\d+$/.test(wanted)) index = Number(/\d+/.exec(wanted)[0]);
    if (index < 0) {
      complain(byId("results-error"), `No class is called “${byId("class").value.trim()}”.`);
      return;
    }
    if (labels[index]) byId("class").value = partsOf(labels[index]).name;
    this.page.step();
    this.page.stage.explain(index);
  }

  #saveCsv() {
    const heads = { classes: ["index", "label", "probability"], areas: ["index", "label", "share"],
      boxes: ["index", "label", "score", "xmin", "ymin", "xmax", "ymax"] }[this.task];
    const rows = this.rows.map((row) => [row.index, row.label, row.value, ...(row.box ?? [])]);
    saveCsv(`${fileName(this.page.state.model, this.page.name)}.csv`, heads, rows);
  }
}

// The rows of an answer: what they are called, how long their bar is, what stands there.
function rowsOf(task, answer) {
  if (task === "boxes") {
    return answer.detections.map((one) => ({ index: one.index, label: one.label, box: one.box,
      value: one.score, ...partsOf(one.label), share: one.score, said: percent(one.score),
      colour: colourOf(one.index) }));
  }
  if (task === "areas") {
    return answer.classes.map((one) => ({ index: one.index, label: one.label, value: one.share,
      ...partsOf(one.label), share: one.share, said: percent(one.share), colour: one.colour }));
  }
  const { predictions, probabilities } = answer;
  const most = probabilities ? 1 : Math.max(predictions[0].probability ?? 0, 1e-30);
  const text = probabilities ? percent : readable;
  return predictions.map(({ index, label, probability }) => ({ index, label, value: probability,
    ...partsOf(label), share: (probability ?? 0) / most,
    said: probability === null ? "?" : text(probability) }));
}

function item({ name, number, share, said, colour }, button) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${Math.min(Math.max(share, 0), 1) * 100}%`;
  if (colour) fill.style.background = colour;
  return make("li", {},
    make("span", { className: "name" }, make("span", { className: "word" }, name),
      ...(number ? [" ", make("small", {}, number)] : [])),
    make("span", { className: "share" }, said),
    make("span", { className: "bar", ariaHidden: "true" }, fill),
    ...(button ? [button] : []));
}

function timeText({ milliseconds, picture, batch, probabilities }) {
  const { reading, net, all } = milliseconds;
  const others = batch > 1 ? `, in a batch of ${batch}` : "";
  return `${Math.round(all)} ms in all: ${Math.round(reading)} to read the ` +
    `picture (${picture.width} × ${picture.height} ${picture.format}), ` +
    `${Math.round(net)} in the net${others}` + (probabilities !== false ? ""
    : ". This net does not end in probabilities (a Softmax); its values are shown as they are.");
}

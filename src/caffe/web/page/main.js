// The page: what is chosen, the pictures at hand, and who does what when they change.

import { Failure, ask, newest } from "./api.js";
import { byId, complain, make, partsOf, show } from "./dom.js";
import { Dropped } from "./dropped.js";
import { Inside } from "./inside.js";
import { isNet, takeFiles } from "./intake.js";
import { connectJson } from "./json.js";
import { beginStep, onBack, readState, writeState } from "./permalink.js";
import { Pictures } from "./pictures.js";
import { Results } from "./results.js";
import { Runs } from "./runs.js";
import { Stage } from "./stage.js";

class Page {
  constructor() {
    this.state = readState();
    this.labelsOf = new Map();
    this.tasks = new Map();
    this.linkSignal = newest();
    this.pictures = new Pictures(this);
    this.stage = new Stage(this);
    this.results = new Results(this);
    this.inside = new Inside(this);
    this.dropped = new Dropped(this);
  }

  async start() {
    connectJson();
    try {
      const { answer } = await ask("/models");
      this.about = answer;
    } catch (error) {
      complain(byId("results-error"), error.message, () => location.reload());
      return;
    }
    this.#offer();
    takeFiles((files) => this.takeFiles(files), (link) => this.follow(link));
    byId("copy-link").addEventListener("click", () => this.#copyLink());
    onBack((wanted, picture) => this.#goBack(wanted, picture));
    this.pictures.offerSamples();
    new Runs().start();
    // Showing a picture forgets what was asked of the last one; a permalink asks it of this one.
    const wanted = { class: this.state.class, at: this.state.at };
    if (this.state.layer) this.inside.open();
    if (this.state.link) await this.follow(this.state.link, wanted);
    else this.wanted = wanted;
  }

  // The picture at hand, as it was given, and its name.
  get picture() {
    return this.pictures.now?.blob ?? null;
  }

  get name() {
    return this.pictures.now?.name ?? "";
  }

  mode() {
    const { model, device, precision } = this.state;
    return { model, device, precision };
  }

  // What a person does now can be taken back: see permalink.js.
  step() {
    beginStep();
  }

  remember() {
    writeState(this.state, this.pictures.now?.number);
  }

  async labels() {
    const { model } = this.state;
    if (!this.labelsOf.has(model)) {
      const { answer } = await ask(`/models/${encodeURIComponent(model)}/labels`);
      this.labelsOf.set(model, answer.labels ?? []);
    }
    return this.labelsOf.get(model);
  }

  // What a model does is known once it is in the server's memory.
  async task(model, options) {
    const known = this.tasks.get(model) ?? this.about.models.find((one) => one.name === model).task;
    if (known) return known;
    const { answer } = await ask(`/models/${encodeURIComponent(model)}`, options);
    this.tasks.set(model, answer.task);
    return answer.task;
  }

  // What can be chosen.

  #offer() {
    const { about, state } = this;
    const names = about.models.map((model) => model.name);
    if (!names.includes(state.model)) state.model = about.default;
    byId("model").replaceChildren(...about.models.map((model) =>
      make("option", { value: model.name }, model.title)));
    const usable = about.devices.filter((device) => !device.reason).map((device) => device.name);
    if (!usable.includes(state.device)) [state.device] = usable;
    byId("devices").replaceChildren(...about.devices.map((device) => {
      const input = make("input", { type: "radio", name: "device", value: device.name,
        disabled: device.reason !== null });
      if (device.reason) input.setAttribute("aria-describedby", "why-text");
      return make("label", { title: device.reason ?? device.title }, input,
        make("span", {}, device.name.toUpperCase()));
    }));
    const refused = about.devices.find((device) => device.reason);
    show(byId("why"), Boolean(refused));
    byId("why-text").textContent = refused
      ? refused.reason.charAt(0).toUpperCase() + refused.reason.slice(1) : "";
    this.#showChoice();
    byId("options").addEventListener("change", () => this.#changed());
    byId("options").addEventListener("submit", (event) => event.preventDefault());
  }

  // The options as the state has them.
  #showChoice() {
    const { state } = this;
    byId("model").value = state.model;
    for (const input of byId("devices").querySelectorAll("input")) {
      input.checked = input.value === state.device;
    }
    this.#offerPrecisions();
    this.#credit();
    this.results.offerBeside();
  }

  #offerPrecisions() {
    const { about, state } = this;
    const { precisions } = about.devices.find((device) => device.name === state.device);
    const usable = precisions.filter((one) => !one.reason).map((one) => one.name);
    if (!usable.includes(state.precision)) [state.precision] = usable;
    byId("precision").replaceChildren(...precisions.map((one) => make("option", {
      value: one.name, selected: one.name === state.precision,
      disabled: one.reason !== null, title: one.reason ?? "",
    }, one.reason ? `${one.name} (not here)` : one.name)));
    const { note } = precisions.find((one) => one.name === state.precision);
    byId("mode-note").textContent = note ? `Note: ${note}.` : "";
    show(byId("mode-note"), Boolean(note));
  }

  #credit() {
    const model = this.about.models.find((one) => one.name === this.state.model);
    const parts = [];
    if (model.licence) parts.push(`${model.title}, licence: ${model.licence}.`);
    if (model.citation) parts.push(` ${model.citation}. `);
    byId("credits").replaceChildren(...parts);
    if (/^https?:\/\//.test(model.page ?? "")) {
      byId("credits").append(make("a", { href: model.page, rel: "noreferrer" },
        "Where it comes from"));
    }
  }

  async #changed() {
    this.step();
    const { state } = this;
    const other = byId("model").value !== state.model;
    state.model = byId("model").value;
    state.precision = byId("precision").value;
    state.device = new FormData(byId("options")).get("device") ?? state.device;
    if (other) {
      state.at = "";
      state.class = "";
    }
    await this.#chosen(other, { class: state.class, at: state.at });
  }

  // What another model, device or precision makes of what is on the page.
  async #chosen(other, wanted) {
    if (other) {
      byId("class").value = "";
      byId("classes").replaceChildren();
    }
    this.#showChoice();
    this.remember();
    if (this.picture) this.stage.showWhole();
    if (this.inside.isOpen) {
      if (other) this.inside.open();
      else this.inside.refresh();
    }
    await this.classify(wanted);
  }

  async #goBack(wanted, number) {
    const before = { ...this.state };
    const names = this.about.models.map((model) => model.name);
    if (!names.includes(wanted.model)) wanted.model = this.about.default;
    Object.assign(this.state, wanted);
    const asked = { class: wanted.class, at: wanted.at };
    const picture = this.pictures.find(number);
    const turned = picture && picture !== this.pictures.now;
    const linked = wanted.link && wanted.link !== before.link && !turned;
    const changed = ["model", "device", "precision"].filter((one) => before[one] !== wanted[one]);
    if (turned) this.pictures.turnTo(picture);
    if (linked) await this.follow(wanted.link, asked);
    else if (changed.length) await this.#chosen(changed.includes("model"), asked);
    else if (turned) await this.classify(asked);
    else if (wanted.class === "") this.stage.showWhole();
    else if (["class", "at", "by"].some((one) => before[one] !== wanted[one])) {
      this.stage.explain(Number(wanted.class), wanted.at);
    }
    if (before.beside !== wanted.beside) {
      this.results.offerBeside();
      this.results.showBeside();
    }
    this.inside.goBack(wanted);
  }

  // Pictures, and nets.

  async takeFiles(files) {
    const nets = files.filter(isNet);
    if (nets.length) await this.dropped.take(nets);
    const rest = files.filter((file) => !isNet(file));
    if (!rest.length) return;
    const most = this.about.limits.bytes;
    const large = rest.find((file) => file.size > most);
    if (large) {
      const text = `${large.name || "The picture"} has ${(large.size / 2 ** 20).toFixed(1)} MiB; ` +
        `${(most / 2 ** 20).toFixed(1)} are allowed.`;
      this.results.fail(new Failure(text, "too_large"), null);
    }
    const small = rest.filter((file) => file.size <= most);
    if (!small.length) return;
    const { wanted } = this;
    this.wanted = undefined;
    await this.give(small.map((file) => ({ blob: file, name: file.name || "pasted picture" })),
      wanted);
  }

  // Shows the first of some pictures; the others wait in the row below it.
  async give(pictures, wanted) {
    this.linkSignal();
    if (this.picture) this.step();
    const [first] = pictures.map((picture) => this.pictures.add(picture));
    await this.turnTo(first, wanted);
  }

  async turnTo(picture, wanted) {
    this.state.link = picture.link ?? "";
    this.pictures.turnTo(picture);
    this.remember();
    if (!picture.link) byId("link").value = "";
    await this.classify(wanted);
  }

  async follow(link, wanted) {
    byId("link").value = link;
    this.results.loading("Fetching the picture …");
    try {
      const blob = await ask("/fetch", {
        body: JSON.stringify({ link }), signal: this.linkSignal(), raw: true,
        tell: (text) => this.results.loading(text),
      });
      await this.give([{ blob, name: link, link }], wanted);
    } catch (error) {
      if (error.name !== "AbortError") this.results.fail(error, () => this.follow(link, wanted));
    }
  }

  async classify(wanted) {
    this.inside.refresh();
    if (!(await this.results.classify())) return;
    if (this.results.task !== "classes") return;
    this.#nameClasses();
    if (wanted?.class) this.stage.explain(Number(wanted.class), wanted.at);
  }

  // What was found in the picture at hand, for the row of pictures.
  named(text) {
    this.pictures.say(text);
  }

  async #nameClasses() {
    if (byId("classes").children.length) return;
    const labels = await this.labels().catch(() => []);
    byId("classes").replaceChildren(...labels.map((label) =>
      make("option", { value: partsOf(label).name })));
  }

  camAt(layer) {
    const pressed = byId("top").querySelector('.where[aria-pressed="true"]') ??
      byId("top").querySelector(".where");
    const index = this.state.class || pressed?.dataset.class;
    if (index === undefined) return;
    this.step();
    this.state.by = "";
    this.stage.explain(Number(index), layer);
    byId("picture").scrollIntoView({ block: "nearest" });
  }

  async #copyLink() {
    this.remember();
    const button = byId("copy-link");
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      // Without https only this machine's own pages may write there.
      said = "It is in the address bar";
    }
    button.textContent = said;
    setTimeout(() => { button.textContent = "Copy link"; }, 2000);
  }
}

new Page().start();

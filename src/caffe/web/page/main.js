// The page: what is chosen, the picture at hand, and who does what when they change.

import { Failure, ask, newest } from "./api.js";
import { byId, complain, make, partsOf, show } from "./dom.js";
import { Inside } from "./inside.js";
import { takePictures } from "./intake.js";
import { connectJson } from "./json.js";
import { readState, writeState } from "./permalink.js";
import { Results } from "./results.js";

class Page {
  constructor() {
    this.state = readState();
    this.picture = null;
    this.labelsOf = new Map();
    this.linkSignal = newest();
    this.results = new Results(this);
    this.inside = new Inside(this);
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
    takePictures((file) => this.take(file, file.name || "pasted picture", ""),
      (link) => this.follow(link));
    byId("copy-link").addEventListener("click", () => this.#copyLink());
    addEventListener("hashchange", () => location.reload());
    // Showing a picture forgets what was asked of the last one; a permalink asks it of this one.
    const wanted = { class: this.state.class, at: this.state.at };
    if (this.state.layer) this.inside.open();
    if (this.state.link) await this.follow(this.state.link, wanted);
    else this.wanted = wanted;
  }

  mode() {
    const { model, device, precision } = this.state;
    return { model, device, precision };
  }

  remember() {
    writeState(this.state);
  }

  async labels() {
    const { model } = this.state;
    if (!this.labelsOf.has(model)) {
      const { answer } = await ask(`/models/${encodeURIComponent(model)}/labels`);
      this.labelsOf.set(model, answer.labels ?? []);
    }
    return this.labelsOf.get(model);
  }

  // What can be chosen.

  #offer() {
    const { about, state } = this;
    const names = about.models.map((model) => model.name);
    if (!names.includes(state.model)) state.model = about.default;
    byId("model").replaceChildren(...about.models.map((model) =>
      make("option", { value: model.name, selected: model.name === state.model }, model.title)));
    const usable = about.devices.filter((device) => !device.reason).map((device) => device.name);
    if (!usable.includes(state.device)) [state.device] = usable;
    byId("devices").replaceChildren(...about.devices.map((device) => {
      const input = make("input", { type: "radio", name: "device", value: device.name,
        checked: device.name === state.device, disabled: device.reason !== null });
      if (device.reason) input.setAttribute("aria-describedby", "why-text");
      return make("label", { title: device.reason ?? device.title }, input,
        make("span", {}, device.name.toUpperCase()));
    }));
    const refused = about.devices.find((device) => device.reason);
    show(byId("why"), Boolean(refused));
    byId("why-text").textContent = refused
      ? refused.reason.charAt(0).toUpperCase() + refused.reason.slice(1) : "";
    this.#offerPrecisions();
    this.#credit();
    byId("options").addEventListener("change", (event) => this.#changed(event));
    byId("options").addEventListener("submit", (event) => event.preventDefault());
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
    this.#note();
  }

  #note() {
    const { about, state } = this;
    const { precisions } = about.devices.find((device) => device.name === state.device);
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
    const { state } = this;
    const model = byId("model").value;
    const other = model !== state.model;
    state.model = model;
    state.precision = byId("precision").value;
    const device = new FormData(byId("options")).get("device") ?? state.device;
    if (device !== state.device) {
      state.device = device;
      this.#offerPrecisions();
    }
    this.#note();
    if (other) {
      state.at = "";
      state.class = "";
      byId("class").value = "";
      byId("classes").replaceChildren();
      this.#credit();
    }
    this.remember();
    const wanted = { class: state.class, at: state.at };
    if (this.picture && other) this.results.showWhole();
    if (this.inside.isOpen) {
      if (other) this.inside.open();
      else this.inside.refresh();
    }
    await this.classify(wanted);
  }

  // The picture.

  async take(blob, name, link, wanted = this.wanted) {
    this.linkSignal();
    this.wanted = undefined;
    const most = this.about.limits.bytes;
    if (blob.size > most) {
      const text = `The picture has ${(blob.size / 2 ** 20).toFixed(1)} MiB; ` +
        `${(most / 2 ** 20).toFixed(1)} are allowed.`;
      this.results.fail(new Failure(text, "too_large"), null);
      return;
    }
    this.picture = blob;
    this.state.link = link;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(blob);
    this.results.showPicture(this.url, name);
    this.remember();
    if (!link) byId("link").value = "";
    this.inside.refresh();
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
      await this.take(blob, link, link, wanted);
    } catch (error) {
      if (error.name !== "AbortError") this.results.fail(error, () => this.follow(link, wanted));
    }
  }

  async classify(wanted) {
    if (!(await this.results.classify())) return;
    this.#nameClasses();
    if (wanted?.class) this.results.gradCam(Number(wanted.class), wanted.at);
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
    this.results.gradCam(Number(index), layer);
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

// The top five with bars and time, and Grad-CAM over the picture.

import { ask, newest } from "./api.js";
import { byId, complain, make, partsOf, readable, show } from "./dom.js";
import { keepAnswer } from "./json.js";

const percent = (share) => `${(share * 100).toFixed(share >= 0.1 ? 0 : share >= 0.001 ? 1 : 2)} %`;

export class Results {
  constructor(page) {
    this.page = page;
    this.signal = newest();
    this.camSignal = newest();
    byId("strength").addEventListener("input", () => this.#dim());
    byId("whole").addEventListener("click", () => this.showWhole());
    byId("class-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#chooseByName();
    });
    byId("shown").addEventListener("error", () => {
      this.unreadable = true;
      this.#standIn();
    });
  }

  showPicture(url, name) {
    this.seen = null;
    this.unreadable = false;
    this.whole = { url, name };
    byId("picture").classList.add("given");
    byId("invitation").textContent = "Another? Drop it here";
    byId("choose").textContent = "Choose another";
    show(byId("stage"));
    this.showWhole();
  }

  // A format that the server reads and this browser does not: shown is what the net sees.
  #standIn() {
    if (!this.unreadable || byId("stage").classList.contains("seen")) return;
    show(byId("stage"), Boolean(this.seen));
    if (!this.seen || byId("shown").src === this.seen) return;
    byId("shown").src = this.seen;
    byId("caption").textContent =
      `${this.whole.name}, as the net sees it: this browser does not show the file’s format`;
  }

  showWhole() {
    this.camSignal();
    this.page.state.class = "";
    this.page.state.at = "";
    this.page.remember();
    byId("shown").src = this.whole.url;
    byId("shown").alt = "Your picture";
    byId("caption").textContent = this.whole.name;
    byId("stage").classList.remove("seen");
    show(byId("heat"), false);
    show(byId("heat-tools"), false);
    this.#press(null);
  }

  async classify() {
    const { page } = this;
    const body = page.picture;
    if (!body) return false;
    const signal = this.signal();
    this.#waiting("Classifying …");
    const query = { ...page.mode(), top: 5, seen: "yes" };
    const tell = (text) => this.#waiting(text);
    try {
      const { answer, command } = await ask("/classify", { query, body, signal, tell });
      keepAnswer("classify-json", answer, command);
      this.#draw(answer);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return false;
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
    show(byId("class-form"), false);
    show(byId("classify-json"), false);
    complain(byId("results-error"), error.message, again);
  }

  #draw(answer) {
    this.#ready();
    const { predictions, probabilities } = answer;
    const most = probabilities ? 1 : Math.max(predictions[0].probability ?? 0, 1e-30);
    const said = probabilities ? percent : readable;
    const rows = predictions.map((one) => this.#row(one, most, said));
    byId("top").replaceChildren(...rows);
    this.seen = answer.seen;
    this.#standIn();
    const { reading, net, all } = answer.milliseconds;
    const others = answer.batch > 1 ? `, in a batch of ${answer.batch}` : "";
    byId("time").textContent = `${Math.round(all)} ms in all: ${Math.round(reading)} to read the ` +
      `picture (${answer.picture.width} × ${answer.picture.height} ${answer.picture.format}), ` +
      `${Math.round(net)} in the net${others}` + (probabilities ? ""
      : ". This net does not end in probabilities (a Softmax); its values are shown as they are.");
    const first = predictions[0];
    byId("status").textContent =
      `${partsOf(first.label).name}, ${said(first.probability ?? 0)}; ${rows.length} classes`;
    show(byId("class-form"));
    show(byId("classify-json"));
  }

  #row({ index, label, probability }, most, said) {
    const { name, number } = partsOf(label);
    const share = Math.min(Math.max((probability ?? 0) / most, 0), 1);
    const fill = make("span", { className: "fill" });
    fill.style.width = `${share * 100}%`;
    const where = make("button", { type: "button", className: "where", ariaPressed: "false" },
      "Where?");
    where.dataset.class = index;
    where.setAttribute("aria-label", `Where in the picture is ${name} seen?`);
    where.addEventListener("click", () => {
      if (where.getAttribute("aria-pressed") === "true") this.showWhole();
      else this.gradCam(index);
    });
    return make("li", {},
      make("span", { className: "name" }, make("span", { className: "word" }, name),
        ...(number ? [" ", make("small", {}, number)] : [])),
      make("span", { className: "share" }, probability === null ? "?" : said(probability)),
      make("span", { className: "bar", ariaHidden: "true" }, fill),
      where);
  }

  #press(index) {
    for (const button of byId("top").querySelectorAll(".where")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === index));
    }
  }

  async gradCam(index, layer = this.page.state.at) {
    const { page } = this;
    if (!page.picture) return;
    page.state.class = String(index);
    page.state.at = layer ?? "";
    page.remember();
    this.#press(index);
    byId("stage").setAttribute("aria-busy", "true");
    byId("caption").textContent = "Looking where …";
    const query = { ...page.mode(), class: index, layer: page.state.at };
    try {
      const { answer, command } = await ask("/grad-cam", {
        query, body: page.picture, signal: this.camSignal(),
        tell: (text) => { byId("caption").textContent = text; },
      });
      keepAnswer("grad-cam-json", answer, command);
      this.#overlay(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.showWhole();
      complain(byId("results-error"), error.message);
    } finally {
      byId("stage").removeAttribute("aria-busy");
    }
  }

  #overlay(answer) {
    byId("results-error").replaceChildren();
    const { name } = partsOf(answer.label);
    byId("stage").classList.add("seen");
    byId("shown").src = answer.seen;
    byId("shown").alt = "The picture as the net sees it";
    byId("heat").src = answer.map;
    byId("heat").alt = `Grad-CAM of ${name}`;
    show(byId("heat"));
    show(byId("heat-tools"));
    this.#dim();
    const caption = answer.found
      ? [make("strong", {}, name), `: bright where maps of ${answer.layer} speak for it. `]
      : [make("strong", {}, name), `: nothing in ${answer.layer} speaks for it. `];
    byId("caption").replaceChildren(make("span", {}, ...caption,
      "This is the part of the picture that the net sees."));
    byId("status").textContent = `Grad-CAM of ${name} is shown over the picture`;
  }

  #dim() {
    byId("heat").style.opacity = String(byId("strength").value / 100);
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
    this.gradCam(index);
  }
}

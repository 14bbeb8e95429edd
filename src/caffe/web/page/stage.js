// The picture, and what is laid over it: explanations, boxes, areas.

import { askOnce, newest } from "./api.js";
import { byId, complain, make, makeSvg, partsOf, show } from "./dom.js";
import { canvasBlob, fileName, save } from "./download.js";
import { keepAnswer } from "./json.js";

const SLOW = {
  "integrated-gradients": "Looking where … (many passes, some seconds)",
  occlusion: "Hiding one part after the other … (some seconds)",
};
const SAID = {
  "grad-cam": "maps of LAYER speak for it",
  saliency: "a pixel’s change would change the score most",
  "integrated-gradients": "pixels add to the score",
  occlusion: "hiding a part lowers the score",
};

export class Stage {
  constructor(page) {
    this.page = page;
    this.signal = newest();
    byId("strength").addEventListener("input", () => this.#dim());
    byId("whole").addEventListener("click", () => {
      page.step();
      this.showWhole();
    });
    byId("by").addEventListener("change", () => {
      page.step();
      page.state.by = byId("by").value;
      this.explain(Number(page.state.class), page.state.at);
    });
    byId("picture-save").addEventListener("click", () => this.#save());
    byId("shown").addEventListener("error", () => {
      this.unreadable = true;
      this.standIn();
    });
  }

  showPicture({ url, name }) {
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
  standIn(seen = this.seen) {
    this.seen = seen;
    if (!this.unreadable || byId("stage").classList.contains("seen")) return;
    show(byId("stage"), Boolean(this.seen));
    if (!this.seen || byId("shown").src === this.seen) return;
    byId("shown").src = this.seen;
    byId("caption").textContent =
      `${this.whole.name}, as the net sees it: this browser does not show the file’s format`;
  }

  showWhole() {
    this.signal();
    const { page } = this;
    page.state.class = "";
    page.state.at = "";
    page.remember();
    if (!this.whole) return;
    byId("shown").src = this.whole.url;
    byId("shown").alt = "Your picture";
    byId("caption").textContent = this.whole.name;
    byId("stage").classList.remove("seen");
    byId("stage").removeAttribute("aria-busy");
    byId("marks").replaceChildren();
    show(byId("heat"), false);
    show(byId("heat-tools"), false);
    this.#press(null);
    this.standIn();
  }

  // Boxes, in the picture's own pixels.
  showBoxes(answer, colourOf) {
    this.showWhole();
    const { width, height } = answer.picture;
    const svg = byId("marks");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const line = Math.max(width, height) / 220;
    svg.replaceChildren(...answer.detections.toReversed().map((one, i) => {
      const [x, y, right, bottom] = one.box;
      const box = makeSvg("rect", { x, y, width: right - x, height: bottom - y,
        class: "found", "stroke-width": line, stroke: colourOf(one.index) });
      box.dataset.number = answer.detections.length - 1 - i;
      return box;
    }));
    this.#offerTools(false);
  }

  lightUp(number) {
    for (const box of byId("marks").children) {
      box.classList.toggle("lit", number !== null && box.dataset.number === String(number));
    }
    byId("marks").classList.toggle("some-lit", number !== null);
  }

  // Which class each place shows.
  showAreas(answer) {
    this.showWhole();
    this.#lay(answer.seen, answer.mask, "The class of each place, in colours");
    this.#offerTools(true, false);
    byId("caption").replaceChildren(make("strong", {}, this.whole.name),
      ": the colours are those of the classes beside it.");
  }

  async explain(index, layer = this.page.state.at) {
    const { page } = this;
    if (!page.picture) return;
    const by = page.state.by || "grad-cam";
    page.state.class = String(index);
    page.state.at = layer ?? "";
    page.remember();
    byId("by").value = by;
    this.#press(index);
    const stage = byId("stage");
    stage.setAttribute("aria-busy", "true");
    byId("caption").textContent = SLOW[by] ?? "Looking where …";
    const query = { ...page.mode(), class: index, layer: by === "grad-cam" ? page.state.at : "" };
    if (by !== "grad-cam") query.by = by;
    try {
      const { answer, command } = await askOnce(by === "grad-cam" ? "/grad-cam" : "/explain", {
        query, body: page.picture, signal: this.signal(),
        tell: (text) => { byId("caption").textContent = text; },
      });
      keepAnswer("grad-cam-json", answer, command);
      this.#overlay(answer, by);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.showWhole();
      complain(byId("results-error"), error.message);
    }
    stage.removeAttribute("aria-busy");
  }

  #overlay(answer, by) {
    byId("results-error").replaceChildren();
    const { name } = partsOf(answer.label);
    this.#lay(answer.seen, answer.map, `Where ${name} is seen`);
    this.#offerTools(true);
    const said = SAID[by].replace("LAYER", answer.layer);
    const caption = answer.found ? `: bright where ${said}. ` : ": nothing here speaks for it. ";
    byId("caption").replaceChildren(make("span", {}, make("strong", {}, name), caption,
      "This is the part of the picture that the net sees."));
    byId("status").textContent = `Where ${name} is seen is shown over the picture`;
  }

  #lay(seen, over, alt) {
    byId("stage").classList.add("seen");
    byId("stage").classList.toggle("areas", !alt.startsWith("Where"));
    byId("shown").src = seen;
    byId("shown").alt = "The picture as the net sees it";
    byId("heat").src = over;
    byId("heat").alt = alt;
    show(byId("heat"));
    this.#dim();
  }

  #offerTools(strength, methods = true) {
    show(byId("heat-tools"));
    show(byId("strength-option"), strength);
    show(byId("by-option"), strength && methods);
    show(byId("whole"), strength);
    show(byId("grad-cam-json"), strength && methods);
  }

  #dim() {
    byId("heat").style.opacity = String(byId("strength").value / 100);
  }

  #press(index) {
    for (const button of byId("top").querySelectorAll(".where")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === index));
    }
  }

  // As it is seen on the page: the picture with what lies over it.
  async #save() {
    const shown = byId("shown");
    const canvas = make("canvas", { width: shown.naturalWidth, height: shown.naturalHeight });
    const context = canvas.getContext("2d");
    const laid = !byId("heat").hidden;
    if (laid && !byId("stage").classList.contains("areas")) context.filter = "grayscale(0.9)";
    context.drawImage(shown, 0, 0);
    context.filter = "none";
    if (laid) {
      context.globalAlpha = byId("strength").value / 100;
      context.drawImage(byId("heat"), 0, 0, canvas.width, canvas.height);
    }
    const scale = canvas.width / (byId("marks").viewBox.baseVal.width || canvas.width);
    for (const box of byId("marks").children) {
      const at = (name) => Number(box.getAttribute(name)) * scale;
      context.strokeStyle = box.getAttribute("stroke");
      context.lineWidth = at("stroke-width");
      context.strokeRect(at("x"), at("y"), at("width"), at("height"));
    }
    const name = this.whole.name.split("/").at(-1).replace(/\.\w+$/, "");
    save(`${fileName(name, this.page.state.by || "", this.page.state.class)}.png`,
      await canvasBlob(canvas));
  }
}


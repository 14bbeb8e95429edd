// The pictures at hand, in a row; and some to begin with.

import { ask } from "./api.js";
import { byId, focusOn, make, roving, show } from "./dom.js";

const MOST = 24;

export class Pictures {
  constructor(page) {
    this.page = page;
    this.all = [];
    this.now = null;
    this.count = 0;
    roving(byId("pictures"));
    byId("pictures").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      const picture = button && this.find(Number(button.dataset.number));
      if (!picture || picture === this.now) return;
      page.step();
      page.turnTo(picture);
    });
  }

  add({ blob, name, link = "" }) {
    this.count += 1;
    const picture = { blob, name, link, number: this.count, url: URL.createObjectURL(blob) };
    this.all.push(picture);
    while (this.all.length > MOST) {
      const oldest = this.all.find((one) => one !== this.now && one !== picture);
      this.all.splice(this.all.indexOf(oldest), 1);
      URL.revokeObjectURL(oldest.url);
    }
    return picture;
  }

  find(number) {
    return this.all.find((picture) => picture.number === number);
  }

  turnTo(picture) {
    this.now = picture;
    this.page.stage.showPicture(picture);
    show(byId("samples"), false);
    this.#draw();
  }

  say(text) {
    this.now.said = text;
    this.#draw();
  }

  #draw() {
    show(byId("pictures"), this.all.length > 1);
    const focused = byId("pictures").contains(document.activeElement);
    const buttons = this.all.map((picture) => {
      const button = make("button", { type: "button", title: picture.name },
        make("img", { src: picture.url, alt: "" }), make("span", {}, picture.said ?? ""));
      button.setAttribute("aria-label",
        [picture.name, picture.said].filter(Boolean).join(", "));
      button.dataset.number = picture.number;
      if (picture === this.now) button.setAttribute("aria-current", "true");
      return button;
    });
    byId("pictures").replaceChildren(...buttons.map((button) => make("li", {}, button)));
    focusOn(buttons, buttons[this.all.indexOf(this.now)], focused);
  }

  async offerSamples() {
    const { answer } = await ask("/samples").catch(() => ({ answer: { samples: [] } }));
    if (this.now || !answer.samples.length) return;
    byId("samples-list").replaceChildren(...answer.samples.map(({ name, title }) => {
      const path = `/samples/${encodeURIComponent(name)}`;
      const button = make("button", { type: "button" },
        make("img", { src: path, alt: "", loading: "lazy" }), make("span", {}, title));
      button.addEventListener("click", async () => {
        const blob = await ask(path, { raw: true });
        this.page.give([{ blob, name: title }]);
      });
      return make("li", {}, button);
    }));
    show(byId("samples"));
  }
}

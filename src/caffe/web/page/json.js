// The answer behind a view, as the server sent it.

import { byId, show } from "./dom.js";
import { saveJson } from "./download.js";

const LONG = 120;
const answers = new Map();
let shown = null;

export function keepAnswer(button, answer, command) {
  answers.set(button, { answer, command });
  show(byId(button));
}

export function connectJson() {
  const dialog = byId("json");
  for (const id of ["classify-json", "grad-cam-json", "structure-json", "view-json"]) {
    byId(id).addEventListener("click", () => {
      const kept = answers.get(id);
      if (!kept) return;
      shown = { name: id.replace("-json", ".json"), answer: kept.answer };
      byId("json-command").textContent = kept.command;
      byId("json-text").textContent = JSON.stringify(kept.answer, shortened, 2);
      dialog.showModal();
    });
  }
  byId("json-save").addEventListener("click", () => saveJson(shown.name, shown.answer));
  byId("json-close").addEventListener("click", () => dialog.close());
}

function shortened(_, value) {
  if (typeof value === "string" && value.length > LONG && value.startsWith("data:")) {
    return `${value.slice(0, 40)}… (${value.length} characters)`;
  }
  if (Array.isArray(value) && value.length > 64 && typeof value[0] === "number") {
    return [...value.slice(0, 16), `… (${value.length} numbers)`];
  }
  return value;
}

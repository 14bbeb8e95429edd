// Pictures dropped, pasted, chosen or linked.

import { byId } from "./dom.js";

export function takePictures(onFile, onLink) {
  const drop = byId("drop");
  const file = byId("file");
  file.addEventListener("change", () => {
    if (file.files.length) onFile(file.files[0]);
    // The same file chosen again is to be noticed too.
    file.value = "";
  });

  let depth = 0;
  const lit = (wanted) => drop.classList.toggle("over", wanted);
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    lit(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) lit(false);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    lit(false);
    take(event.dataTransfer, onFile, onLink);
  });
  addEventListener("paste", (event) => {
    if (event.target.matches?.("input, textarea") && !event.clipboardData.files.length) return;
    if (take(event.clipboardData, onFile, onLink)) event.preventDefault();
  });

  byId("link-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const link = byId("link").value.trim();
    if (link) onLink(/^[a-z]+:\/\//i.test(link) ? link : `https://${link}`);
    else byId("link").focus();
  });
}

function take(data, onFile, onLink) {
  if (data.files.length) {
    onFile(data.files[0]);
    return true;
  }
  const text = (data.getData("text/uri-list") || data.getData("text/plain")).trim().split("\n")[0];
  if (!/^https?:\/\//i.test(text)) return false;
  onLink(text);
  return true;
}

// Pictures and nets: dropped, pasted, chosen or linked.

import { byId } from "./dom.js";

const NET = /\.(prototxt|pbtxt|txt|caffemodel|h5|binaryproto)$/i;

export const isNet = (file) => NET.test(file.name ?? "") && !/^image\//.test(file.type);

export function takeFiles(onFiles, onLink) {
  const drop = byId("drop");
  const file = byId("file");
  file.addEventListener("change", () => {
    const chosen = [...file.files];
    // The same file chosen again is to be noticed too.
    file.value = "";
    if (chosen.length) onFiles(chosen);
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
    take(event.dataTransfer, onFiles, onLink);
  });
  addEventListener("paste", (event) => {
    if (event.target.matches?.("input, textarea") && !event.clipboardData.files.length) return;
    if (take(event.clipboardData, onFiles, onLink)) event.preventDefault();
  });

  byId("link-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const link = byId("link").value.trim();
    if (link) onLink(/^[a-z]+:\/\//i.test(link) ? link : `https://${link}`);
    else byId("link").focus();
  });
}

function take(data, onFiles, onLink) {
  if (data.files.length) {
    onFiles([...data.files]);
    return true;
  }
  const text = (data.getData("text/uri-list") || data.getData("text/plain")).trim().split("\n")[0];
  if (!/^https?:\/\//i.test(text)) return false;
  onLink(text);
  return true;
}

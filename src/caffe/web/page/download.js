// What is on the page, as files of the person's own.

import { make } from "./dom.js";

export function save(name, content, type = "text/plain") {
  const url = content instanceof Blob ? URL.createObjectURL(content)
    : URL.createObjectURL(new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function saveJson(name, answer) {
  save(name, `${JSON.stringify(answer, null, 2)}\n`, "application/json");
}

// Rows of plain values; what a spreadsheet would take for a formula is left text.
export function saveCsv(name, heads, rows) {
  const cell = (value) => {
    const text = String(value ?? "");
    const plain = typeof value === "number" || !/^[=+\-@\t\r]/.test(text) ? text : `'${text}`;
    return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  const lines = [heads, ...rows].map((row) => row.map(cell).join(","));
  save(name, `${lines.join("\r\n")}\r\n`, "text/csv");
}

export async function savePng(name, address) {
  save(name, await (await toBlob(address)));
}

// Not fetch: the page's policy lets data addresses be pictures, and nothing else.
async function toBlob(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = make("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvasBlob(canvas);
}

export function canvasBlob(canvas) {
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

export const fileName = (...parts) =>
  parts.filter(Boolean).join("-").replace(/[^\w.-]+/g, "_").slice(0, 120);

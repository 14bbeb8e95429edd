// Renders /openapi.json.

import { byId, complain, make } from "./dom.js";

const code = (text) => make("code", {}, text);

// Text with `code` in it.
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? code(part) : part));

function schemaText(schema) {
  if (!schema) return "";
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  if (schema.type === "array") {
    return schema.items?.properties ? `[${schemaText(schema.items)}]` : "[…]";
  }
  return schema.format ?? schema.type ?? "";
}

function table(heads, rows) {
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) =>
      make("td", {}, cell))))));
}

function parameterRow(parameter) {
  const { schema } = parameter;
  const usual = schema.default === undefined ? "" : `; ${schema.default} by default`;
  const needed = parameter.required ? "; must be given" : "";
  return [code(parameter.name), `${schemaText(schema)}${usual}${needed}`,
    parameter.description ?? (parameter.in === "path" ? "In the address." : "")];
}

function section(path, method, one) {
  const parts = [
    make("h2", {}, make("span", { className: "method" }, method.toUpperCase()), code(path)),
    make("p", {}, make("strong", {}, one.summary), ". ", ...prose(one.description ?? "")),
  ];
  if (one.requestBody) {
    parts.push(make("h3", {}, "What is sent"));
    if (one.requestBody.description) parts.push(make("p", {}, ...prose(one.requestBody.description)));
    parts.push(table(["Content type", "Content"], Object.entries(one.requestBody.content).map(
      ([type, { schema }]) => [code(type), schemaText(schema)])));
  }
  if (one.parameters?.length) {
    parts.push(make("h3", {}, "Options, in the address"));
    parts.push(table(["Name", "Values", "Meaning"], one.parameters.map(parameterRow)));
  }
  parts.push(make("h3", {}, "Answers"));
  parts.push(table(["Status", "Meaning"], Object.entries(one.responses).map(([status, answer]) => {
    const schema = status === "200" ? Object.values(answer.content)[0].schema : null;
    return [code(status), schema ? schemaText(schema) : answer.description];
  })));
  return make("section", { className: "card address" }, ...parts);
}

try {
  const response = await fetch("/openapi.json");
  const description = await response.json();
  const sections = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => section(path, method, one)));
  byId("addresses").replaceChildren(...sections);
  byId("example").textContent = `curl -F picture=@cat.jpg ${location.origin}/classify\n` +
    `curl --json '{"link": "https://…/cat.jpg"}' '${location.origin}/classify?top=3'`;
} catch {
  complain(byId("addresses"), "The description cannot be read. Is the server still running?");
}
byId("addresses").removeAttribute("aria-busy");

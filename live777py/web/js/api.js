/** The page of the API: the OpenAPI document, made readable. */

import { ROOT, element } from "./dom.js";

const METHODS = ["get", "post", "patch", "delete"];

const answer = await fetch(new URL("api/openapi.json", ROOT)).catch(() => null);
if (answer?.ok) {
  show(await answer.json());
} else {
  const error = element("error");
  error.textContent = answer === null
    ? "The server does not answer."
    : `The server answers ${answer.status}: ${await answer.text()}`;
  error.hidden = false;
}

function show({ info, tags, paths }) {
  element("version").textContent = info.version;
  element("tags").replaceChildren(...tags.map((tag) => section(tag, paths)));
}

function section({ name, description }, paths) {
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]?.tags.includes(name)).map((method) =>
      row(method.toUpperCase(), path, item[method], item.parameters ?? []),
    ),
  );
  const heading = make("h2", name[0].toUpperCase() + name.slice(1));
  const says = make("p", description, "quiet small");
  const card = make("section", "", "card");
  card.append(heading, says, ...operations);
  return card;
}

function row(method, path, operation, shared) {
  const details = make("details", "", "operation");
  const summary = make("summary");
  summary.append(
    make("span", method, `method ${method}`),
    make("span", path, "path"),
    make("span", operation.summary, "quiet"),
  );
  const inside = make("div", "", "details");
  const parameters = [...shared, ...(operation.parameters ?? [])];
  const bodies = Object.keys(operation.requestBody?.content ?? {});
  inside.append(
    ...table("Takes", [
      ...parameters.map(({ name, description }) => [name, description]),
      ...bodies.map((kind) => ["body", kind]),
    ]),
    ...table(
      "Answers",
      Object.entries(operation.responses).map(([status, response]) => [
        status === "default" ? "otherwise" : status,
        meaning(response),
      ]),
    ),
    make("pre", command(method, path, bodies), "command"),
  );
  details.append(summary, inside);
  return details;
}

function meaning({ description, content, headers }) {
  const kinds = Object.keys(content ?? {}).join(" or ");
  const names = Object.keys(headers ?? {}).join(", ");
  return [description, kinds && `as ${kinds}`, names && `with ${names}`]
    .filter(Boolean)
    .join("; ");
}

function command(method, path, bodies) {
  const url = new URL(path.slice(1), ROOT).href.replace(/%7B/g, "{").replace(/%7D/g, "}");
  const parts = ["curl", method === "GET" ? "" : `-X ${method}`];
  if (bodies.length > 0) parts.push(`-H 'Content-Type: ${bodies[0]}' --data-binary @body`);
  return [...parts, `'${url}'`].filter(Boolean).join(" ");
}

function table(caption, rows) {
  if (rows.length === 0) return [];
  const made = make("table");
  made.append(make("caption", caption));
  for (const [term, value] of rows) {
    const line = make("tr");
    const head = make("th", term);
    head.scope = "row";
    line.append(head, make("td", value));
    made.append(line);
  }
  return [made];
}

function make(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The demo page: an Export button that shows each step of issuing and opening a link.

const demo = await (await fetch("/demo/users.json")).json();
const element = (id) => document.getElementById(id);
/** The texts of this page and of its button, in the language of both. */
const texts = JSON.parse(element("texts").textContent);
const { lang } = document.documentElement;
let catalog = [];
let link = null;
/** The state of the form, by control: Back and Reload build the form anew. */
let remembered = JSON.parse(sessionStorage.getItem("form") ?? "{}");

// --- Building the form from the catalog ---

/** Creates an element with children. Attributes that are functions become event listeners. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Replaces each `{name}` of a text by its value. */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** Shows the status of the export on its button. */
function showStatus(status) {
  element("button").textContent = texts.button[status];
}

function radios(name, values, text, change, selected = values[0]) {
  return values.map((value) =>
    make("label", {},
      make("input", { type: "radio", name, value, checked: value === selected, change }),
      make("span", {}, ...text(value))));
}

const selectedValue = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
const token = () => demo.users.find((user) => user.name === selectedValue("user")).token;
const selectedExport = () => catalog.find((entry) => entry.name === selectedValue("export"));

const controls = () => [...document.querySelectorAll("input, select")];
const keyOf = (control) => control.id || `${control.name}=${control.value}`;
const property = (control) => (["radio", "checkbox"].includes(control.type) ? "checked" : "value");

function remember() {
  const now = controls().map((control) => [keyOf(control), control[property(control)]]);
  remembered = { ...remembered, ...Object.fromEntries(now) };
  sessionStorage.setItem("form", JSON.stringify(remembered));
}

/** Sets the controls that exist now. */
function recall() {
  for (const control of controls()) {
    const state = remembered[keyOf(control)];
    // A radio button is unset by another one of its group, which may not exist any more.
    if (state !== undefined && (control.type !== "radio" || state)) control[property(control)] = state;
  }
}

/** Fills in what the button of an error page adds to the URL: the export, its format and filters. Forgets the others. */
function prefill() {
  const wanted = new URLSearchParams(location.search);
  if (!wanted.has("export")) return;
  const others = Object.entries(remembered).filter(([key]) => !/^(filter-|export=|format=)/.test(key));
  remembered = Object.fromEntries(others);
  for (const name of new Set(wanted.keys())) {
    if (!/^(export$|format$|filter\.)/.test(name)) continue;
    const key = name.replace("filter.", "filter-");
    const values = wanted.getAll(name);
    // A text field has the whole list; of choices each has its value.
    remembered[key] = values.join(",");
    for (const value of values) remembered[`${key}=${value}`] = true;
  }
  sessionStorage.setItem("form", JSON.stringify(remembered));
  history.replaceState(null, "", location.pathname);
}

/** Loads the user's catalog and builds the form from it. The form is disabled meanwhile. */
async function showCatalog() {
  const bearer = token();
  element("controls").disabled = true;
  showError(null);
  try {
    const { exports } = await call("GET", "/v1/exports");
    if (bearer !== token()) return;
    if (JSON.stringify(exports) !== JSON.stringify(catalog)) showExports(exports);
    element("controls").disabled = false;
    showEstimate();
  } catch (problem) {
    showError(problem);
  }
}

function showExports(exports) {
  catalog = exports;
  const title = (name) => [catalog.find((entry) => entry.name === name).title];
  element("exports").replaceChildren(
    ...radios("export", catalog.map((entry) => entry.name), title, showExport, demo.export));
  recall();
  showExport();
}

function showExport() {
  const entry = selectedExport();
  element("description").textContent = entry.description ?? "";
  element("filters").replaceChildren(...entry.filters.map(filterField));
  element("formats").replaceChildren(...radios("format", entry.formats, (name) => [name.toUpperCase()], showFormat));
  recall();
  showFormat();
}

function showFormat() {
  element("delimiter-field").hidden = selectedValue("format") !== "csv";
}

function filterField(filter) {
  const id = `filter-${filter.name}`;
  const words = filter.name.replaceAll("_", " ");
  const name = filter.required ? words : fill(texts.page.optional, { name: words });
  const hint = filter.description ? [make("p", { class: "hint", id: `${id}-hint` }, filter.description)] : [];
  if (filter.list && filter.values) {
    const boxes = filter.values.map((value) =>
      make("label", {}, make("input", { type: "checkbox", name: id, value }), value));
    return make("div", { class: "field", role: "group", "aria-labelledby": `${id}-label` },
      make("span", { class: "label", id: `${id}-label` }, name), make("div", { class: "choices" }, ...boxes), ...hint);
  }
  const attributes = { id, "aria-describedby": filter.description ? `${id}-hint` : null };
  const choices = filter.type === "boolean" ? ["true", "false"] : filter.values;
  const input = choices
    ? make("select", attributes, make("option", { value: "" }, texts.page.any), ...choices.map((it) => make("option", {}, it)))
    : make("input", {
      ...attributes, type: { date: "date", integer: "number" }[filter.type] ?? "text",
      min: filter.min, max: filter.max, maxlength: filter.max_length, autocomplete: "off",
      // A date within the sample orders, so that the first export has rows.
      value: filter.default?.[0] ?? (filter.type === "date" && filter.required ? demo.from : ""),
      inputmode: filter.type === "decimal" ? "decimal" : null,
    });
  return make("div", { class: "field" }, make("label", { for: id }, name), input, ...hint);
}

function filterValues() {
  const values = {};
  for (const filter of selectedExport().filters) {
    const id = `filter-${filter.name}`;
    const checked = [...document.querySelectorAll(`input[name="${id}"]:checked`)].map((box) => box.value);
    const text = element(id)?.value;
    if (checked.length) values[filter.name] = checked;
    else if (text) values[filter.name] = filter.list ? text.split(",").map((it) => it.trim()) : text;
  }
  return values;
}

// --- Issue a link and download ---

/** Thrown for every problem response (RFC 9457). */
class Problem extends Error {
  constructor(body) {
    super(body.detail);
    this.body = body;
  }
}

async function call(method, path, body) {
  const noResponse = () => {
    throw new Error(texts.page.no_response);
  };
  const response = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token()}`, Accept: "application/json" },
    body: body && JSON.stringify(body),
  }).catch(noResponse);
  const content = await response.json().catch(noResponse);
  if (!response.ok) throw new Problem(content);
  return content;
}

function linkRequest() {
  const format = selectedValue("format");
  const delimiter = element("delimiter").value;
  return {
    export: selectedExport().name, format, filters: filterValues(),
    expires_in: Number(element("seconds").value),
    filename: element("filename").value || null,
    length: element("exact").checked ? "exact" : null,
    prepare: element("prepared").checked || null,
    csv: format === "csv" && delimiter ? { delimiter } : null,
  };
}

async function issue(event) {
  event.preventDefault();
  showError(null);
  showStatus("issuing");
  try {
    link = await call("POST", "/v1/links", linkRequest());
  } catch (problem) {
    showError(problem);
    return showStatus("idle");
  }
  link.opened = performance.now();
  showLink();
  const issued = link;
  if (issued.file) showStatus("preparing");
  const isReady = !issued.file || (await isPrepared(issued));
  // A later press of the button has a status of its own.
  if (issued === link) showStatus("idle");
  if (!isReady) return;
  download();
  showDownload();
}

/** Shows how many rows of the file are prepared; resolves to whether it is complete, and the link still the latest one. */
async function isPrepared(issued) {
  let { file } = issued;
  while (file.state === "preparing" && issued === link) {
    const values = { filename: issued.filename, rows: number.format(file.rows) };
    element("started").textContent = fill(texts.page.preparing, values);
    try {
      file = await call("POST", "/v1/links/status", { url: issued.url, wait: 1 });
    } catch (problem) {
      showError(problem);
      return false;
    }
  }
  if (issued !== link) return false;
  if (file.state !== "ready") showError(new Error(fill(texts.page.not_ready, { state: file.code ?? file.state })));
  return file.state === "ready";
}

const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
let estimates = 0;

/** Shows the estimated size of the export. Errors are shown only after the click on Export. */
async function showEstimate() {
  const latest = ++estimates;
  await new Promise((resolve) => setTimeout(resolve, 250));
  if (latest !== estimates) return;
  element("estimate").textContent = texts.page.counting;
  const estimate = await call("POST", "/v1/links", { ...linkRequest(), prepare: null, estimate: true }).catch(() => null);
  if (latest !== estimates) return;
  element("estimate").textContent = estimate?.estimated_rows == null ? "" : estimateText(estimate);
}

function estimateText({ estimated_rows: rows, estimated_bytes: bytes, estimated_by: by }) {
  const large = bytes >= 1e6;
  const size = bytes == null ? "" : `, ${number.format(bytes / (large ? 1e6 : 1e3))} ${large ? "MB" : "kB"}`;
  const text = { planner: texts.page.about, count: texts.page.exactly, "partial-count": texts.page.more_than }[by];
  return fill(text, { rows: number.format(rows) }) + size;
}

/** Clicks a link: the page stays open, and the browser shows its own progress bar. */
function download() {
  make("a", { href: link.url }).click();
}

/** Tells that the download has begun. On a phone the link is below the form. */
function showDownload() {
  element("started").textContent = fill(texts.page.downloading, { filename: link.filename });
  const isBelow = element("link").getBoundingClientRect().top > innerHeight - 160;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  if (isBelow) element("link").scrollIntoView({ behavior });
}

/** Shows a problem of the server, which is in English, or an error with a text of this page. */
function showError(error) {
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const errors = error?.body?.errors ?? [];
  for (const { field } of errors) {
    element(`filter-${field.replace("filters.", "")}`)?.setAttribute("aria-invalid", "true");
    element(field)?.setAttribute("aria-invalid", "true");
  }
  const invalid = document.querySelector("details [aria-invalid]");
  if (invalid) element("options").open = true;
  const lines = errors.map(({ field, message }) => make("li", {}, `${field.replace("filters.", "")}: ${message}`));
  const shown = lines.length ? make("ul", {}, ...lines) : make("span", {}, error?.message ?? "");
  if (error?.body) shown.lang = "en";
  element("error").replaceChildren(...(error ? [shown] : []));
}

// --- The parts of the link ---

function parts(url) {
  const { pathname, searchParams } = new URL(url);
  const filters = [...searchParams].filter(([name]) => !name.startsWith("rl_"));
  const options = [...searchParams].filter(([name]) => /^rl_(?!claim\.)([a-z0-9]+\.|columns|filename|timezone|length)/.test(name));
  return [
    [texts.page.who, "who", searchParams.get("rl_user")],
    [texts.page.what, "what", pathname.split("/").pop()],
    ...filters.map(([name, value]) => [name, "what", value]),
    ...options.map(([name, value]) => [name.slice(3), "what", value]),
    [texts.page.until, "when", new Date(link.expires_at).toLocaleTimeString()],
    [texts.page.signature, "seal", searchParams.get("rl_signature")],
  ];
}

function showLink() {
  element("parts").replaceChildren(...parts(link.url).flatMap(([term, kind, value]) =>
    [make("dt", {}, term), make("dd", { class: kind }, value)]));
  element("response").replaceChildren();
  element("before").hidden = true;
  element("after").hidden = false;
  tick();
}

function tick() {
  const left = Math.max(0, link.expires_in - (performance.now() - link.opened) / 1000);
  element("left").value = left / link.expires_in;
  element("left").classList.toggle("ends-soon", left <= 10);
  element("countdown").textContent = left > 0
    ? fill(texts.page.valid, { seconds: Math.ceil(left) })
    : texts.page.expired;
}

/** Requests the link with another user id, which must be rejected. */
async function tamper() {
  const other = demo.users.find((user) => user.name !== selectedValue("user")).name;
  const changed = link.url.replace(/rl_user=[^&]*/, `rl_user=${other}`);
  const response = await fetch(changed, { headers: { Accept: "application/json" } });
  const { code, detail } = await response.json();
  const [before, after] = texts.page.tampered.split("{change}");
  element("response").replaceChildren(
    make("p", {}, before, make("span", { class: "who" }, `rl_user=${other}`), after),
    make("p", { class: "refused", lang: "en" }, `${response.status} ${code}: ${detail}`));
}

async function copyAsCurl() {
  const name = link.filename.replaceAll("'", "'\\''");
  const command = `curl -o '${name}' '${link.url.replaceAll("'", "%27")}'`;
  let label = texts.page.copied;
  try {
    await navigator.clipboard.writeText(command);
  } catch {
    label = texts.page.copy_this;
  }
  element("response").replaceChildren(make("p", {}, label), make("pre", { tabindex: "0" }, command));
}

element("users").append(...radios("user", demo.users.map((user) => user.name), (name) => [name], showCatalog));
prefill();
recall();
element("export").addEventListener("submit", issue);
element("export").addEventListener("input", showEstimate);
document.addEventListener("input", remember);
element("again").addEventListener("click", download);
element("tamper").addEventListener("click", tamper);
element("copy").addEventListener("click", copyAsCurl);
setInterval(() => link && tick(), 250);
await showCatalog();

// The page of exports: estimates, previews, requests links, and copies them. Without it the forms lead to
// plain links. The part that signs in is in another file, which is appended.
//
// A control of a form hides the form's own property of its name, and a filter may have any name. So the form is never asked for
// a property: its element `exporter` has the attributes and the listeners.

const element = (id) => document.getElementById(id);
const texts = JSON.parse(element("texts").textContent);
const { lang } = document.documentElement;
/** What leads to the folder of all paths. The page of an error, which may replace this one, does not tell. */
const { root } = document.querySelector("main").dataset;
const PREVIEW_ROWS = 10;
/** The token of a person who has signed in here; null if the application's cookie is the credential. */
let token = null;

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

/** Puts a text into a live region, or removes it. */
const say = (id, text = "") => { element(id).textContent = text; };

/** Adds to the content what needs a script. */
function enhance() {
  for (const part of document.querySelectorAll("main .script")) part.hidden = false;
  const out = element("sign-out");
  if (out && token) {
    out.hidden = false;
    out.addEventListener("click", signOut);
  }
  if (element("search")) enhanceSearch();
  if (element("exporter")) enhanceForm();
}

// --- The list ---

/** Searches while the person types, in all exports: those that the server has not found are hidden. */
function enhanceSearch() {
  const search = element("search");
  const items = [...document.querySelectorAll(".exports > li")];
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (item) => {
      const text = `${item.dataset.name}\n${item.querySelector(".words").textContent}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    for (const item of items) item.hidden = !has(item);
    const count = items.filter((item) => !item.hidden).length;
    const text = { 0: texts.found_none, 1: texts.found_one }[count] ?? texts.found;
    say("found", fill(text, { count }));
  });
  document.querySelector("form.search").addEventListener("submit", (event) => event.preventDefault());
}

// --- Requests ---

/** Thrown for every problem response (RFC 9457), and if there is none. */
class Problem extends Error {
  constructor(message, { errors = [], isEnglish = false } = {}) {
    super(message);
    Object.assign(this, { errors, isEnglish });
  }
}

async function problemOf(response) {
  if (response.status === 401) return new Problem(texts.session_ended);
  const { detail, errors } = await response.json();
  return new Problem(detail, { errors, isEnglish: true });
}

async function call(path, body, signal) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    const response = await fetch(`${root}v1/${path}`, { method: "POST", headers, body: JSON.stringify(body), signal });
    if (response.ok) return await response.json();
    throw await problemOf(response);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new Problem(texts.no_response);
  }
}

/** Returns the values of the filters, by name. Empty fields are left out. */
function filterValues() {
  const values = new Map();
  for (const [name, value] of new FormData(element("export"))) {
    if (value !== "") values.set(name, [...values.get(name) ?? [], value]);
  }
  const one = ([name, list]) => [name, list.length === 1 ? list[0] : list];
  return Object.fromEntries([...values].map(one));
}

/** Returns the request for a link to a file in a format; without one for stored documents. */
function linkRequest(format) {
  const boxes = [...document.querySelectorAll("#columns input")];
  const chosen = boxes.filter((box) => box.checked).map((box) => box.dataset.column);
  if (boxes.length && !chosen.length) {
    throw new Problem(texts.no_columns, { errors: [{ field: "columns", message: texts.no_columns }] });
  }
  return {
    export: element("exporter").dataset.export,
    format: format || null,
    filters: filterValues(),
    columns: chosen.length < boxes.length ? chosen : null,
    reason: element("reason")?.value || null,
  };
}

// --- The form ---

const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
/** Ends what the last press of a button has begun. */
let running = new AbortController();

/** Runs what a button begins, and shows its problem. */
async function run(action) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  clearProblem();
  say("progress");
  try {
    await action(signal);
  } catch (error) {
    if (!signal.aborted) showProblem(error);
  }
}

function isValid(report) {
  const { checkValidity, reportValidity } = HTMLFormElement.prototype;
  return (report ? reportValidity : checkValidity).call(element("export"));
}

function enhanceForm() {
  const exporter = element("exporter");
  exporter.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter ?? document.querySelector("#exporter button[data-format]");
    run((signal) => download(button.dataset.format, signal));
  });
  exporter.addEventListener("input", estimateSoon);
  for (const values of document.querySelectorAll("#exporter .values")) enhanceList(values);
  const tools = {
    "preview": preview,
    "copy-link": (signal) => copy((link) => link.url, texts.copied, signal),
    "copy-curl": (signal) => copy(curl, texts.copied, signal),
    "copy-python": (signal) => copy(python, texts.copied_script, signal),
  };
  for (const [id, action] of Object.entries(tools)) {
    element(id)?.addEventListener("click", () => isValid(true) && run(action));
  }
  estimateSoon();
}

/** Lets a list have more values. */
function enhanceList(values) {
  const add = () => {
    const inputs = [...values.querySelectorAll("input")];
    const input = inputs.at(-1).cloneNode();
    const label = values.querySelector("label").cloneNode(true);
    const place = inputs.length + 1;
    input.id = label.htmlFor = input.id.replace(/\d+$/, place);
    label.textContent = fill(texts.value, { number: place });
    input.value = "";
    input.required = false;
    input.removeAttribute("aria-invalid");
    button.before(label, input);
    input.focus();
  };
  const button = make("button", { type: "button", class: "link", click: add }, texts.another_value);
  values.append(button);
}

async function download(format, signal) {
  say("progress", texts.issuing);
  const request = linkRequest(format);
  const prepare = element("prepare")?.checked || null;
  const link = await call("links", { ...request, prepare }, signal);
  if (prepare) await prepared(link, signal);
  say("progress", fill(texts.downloading, link));
  // The page stays, because the response is an attachment.
  make("a", { href: link.url }).click();
}

/** Shows how many rows are prepared, until the file is ready. */
async function prepared(link, signal) {
  let { file } = link;
  while (file.state === "preparing") {
    const values = { filename: link.filename, rows: number.format(file.rows) };
    say("progress", fill(texts.preparing, values));
    file = await call("links/status", { url: link.url, wait: 1 }, signal);
  }
  if (file.state !== "ready") throw new Problem(fill(texts.not_ready, { state: file.code ?? file.state }));
}

let estimates = 0;

/** Estimates the file when the form has not changed for a moment. Its problems are shown only after the press of a button. */
async function estimateSoon() {
  const latest = ++estimates;
  const isLatest = () => latest === estimates;
  if (!("estimated" in element("exporter").dataset)) return;
  await new Promise((resolve) => setTimeout(resolve, 400));
  if (!isLatest()) return;
  let text = "";
  try {
    if (isValid(false)) {
      say("estimate", texts.counting);
      const { format } = document.querySelector("#exporter button[data-format]").dataset;
      text = estimateText(await call("links", { ...linkRequest(format), estimate: true }));
    }
  } catch {
    text = "";
  }
  if (isLatest()) say("estimate", text);
}

function estimateText({ estimated_rows: rows, estimated_bytes: bytes, estimated_by: by }) {
  if (rows == null) return "";
  const large = bytes >= 1e6;
  const size = bytes == null ? "" : `, ${number.format(bytes / (large ? 1e6 : 1e3))} ${large ? "MB" : "kB"}`;
  const text = { planner: texts.about, count: texts.exactly, "partial-count": texts.more_than }[by];
  return fill(text, { rows: number.format(rows) }) + size;
}

// --- Problems ---

function clearProblem() {
  for (const invalid of document.querySelectorAll("[aria-invalid]")) invalid.removeAttribute("aria-invalid");
  for (const error of document.querySelectorAll("#exporter .error[id$='-error']")) error.textContent = "";
  element("problem").replaceChildren();
}

/** Shows the problems beside their fields, and others below the buttons. */
function showProblem(error) {
  say("progress");
  const others = error.errors?.filter(({ field, message }) => !showFieldError(field, message, error.isEnglish)) ?? [];
  const language = error.isEnglish ? { lang: "en" } : {};
  const lines = others.map(({ field, message }) => make("li", {}, `${field}: ${message}`));
  const isShown = error.errors?.length && !others.length;
  const text = lines.length ? make("ul", language, ...lines) : make("span", language, error.message);
  element("problem").replaceChildren(...(isShown ? [] : [text]));
  document.querySelector("[aria-invalid]")?.focus();
}

/** Shows an error beside its field; returns whether the form has the field. */
function showFieldError(field, message, isEnglish) {
  const id = field.replace(/^filters\./, "filter-");
  const place = element(`${id}-error`);
  if (!place) return false;
  place.textContent = message;
  if (isEnglish) place.lang = "en";
  const found = element(id);
  const controls = found.matches("fieldset") ? found.querySelectorAll("input") : [found];
  for (const control of controls) control.setAttribute("aria-invalid", "true");
  const details = found.closest("details");
  if (details) details.open = true;
  return true;
}

// --- The first rows ---

async function preview(signal) {
  say("progress", texts.previewing);
  const link = await call("links", { ...linkRequest("ndjson"), end_line: false }, signal);
  // From where this page comes from: the public URL may have another origin.
  const url = `${root}v1/${link.url.split("/v1/").pop()}`;
  const rows = await firstRows(url, signal);
  say("progress", rows.length ? "" : texts.no_rows);
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const boxes = document.querySelectorAll("#columns input");
  const labels = new Map([...boxes].map((box) => [box.dataset.column, box.parentElement.textContent]));
  const heading = (name) => make("th", { scope: "col", dir: "auto" }, labels.get(name) ?? name);
  const cell = (value) => make("td", { dir: "auto", title: value.length > 40 ? value : null }, value);
  document.querySelector("#rows table").replaceChildren(
    make("thead", {}, make("tr", {}, ...names.map(heading))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...names.map((name) => cell(cellText(row[name])))))));
  element("rows").hidden = !rows.length;
  if (rows.length) element("rows-heading").focus();
}

/** Reads the first rows, then ends the query. */
async function firstRows(url, signal) {
  const response = await fetch(url, { signal, headers: { Accept: "application/x-ndjson, application/json" } })
    .catch((error) => { throw signal.aborted ? error : new Problem(texts.no_response); });
  if (!response.ok) throw await problemOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let lines = [];
  while (lines.length <= PREVIEW_ROWS) {
    const { done, value } = await reader.read().catch(() => { throw new Problem(texts.no_response); });
    if (done) break;
    text += value;
    lines = text.split("\n");
  }
  reader.cancel().catch(() => {});
  // The last part is no whole line.
  return lines.slice(0, -1).slice(0, PREVIEW_ROWS).map((line) => JSON.parse(line, exactly));
}

/** Keeps the digits of a number, where the browser tells them. */
const exactly = (_, value, context) => (typeof value === "number" ? context?.source ?? value : value);

const cellText = (value) => (value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

// --- Copies ---

async function copy(describe, label, signal) {
  const format = element("copy-format")?.value ?? document.querySelector("#exporter button[data-format]").dataset.format;
  const request = linkRequest(format);
  const link = await call("links", request, signal);
  const text = describe(link, request);
  const time = new Date(link.expires_at).toLocaleTimeString(lang);
  const shown = await navigator.clipboard.writeText(text).then(() => fill(label, { time }), () => texts.copy_this);
  element("copied").replaceChildren(make("p", {}, shown), make("pre", { tabindex: "0" }, text));
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curl = ({ url, filename }) => `curl --fail -o ${quoted(filename)} ${quoted(url)}`;

/** Returns a script for the client package. Every text of JSON is one of Python. */
function python({ url, filename }, { export: name, format, filters, columns, reason }) {
  const base = url.slice(0, url.lastIndexOf("/v1/"));
  const options = Object.entries({ filters, columns, reason }).filter(([, value]) => value != null);
  const values = [name, format].map((value) => (value == null ? "None" : JSON.stringify(value)));
  const call = [...values, ...options.map(([key, value]) => `${key}=${JSON.stringify(value)}`)].join(", ");
  return [
    "import os", "", "from rowlink import Rowlink", "",
    `rowlink = Rowlink(${JSON.stringify(base)}, os.environ["ROWLINK_TOKEN"])`,
    `rowlink.link(${call}).download(${JSON.stringify(filename)})`, "",
  ].join("\n");
}

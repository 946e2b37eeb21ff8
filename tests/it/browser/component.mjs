// Tasks about `<rowlink-export>`: pages of an application whose own endpoint requests the links.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { violations } from "./button.mjs";
import { serve } from "./serve.mjs";

/** Returns a page whose form has the filters, and which works without scripts. */
export function formPage(baseUrl, language) {
  return `<!doctype html>
<html lang="${language}">
  <head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Orders</title>
    <!-- axe does not know the colour of a page that paints none. -->
    <style>body { background: Canvas; color: CanvasText; }</style></head>
  <body>
    <main>
      <h1>Orders</h1>
      <form action="${baseUrl}/v1/exports/orders.csv">
        <label>From <input type="date" name="from" required></label>
        <label><input type="checkbox" name="status" value="paid"> paid</label>
        <label><input type="checkbox" name="status" value="refunded"> refunded</label>
        <label>Limit <input name="limit"></label>
        <rowlink-export export="orders" formats="csv,xlsx" endpoint="/links">
          <span slot="icon" aria-hidden="true">↓</span>
          <button>Export as CSV</button>
        </rowlink-export>
      </form>
    </main>
    <script type="module" src="/client/element.js"></script>
  </body>
</html>`;
}

/** Returns a page without a form: the filters are slotted controls. */
function slottedPage(attributes) {
  return `<!doctype html>
<html lang="de">
  <head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Zahlen</title></head>
  <body>
    <main>
      <h1>Zahlen</h1>
      <rowlink-export export="numbers" formats="csv" endpoint="/links" ${attributes}>
        <label slot="filters">Anzahl <input name="n" value="5" pattern="\\d+"></label>
      </rowlink-export>
    </main>
    <script type="module" src="/client/element.js"></script>
  </body>
</html>`;
}

/** Returns a page with an element that is not defined yet, and a form elsewhere. */
function laterPage() {
  return `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Orders</title></head>
  <body>
    <form id="filters">
      <input type="datetime-local" name="at" value="2026-01-31T09:30">
      <select name="status" multiple><option selected>paid</option><option selected>pending</option></select>
      <input name="note" value="">
      <input type="file" name="file">
      <input name="disabled" value="1" disabled>
      <input type="hidden" name="csrf" value="1">
    </form>
    <rowlink-export export="orders" form="filters" controls="at status note file disabled" columns="id status"
      filters='{"limit": 5, "status": "refunded"}'></rowlink-export>
  </body>
</html>`;
}

/** Opens a page; keeps the events of its element in the page, and returns the URLs that it requests. */
async function open(browser, task, { path = "/form", example, context: options = {} } = {}) {
  const { port, baseUrl, token, language = "en", attributes = "" } = task;
  const pages = { "/form": formPage(baseUrl, language), "/slotted": slottedPage(attributes), "/later": laterPage() };
  const origin = await serve(port, { baseUrl, token }, { example, pages });
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => requests.push(request.url()));
  await page.addInitScript(keepEvents);
  await page.goto(origin + path);
  return { page, context, origin, errors, requests };
}

/** Keeps the name of each event, and the detail of the last one of each name. */
export function keepEvents() {
  globalThis.events = [];
  globalThis.details = {};
  for (const name of ["rowlink-link", "rowlink-progress", "rowlink-done", "rowlink-error"]) {
    addEventListener(name, ({ detail }) => {
      events.push(name);
      details[name] = { ...detail, error: detail.error?.name };
    });
  }
}

const hash = (content) => createHash("sha256").update(content).digest("hex");

/** Does something that downloads a file; returns the file. */
async function downloaded(page, action) {
  const [download] = await Promise.all([page.waitForEvent("download"), action()]);
  const content = await readFile(await download.path());
  return { name: download.suggestedFilename(), sha256: hash(content), size: content.length };
}

/** Waits for a status of the element; returns what it shows. */
async function shown(page, status) {
  await page.locator(`rowlink-export[status=${status}]`).waitFor();
  return page.locator("rowlink-export").evaluate((element) => {
    const text = (selector) => element.shadowRoot.querySelector(selector).textContent;
    return { status: text("#status"), error: text(".error"), differs: text(".differs") };
  });
}

// Exports by keyboard with the filters of a form, by Enter in a field, and after a refusal; refuses a link.
export async function element(browser, task) {
  const { page, errors, requests, origin } = await open(browser, task);
  const button = page.getByRole("button", { name: "Export", exact: true });
  const format = page.getByLabel("Format");
  await button.waitFor();
  const color = await button.evaluate((it) => getComputedStyle(it).backgroundColor);
  const seen = { color, formats: await format.locator("option").allInnerTexts(), fallback: await page.getByText("Export as CSV").isVisible() };
  await button.click();
  seen.invalid = await page.evaluate(() => [document.activeElement.name, document.querySelector("rowlink-export").status]);

  await page.getByLabel("From").fill("2026-01-06");
  await page.getByLabel("paid").check();
  await page.getByLabel("refunded").check();
  await page.getByLabel("Limit").focus();
  await page.keyboard.press("Tab");
  seen.csv = await downloaded(page, async () => {
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
  });
  seen.started = await shown(page, "started");
  seen.link = await page.evaluate(() => details["rowlink-link"].request);
  seen.done = await page.evaluate(() => details["rowlink-done"]);
  seen.focus = await page.evaluate(() => document.activeElement.shadowRoot.activeElement.getAttribute("part"));
  await format.focus();
  await page.keyboard.press("ArrowDown");
  seen.xlsx = await downloaded(page, () => page.getByLabel("Limit").press("Enter"));

  await format.selectOption("csv");
  await page.getByLabel("Limit").fill("1000");
  await button.click();
  seen.failed = await shown(page, "failed");
  seen.code = await page.evaluate(() => details["rowlink-error"].code);
  await page.getByLabel("Limit").fill("2");
  seen.again = await downloaded(page, () => button.click());

  const before = requests.length;
  await page.evaluate(() => addEventListener("rowlink-link", (event) => event.preventDefault(), { once: true }));
  await button.click();
  await shown(page, "idle");
  seen.afterCancel = requests.slice(before).map((url) => new URL(url).pathname);
  seen.events = await page.evaluate(() => events.join(" "));
  seen.hasToken = (await page.content()).includes(task.token);
  return { ...seen, hasStayed: page.url() === `${origin}/form`, errors };
}

// Sets properties before the element is defined; returns its request, that with a source, and the codes of what it refuses.
export async function element_properties(browser, task) {
  const { page, errors } = await open(browser, task, { path: "/later" });
  const seen = await page.evaluate(async () => {
    const element = document.querySelector("rowlink-export");
    Object.assign(element, { format: "xlsx", formats: ["csv", "xlsx"], requestLink: async () => ({ url: "javascript:alert(1)" }) });
    await import("/client/element.js");
    const { request } = element.read();
    const isInstant = request.filters.at === new Date("2026-01-31T09:30").toISOString();
    element.source = () => ({ filters: { status: "paid" }, columns: ["id"] });
    const ofSource = element.read().request;
    const codes = [];
    element.addEventListener("rowlink-error", ({ detail }) => codes.push(detail.code));
    await element.start();
    element.requestLink = async () => undefined;
    await element.start();
    element.requestLink = undefined;
    await element.start();
    element.filters = undefined;
    element.setAttribute("filters", "{");
    await element.start();
    // A disabled element does nothing.
    element.toggleAttribute("disabled", true);
    await element.start();
    return { request, isInstant, ofSource, codes };
  });
  return { ...seen, errors };
}

// Saves a file with progress, and cancels another one.
export async function element_saves(browser, task) {
  const { page, errors } = await open(browser, { ...task, attributes: "save" }, { path: "/slotted" });
  // A headless browser has no save dialog.
  await page.evaluate(() => {
    globalThis.showSaveFilePicker = async ({ suggestedName }) =>
      (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });
    // What the element shows meanwhile.
    globalThis.meanwhile = [];
    addEventListener("rowlink-progress", ({ target }) => {
      const { hidden, value } = target.shadowRoot.querySelector("progress");
      meanwhile.push([hidden, value, target.shadowRoot.querySelector(".amount").textContent]);
    });
  });
  const button = page.getByRole("button", { name: "Exportieren" });
  const saved = () => page.evaluate(async () => {
    const folder = await navigator.storage.getDirectory();
    return folder.getFileHandle("numbers.csv").then(async (handle) => (await handle.getFile()).text(), (error) => error.name);
  });
  await page.getByLabel("Anzahl").fill("viele");
  await button.click();
  const invalid = await page.evaluate(() => events.length);
  await page.getByLabel("Anzahl").fill("50000");
  await button.click();
  const done = await shown(page, "done");
  const [last, count] = await page.evaluate(() => [meanwhile.at(-1), meanwhile.length]);
  const sha256 = hash(await saved());
  const progress = await page.evaluate(() => details["rowlink-done"].progress);

  await page.getByLabel("Anzahl").fill("900000000");
  await button.click();
  const cancel = page.getByRole("button", { name: "Abbrechen" });
  await page.locator("rowlink-export[status=downloading]").waitFor();
  await cancel.click();
  await shown(page, "idle");
  const focus = await page.evaluate(() => document.activeElement.shadowRoot.activeElement.getAttribute("part"));
  const afterCancel = [await saved(), await cancel.isVisible(), focus];
  return { invalid, done, last, count, sha256, progress, afterCancel, errors };
}

// Lets the server prepare a file, and downloads it.
export async function element_prepares(browser, task) {
  const { page, errors } = await open(browser, { ...task, attributes: "prepare" }, { path: "/slotted" });
  await page.evaluate(() => {
    const element = document.querySelector("rowlink-export");
    element.export = "it";
    element.options = { filename: "Bestellungen März" };
    globalThis.states = [];
    new MutationObserver(() => states.push(element.status)).observe(element, { attributeFilter: ["status"] });
  });
  await page.getByLabel("Anzahl").evaluate((input) => input.remove());
  const file = await downloaded(page, () => page.getByRole("button", { name: "Exportieren" }).click());
  const { status } = await shown(page, "started");
  const progress = await page.evaluate(() => details["rowlink-progress"]);
  return { file, status, progress, states: await page.evaluate(() => [...new Set(states)]), errors };
}

// Opens the page in a browser without scripts that has the session's cookie, and presses the button of the form.
export async function element_without_script(browser, task) {
  const { page, context } = await open(browser, task, { context: { javaScriptEnabled: false } });
  await context.addCookies([{ name: "session", value: task.token, url: task.baseUrl }]);
  await page.getByLabel("From").fill("2026-01-06");
  await page.getByLabel("paid").check();
  return downloaded(page, () => page.getByRole("button", { name: "Export as CSV" }).click());
}

// Shows each status in light and dark mode: returns violations of accessibility, colours, and what moves.
export async function element_looks(browser, task, require) {
  const looks = [];
  for (const [at, [colorScheme, reducedMotion]] of [["light", "no-preference"], ["dark", "reduce"]].entries()) {
    const { page } = await open(browser, { ...task, port: task.ports[at] }, { context: { colorScheme, reducedMotion, bypassCSP: true } });
    const states = {};
    const look = async (name) => {
      states[name] = await violations(page, require);
    };
    await page.getByLabel("From").fill("2026-01-06");
    await look("idle");
    await page.getByLabel("Limit").fill("1000");
    await page.getByRole("button", { name: "Export", exact: true }).click();
    await shown(page, "failed");
    await look("failed");
    const shownStyle = await page.locator("rowlink-export").evaluate((element) => {
      const style = (selector) => getComputedStyle(element.shadowRoot.querySelector(selector));
      const { backgroundColor, transitionDuration } = style("[part=button]");
      const progress = element.shadowRoot.querySelector("progress");
      progress.hidden = false;
      const { display } = getComputedStyle(progress);
      progress.hidden = true;
      element.style.setProperty("--rowlink-accent", "rgb(1, 2, 3)");
      const sheet = new CSSStyleSheet();
      sheet.replaceSync("rowlink-export::part(button) { border-radius: 9px; }");
      document.adoptedStyleSheets = [sheet];
      const { backgroundColor: themed, borderRadius } = style("[part=button]");
      element.style.removeProperty("--rowlink-accent");
      return { backgroundColor, transitionDuration, indeterminate: display, themed, borderRadius };
    });
    // A link that does not come.
    await page.evaluate(() => {
      document.querySelector("rowlink-export").requestLink = () => new Promise(() => {});
    });
    await page.getByRole("button", { name: "Export", exact: true }).click();
    await shown(page, "issuing");
    await look("busy");
    await page.getByRole("button", { name: "Cancel" }).click();
    await shown(page, "idle");
    looks.push({ states, ...shownStyle });
  }
  return looks;
}

/** Opens an example; returns its page, and a function that exports and returns the file and what could not be expressed. */
async function openExample(browser, task, example) {
  const opened = await open(browser, task, { path: "/", example });
  const { page } = opened;
  const button = page.getByRole("button", { name: "Export", exact: true });
  await button.waitFor();
  const exported = async () => {
    const file = await downloaded(page, () => button.click());
    const { request, unsupported } = await page.evaluate(() => details["rowlink-link"]);
    const { differs } = await shown(page, "started");
    return { file, request, unsupported, differs };
  };
  return { ...opened, exported };
}

// Filters, sorts and hides columns in each grid, and exports what it shows.
export async function ag_grid(browser, task) {
  const { page, errors, exported } = await openExample(browser, task, "ag-grid");
  const all = await exported();
  await page.getByLabel("Created Filter Input").fill("2026-01-06");
  await page.getByRole("textbox", { name: "Status Filter Input" }).fill("paid");
  await page.getByText("express").waitFor();
  for (const note of ["plain", "gift"]) await page.getByText(note).waitFor({ state: "detached" });
  await page.getByLabel("Note").uncheck();
  await page.getByRole("columnheader", { name: "Created" }).getByText("Created").click();
  await page.locator(".ag-header-cell[aria-sort=ascending]").waitFor();
  const filtered = await exported();
  await page.getByRole("columnheader", { name: "Amount" }).getByText("Amount").click();
  await page.locator(".ag-header-cell[col-id=amount][aria-sort=ascending]").waitFor();
  await page.getByRole("spinbutton", { name: "Amount Filter Input" }).fill("5");
  await page.getByRole("gridcell", { name: "99", exact: true }).waitFor({ state: "detached" });
  const sorted = await exported();
  return { all, filtered, sorted, errors };
}

export async function tanstack_table(browser, task) {
  const { page, errors, exported } = await openExample(browser, task, "tanstack-table");
  const all = await exported();
  await page.getByLabel("From").fill("2026-01-06");
  await page.getByLabel("Status").selectOption("Not paid");
  await page.getByLabel("Show the note").uncheck();
  const filtered = await exported();
  await page.getByRole("button", { name: "Amount" }).click();
  await page.getByLabel("Note contains").fill("gift");
  const sorted = await exported();
  return { all, filtered, sorted, errors };
}

export async function mui_data_grid(browser, task) {
  const { page, errors, exported } = await openExample(browser, task, "mui-data-grid");
  const all = await exported();
  await filterByMenu(page, "Status", async () => {
    await page.getByRole("combobox", { name: "Value" }).click();
    await page.getByRole("option", { name: "paid", exact: true }).click();
  });
  await page.getByText("gift").waitFor({ state: "detached" });
  await page.getByLabel("Show the note").uncheck();
  await page.getByRole("columnheader", { name: "Created" }).click();
  await page.locator("[data-field=created_at][aria-sort=ascending]").waitFor();
  const filtered = await exported();
  await page.getByRole("columnheader", { name: "Amount" }).click();
  await page.locator("[data-field=amount][aria-sort]:not([aria-sort=none])").waitFor();
  const sorted = await exported();
  return { all, filtered, sorted, errors };
}

/** Opens the filter of a column by its menu. */
async function filterByMenu(page, column, fill) {
  const header = page.getByRole("columnheader", { name: column });
  await header.hover();
  await header.getByRole("button", { name: /menu/i }).click();
  await page.getByRole("menuitem", { name: "Filter" }).click();
  await fill();
  await page.keyboard.press("Escape");
}

// Exports on the pages of frameworks that use the element; returns the file, and the code of a refusal.
export async function framework(browser, { example, ...task }) {
  const { page, errors, exported } = await openExample(browser, task, example);
  await page.getByLabel("From").fill("2026-01-06");
  await page.getByLabel("paid").check();
  const { file, request } = await exported();
  const done = await page.locator("#message").innerText();
  await page.getByLabel("From").fill("");
  await page.getByRole("button", { name: "Export", exact: true }).click();
  await page.getByText("Code: ").waitFor();
  return { file, request, done, refused: await page.locator("#message").innerText(), errors };
}

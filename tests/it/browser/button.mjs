// Tasks about pages of another origin: the React example and the client package.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { serve } from "./serve.mjs";

async function open(browser, { port, baseUrl, token }) {
  const origin = await serve(port, { baseUrl, token });
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(origin);
  return { page, errors, origin };
}

const hash = (content) => createHash("sha256").update(content).digest("hex");

/** Runs code in the page with the client package and a connection to Rowlink. */
async function withClient(page, task, code) {
  return page.evaluate(`(async () => {
    const client = await import("/client/index.js");
    const save = await import("/client/save.js");
    const rowlink = client.createRowlink(${JSON.stringify({ baseUrl: task.baseUrl, token: task.token })});
    const folder = await navigator.storage.getDirectory();
    const failure = (promise) => promise.then(() => "none", (error) => {
      const kind = Object.keys(client).find((name) => error.constructor === client[name]) ?? error.name;
      return [kind, error.code ?? null, error.status ?? null];
    });
    return (${code})({ client, save, rowlink, folder, failure });
  })()`);
}

// Clicks the buttons of the example: a browser download, an invalid request, and a download with a progress bar.
export async function react(browser, task) {
  const { page, errors, origin } = await open(browser, task);
  const exportButton = page.getByRole("button", { name: "Export" });
  const [download] = await Promise.all([page.waitForEvent("download"), exportButton.click()]);
  const content = await readFile(await download.path());
  const status = await page.getByRole("status").first().innerText();
  await page.getByLabel("From").fill("");
  await exportButton.click();
  const refusal = await page.getByRole("alert").innerText();
  // A headless browser has no save dialog.
  await page.evaluate(() => {
    window.showSaveFilePicker = async ({ suggestedName }) =>
      (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });
  });
  await page.getByLabel("From").fill("2026-01-01");
  await page.getByRole("button", { name: "Save with progress bar" }).click();
  await page.getByText("Saved.").waitFor();
  const saved = await page.evaluate(async () => {
    const handle = await (await navigator.storage.getDirectory()).getFileHandle("orders.csv");
    return (await handle.getFile()).text();
  });
  return {
    name: download.suggestedFilename(),
    sha256: hash(content),
    saved: hash(saved),
    status,
    refusal,
    bar: await page.locator("section label").innerText(),
    hasStayed: page.url() === `${origin}/`,
    errors,
  };
}

// Calls the functions of the package; returns their results and errors.
export async function client_package(browser, task) {
  const { page } = await open(browser, task);
  const seen = await withClient(page, task, async ({ client, save, rowlink, folder, failure }) => {
    const numbers = (filters, more) => ({ export: "numbers", format: "csv", filters, ...more });
    const handle = (name) => folder.getFileHandle(name, { create: true });
    const content = async (name) => (await (await handle(name)).getFile()).text();
    const seen = {};
    const progress = [];
    const onProgress = (it) => progress.push(it);
    seen.done = await save.saveAs(rowlink, numbers({ n: 50000 }, { length: "exact" }), { file: await handle("a"), onProgress });
    seen.size = (await content("a")).length;
    seen.steps = progress.length > 1 && progress.every((it, at) => at === 0 || it.rows >= progress[at - 1].rows);
    const workbook = { export: "numbers", format: "xlsx", filters: { n: 3 } };
    seen.workbook = await save.saveAs(rowlink, workbook, { file: await handle("b") });
    seen.preview = await save.preview(rowlink, { export: "echo", filters: { text: 'a, "b"\r\nc' } }, { rows: 5 });
    seen.more = await save.preview(rowlink, { export: "numbers", filters: { n: 1000000 } }, { rows: 2 });

    const stream = await (await handle("kept")).createWritable();
    await stream.write("what was there before");
    await stream.close();
    const broken = numbers({ n: 300000, fail_at: 250000 });
    seen.broken = await failure(save.saveAs(rowlink, broken, { file: await handle("kept") }));
    seen.kept = await content("kept");
    globalThis.showSaveFilePicker = async ({ suggestedName }) => {
      seen.suggested = suggestedName;
      return handle(suggestedName);
    };
    seen.picked = await failure(save.saveAs(rowlink, { ...broken, filename: "picked.csv" }));
    seen.removed = await failure(folder.getFileHandle("picked.csv"));
    globalThis.reportError = (error) => { seen.reported = error.message; };
    const throwing = { file: await handle("throwing"), onProgress: () => { throw new Error("an error of the page"); } };
    seen.throwing = (await save.saveAs(rowlink, numbers({ n: 5 }, { end_line: true }), throwing)).rows;
    seen.confirmed = (await save.saveAs(rowlink, numbers({ n: 5 }, { confirm: true }), { file: await handle("confirmed") })).rows;
    seen.exports = (await rowlink.exports()).map(({ name, columns }) => `${name}: ${columns.length}`);
    seen.invalid = await failure(rowlink.links.create(numbers({})));
    seen.nowhere = await failure(client.createRowlink({ baseUrl: "http://127.0.0.1:9" }).links.create(numbers({ n: 1 })));
    seen.aborted = await failure(rowlink.links.create(numbers({ n: 1 }), { signal: AbortSignal.abort() }));
    const leaving = new AbortController();
    const left = save.saveAs(rowlink, numbers({ n: 9000000 }), {
      file: await handle("left"), signal: leaving.signal, onProgress: () => leaving.abort(),
    });
    seen.left = [await failure(left), await content("left")];

    const link = await rowlink.links.create(numbers({ n: 1 }, { expires_in: 1, estimate: true }));
    seen.estimate = [link.estimated_rows, link.estimated_bytes, link.estimated_by];
    while ((await fetch(link.url, { method: "HEAD" })).status !== 410);
    const opened = await rowlink.open(link);
    seen.renewed = [opened.answer.status, opened.link.link_id !== link.link_id];
    const foreign = { ...link };
    seen.foreign = await failure(rowlink.open(foreign));
    return seen;
  });
  seen.unknown = await withClient(page, { ...task, token: "nobody" }, ({ rowlink, failure }) =>
    failure(rowlink.links.create({ export: "numbers", format: "csv" })));
  seen.unlisted = await (async () => {
    // The same page from an origin that CORS does not allow.
    await page.goto(page.url().replace("127.0.0.1", "localhost"));
    return withClient(page, task, ({ rowlink, failure }) =>
      failure(rowlink.links.create({ export: "numbers", format: "csv", filters: { n: 1 } })));
  })().catch((error) => error.message);
  return seen;
}

// Downloads after the link has expired: the package must request a new one.
export async function late_click(browser, task) {
  const { page } = await open(browser, task);
  const download = page.waitForEvent("download");
  const ids = await withClient(page, task, async ({ rowlink }) => {
    const link = await rowlink.links.create({ export: "numbers", format: "csv", filters: { n: 3 } });
    const now = Date.now() + 59_000;
    Date.now = () => now;
    const used = await rowlink.download(link);
    return [link.link_id, used.link_id];
  });
  return { renewed: ids[0] !== ids[1], failure: await (await download).failure() };
}

// Measures the heap of a page that downloads 200 MB.
export async function heap(browser, task) {
  const { page } = await open(browser, task);
  const cdp = await page.context().newCDPSession(page);
  const used = async () => {
    await cdp.send("HeapProfiler.collectGarbage");
    // Objects, and the bytes of buffers outside the heap.
    const { usedSize, backingStorageSize } = await cdp.send("Runtime.getHeapUsage");
    return usedSize + backingStorageSize;
  };
  const request = { export: "bulk", format: "csv" };
  const before = await used();
  const started = page.waitForEvent("download");
  await withClient(page, { ...task, request }, `({ rowlink }) => rowlink.download(${JSON.stringify(request)})`);
  const download = await started;
  const failure = await download.failure();
  const content = await readFile(await download.path());
  const after = await used();
  // The same through the page; measured when half is saved.
  await page.exposeFunction("halfway", async () => { task.halfway ??= await used(); });
  const saved = await withClient(page, task, `async ({ save, rowlink, folder }) => {
    const file = await folder.getFileHandle("bulk.csv", { create: true });
    let asked;
    const onProgress = ({ bytes }) => {
      if (bytes > 1e8) asked ??= halfway();
    };
    const done = await save.saveAs(rowlink, ${JSON.stringify(request)}, { file, onProgress });
    await asked;
    return { ...done, size: (await file.getFile()).size };
  }`);
  // Proves that the measurement detects 50 MB.
  await page.evaluate(() => { globalThis.held = new Uint8Array(5e7).fill(1); });
  const seen = (await used()) - before;
  await page.evaluate(() => { delete globalThis.held; });
  return {
    seen,
    failure,
    bytes: content.length,
    sha256: hash(content),
    saved,
    byBrowser: after - before,
    byPage: task.halfway - before,
    afterPage: (await used()) - before,
  };
}

// Saves a file through a proxy that breaks connections; returns it and the states that a page could show.
export async function continued(browser, task) {
  const { page, errors } = await open(browser, task);
  const seen = await withClient(page, { ...task, request: undefined }, `async ({ save, rowlink, folder, failure }) => {
    const through = async (request) => {
      const link = await rowlink.links.create(request);
      return { ...link, url: link.url.replace(${JSON.stringify(task.baseUrl)}, ${JSON.stringify(task.proxy)}) };
    };
    const words = { export: "words", format: "csv" };
    const states = [];
    const onProgress = ({ bytes, rows, retries }) => states.push([bytes, rows, retries]);
    const file = await folder.getFileHandle("words.csv", { create: true });
    const length = ${JSON.stringify(task.length)};
    const done = await save.saveAs(rowlink, await through({ ...words, length }), { file, onProgress });
    const text = await (await file.getFile()).text();
    const live = length && await failure(save.saveAs(rowlink, await through(words), { file, retries: 1 }));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return { done, states, live, sha256: [...new Uint8Array(digest)].map((it) => it.toString(16).padStart(2, "0")).join("") };
  }`);
  return { ...seen, errors };
}

// Lets the server prepare a file, downloads it from the store, fetches it there, and cancels another one.
export async function prepared(browser, task) {
  const { page, errors } = await open(browser, task);
  const responses = [];
  page.on("response", async (response) => {
    responses.push({ url: response.url(), status: response.status(), length: response.headers()["content-length"] ?? null });
  });
  const ready = page.waitForEvent("download");
  const seen = await withClient(page, task, `async ({ client, rowlink }) => {
    const { prepare } = await import("/client/prepare.js");
    const request = { export: "it", format: "csv", filename: "Bestellungen März", expires_in: 600 };
    const states = [];
    const onProgress = ({ state, rows }) => states.push([state, rows]);
    const link = await prepare(rowlink, request, { onProgress });
    await rowlink.download(link);
    const answer = await fetch(link.url);
    const fetched = { redirected: answer.redirected, length: Number(answer.headers.get("content-length")), bytes: (await answer.text()).length };
    const failed = await prepare(rowlink, { export: "failing", format: "csv" }).catch((error) => [error.constructor === client.RowlinkError, error.code]);
    const abort = new AbortController();
    const endless = { export: "it", format: "csv", filters: { below: 1000000000 } };
    const aborted = await prepare(rowlink, endless, { signal: abort.signal, onProgress: () => setTimeout(() => abort.abort(), 100) })
      .catch((error) => error.name);
    return { states, fetched, failed, aborted };
  }`);
  const download = await ready;
  const content = await readFile(await download.path());
  const ends = responses.filter(({ status, url }) => status === 200 && url.includes("rowlink-link="));
  return { ...seen, errors, name: download.suggestedFilename(), sha256: hash(content), bytes: content.length, ends };
}

// Saves a file whose link is bound to the browser, and opens a link that this client has not bound.
export async function bound_in_page(browser, task) {
  const { page } = await open(browser, task);
  return withClient(page, task, async ({ save, rowlink, folder, failure }) => {
    const request = { export: "numbers", format: "csv", filters: { n: 5 }, bind: "cookie" };
    const file = await folder.getFileHandle("bound", { create: true });
    const saved = await save.saveAs(rowlink, request, { file });
    const link = await rowlink.links.create(request);
    // Without the cookie.
    const foreign = await failure(rowlink.open({ ...link }));
    return { rows: saved.rows, foreign };
  });
}

// Kills the server during a download.
export async function killed(browser, { url, pid }) {
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  await page.setContent(`<a id="link">Export</a>`);
  await page.evaluate((href) => { document.getElementById("link").href = href; }, url);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#link")]);
  process.kill(pid, "SIGKILL");
  const failure = await download.failure();
  const path = await download.path().catch(() => null);
  return { failure, path };
}

// Runs axe on these pages.
export async function accessibility(browser, { urls, site }, require) {
  const example = await serve(site.port, site);
  const found = [];
  for (const { url, colorScheme, press } of urls) {
    const context = await browser.newContext({ colorScheme, bypassCSP: true });
    const page = await context.newPage();
    await page.goto(url ?? example);
    for (const name of press ?? []) await page.getByRole("button", { name }).click();
    if (press) await page.locator("#link").waitFor();
    found.push({ url, ...await violations(page, require) });
    await context.close();
  }
  return found;
}

/** Runs axe on a page as it is now. */
export async function violations(page, require) {
  await page.addScriptTag({ content: await readFile(require.resolve("axe-core/axe.min.js"), "utf8") });
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  return {
    rules: passes.length,
    serious: serious.map(({ id, nodes }) => `${id}: ${nodes.map((it) => it.html).join(" ")}`),
    others: violations.length - serious.length,
  };
}

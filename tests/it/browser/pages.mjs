// Tasks about saved files, error pages and the demo page.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

// Clicks each link; returns name, hash and failure of each saved file.
export async function downloads(browser, urls) {
  const context = await browser.newContext({ acceptDownloads: true });
  const files = [];
  for (const url of urls) {
    const page = await context.newPage();
    await page.setContent(`<a id="link">Export</a>`);
    await page.evaluate((href) => { document.getElementById("link").href = href; }, url);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#link")]);
    files.push(await saved(download));
    await page.close();
  }
  return files;
}

// Opens an error page, by a link on the page `from` if there is one; returns what it shows, its requests and its console
// messages.
export async function page(browser, { url, width, colorScheme, from }) {
  const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme });
  const page = await context.newPage();
  const requests = [];
  const messages = [];
  page.on("request", (request) => requests.push(new URL(request.url()).pathname));
  page.on("console", (message) => messages.push(message.text()));
  const answer = from ? await follow(page, from, url) : await page.goto(url);
  const shown = await page.evaluate(() => ({
    heading: document.querySelector("h1").innerText,
    text: document.querySelector("main").innerText,
    overflows: document.documentElement.scrollWidth > innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    color: getComputedStyle(document.body).color,
    scripts: document.scripts.length,
    back: document.querySelector("a.button")?.href ?? null,
  }));
  return { status: answer.status(), requests, console: messages, ...shown };
}

// Opens the page of a link that needs confirmation and presses its button; returns what the page shows, its console
// messages and the saved file.
export async function confirmed(browser, { url, width, colorScheme }) {
  const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme, acceptDownloads: true });
  const page = await context.newPage();
  const messages = [];
  page.on("console", (message) => messages.push(message.text()));
  const answer = await page.goto(url);
  const shown = await page.evaluate(() => ({
    text: document.querySelector("main").innerText,
    overflows: document.documentElement.scrollWidth > innerWidth,
    scripts: document.scripts.length,
  }));
  const file = await pressed(page);
  return { status: answer.status(), ...shown, console: messages, ...file };
}

// Presses the button of a page; returns the saved file.
async function pressed(page) {
  const button = page.getByRole("button", { name: "Download" });
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return saved(download);
}

// Requests links by a script of their origin, each of which is bound to the browser; opens them there and in another
// browser. Those that need confirmation come last. Returns the saved files and the other browser's pages.
export async function bound(browser, { origin, token, requests }) {
  const context = await browser.newContext({ acceptDownloads: true });
  const other = await browser.newContext();
  const page = await context.newPage();
  const files = [];
  const refused = [];
  for (const request of requests) {
    await page.goto(`${origin}/healthz`);
    const url = await page.evaluate(async ({ token, request }) => {
      const headers = { authorization: `Bearer ${token}` };
      const answer = await fetch("/v1/links", { method: "POST", headers, body: JSON.stringify(request) });
      return (await answer.json()).url;
    }, { token, request });
    const elsewhere = await other.newPage();
    const answer = await elsewhere.goto(url);
    refused.push({ status: answer.status(), text: await elsewhere.locator("main").innerText() });
    if (request.confirm) {
      await page.goto(url);
      files.push(await pressed(page));
    } else {
      // As a link in a mail, on a page of another site.
      await page.goto("about:blank");
      await page.setContent(`<a id="link">Export</a>`);
      await page.evaluate((href) => { document.getElementById("link").href = href; }, url);
      const [download] = await Promise.all([page.waitForEvent("download"), page.click("#link")]);
      files.push(await saved(download));
    }
  }
  const cookies = await context.cookies();
  const scripts = await page.evaluate(() => document.cookie);
  return { files, refused, cookies: cookies.map(({ name }) => name), scripts };
}

// Clicks a link on a page; returns the response.
async function follow(page, from, url) {
  await page.goto(from);
  const [response] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate((href) => {
      const link = document.createElement("a");
      link.href = href;
      document.body.append(link);
      link.click();
    }, url),
  ]);
  return response;
}

// Opens a link whose download is refused for a while, and waits until its page downloads the file by itself; returns the
// file and what the page showed, with the first numbers of its countdown.
export async function reloading(browser, { url, reducedMotion }) {
  const context = await browser.newContext({ acceptDownloads: true, reducedMotion });
  const page = await context.newPage();
  const messages = [];
  let requests = 0;
  page.on("console", (message) => messages.push(message.text()));
  page.on("request", () => requests++);
  const downloading = page.waitForEvent("download", { timeout: 90_000 });
  const answer = await page.goto(url);
  const timer = await page.getByRole("timer").innerText();
  const left = () => getComputedStyle(document.querySelector(".wait"), "::after").getPropertyValue("--left");
  const numbers = [];
  while (numbers.length < 3 && requests === 1) {
    // A page that is reloaded meanwhile does not answer.
    const number = await page.evaluate(left).then(Number, () => null);
    if (number !== null && number !== numbers.at(-1)) numbers.push(number);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const download = await downloading;
  return { status: answer.status(), timer, numbers, requests, console: messages, ...await saved(download) };
}

// Opens a refused link with a cookie, and presses the button of its page; returns the saved file.
export async function renewed(browser, { url, cookie }) {
  const context = await browser.newContext({ acceptDownloads: true });
  await context.addCookies([{ ...cookie, url: new URL(url).origin, sameSite: "Strict" }]);
  const page = await context.newPage();
  const answer = await page.goto(url);
  const button = page.getByRole("link", { name: "Try again" });
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return { status: answer.status(), ...await saved(download) };
}

async function saved(download) {
  const content = await readFile(await download.path());
  const sha256 = createHash("sha256").update(content).digest("hex");
  return { name: download.suggestedFilename(), sha256, failure: await download.failure() };
}

// Exports a prepared file on the demo page; returns the file, its size on the page's link, and what the page says.
export async function demo_prepared(browser, origin) {
  const page = await (await browser.newContext({ acceptDownloads: true })).newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  const states = [];
  page.on("response", async (response) => {
    if (response.url().endsWith("/v1/links/status")) states.push((await response.json()).state);
  });
  await page.goto(origin);
  await counted(page);
  await page.getByText("More options").click();
  await page.getByLabel("Prepare the file").check();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
  const file = await saved(download);
  const said = await page.locator("#started").innerText();
  const head = await page.request.head(download.url());
  return { file, said, errors, length: head.headers()["content-length"], states };
}

// Opens the demo page by the button of an error page; returns the state of its form, also after Reload.
export async function prefilled(browser, url) {
  const page = await (await browser.newContext()).newPage();
  const form = () => page.evaluate(() => ({
    query: location.search,
    from: document.getElementById("filter-from").value,
    checked: [...document.querySelectorAll("input:checked")].map((control) => control.value),
  }));
  await page.goto(url);
  await counted(page);
  const opened = await form();
  await page.reload();
  await counted(page);
  return { opened, reloaded: await form() };
}

// Exports on the demo page as bob; returns the saved file and what the page shows.
export async function demo(browser, origin) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, acceptDownloads: true });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // A catalog that loads late must not clear the fields filled in meanwhile.
  await page.route("**/v1/exports", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    await route.continue();
  });
  await page.goto(origin);
  await page.getByText("bob", { exact: true }).click();
  await page.getByLabel("from", { exact: true }).fill("2026-06-01");
  await page.getByLabel("paid", { exact: true }).check();
  await page.getByText("More options").click();
  await page.getByLabel("File name").fill("Bestellungen März");
  await page.getByLabel("Percentage").check();
  const estimate = await counted(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
  const content = await readFile(await download.path(), "utf8");
  await page.getByRole("button", { name: "Tamper with it" }).click();
  const refusal = await page.locator(".refused").innerText();
  const parts = await page.locator("#parts").innerText();
  await page.getByLabel("from", { exact: true }).fill("");
  await page.getByRole("button", { name: "Export" }).click();
  await page.locator(".error li").waitFor();
  return {
    name: download.suggestedFilename(),
    rows: content.split("\r\n").length,
    estimate,
    refusal,
    parts,
    error: await page.locator(".error").innerText(),
    invalid: await page.locator("[aria-invalid]").getAttribute("id"),
    overflows: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
    errors,
  };
}

// Exports on the demo page of a desktop and of a phone; returns where its parts are before and after, and what Back keeps.
export async function layout(browser, origin) {
  const seen = {};
  for (const [name, width, height] of [["desktop", 1280, 757], ["phone", 390, 844]]) {
    const context = await browser.newContext({ viewport: { width, height }, acceptDownloads: true });
    const page = await context.newPage();
    await page.goto(origin);
    const estimate = await counted(page);
    const box = async (selector) => page.locator(selector).boundingBox();
    const before = { form: await box("form"), button: await box(".primary") };
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".primary").click()]);
    await page.locator("#started:not(:empty)").waitFor();
    await page.waitForFunction(() => document.getElementById("link-heading").getBoundingClientRect().top < innerHeight - 100);
    const after = { form: await box("form"), heading: await box("#link-heading") };
    seen[name] = { before, after, estimate, endsSoon: await page.locator(".ends-soon").count() };
    if (name === "phone") continue;
    await page.getByText("bob", { exact: true }).click();
    await page.getByLabel("from", { exact: true }).fill("2026-06-01");
    await page.getByLabel("paid", { exact: true }).check();
    await page.getByText("XLSX").click();
    await page.goto(download.url().replace("rl_user=alice", "rl_user=bob"));
    seen.back = await page.locator("a.button").getAttribute("href");
    await page.goBack();
    seen.estimate = await counted(page);
    seen.kept = await page.evaluate(() => [
      document.getElementById("filter-from").value,
      ...[...document.querySelectorAll("input:checked")].map((control) => control.value),
    ]);
  }
  return seen;
}

// Exports on the demo page in a browser of this locale; returns the saved file and what the page shows, with the texts of
// its button.
export async function demo_in(browser, { origin, locale }) {
  const context = await browser.newContext({ locale, viewport: { width: 390, height: 844 }, acceptDownloads: true });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(origin);
  const estimate = await counted(page);
  await page.evaluate(() => {
    const button = document.querySelector(".primary");
    globalThis.buttons = [button.textContent];
    new MutationObserver(() => globalThis.buttons.push(button.textContent)).observe(button, { childList: true });
  });
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".primary").click()]);
  const shown = await page.evaluate(() => ({
    language: document.documentElement.lang,
    title: document.title,
    buttons: globalThis.buttons,
    started: document.getElementById("started").innerText,
    overflows: document.documentElement.scrollWidth > innerWidth,
  }));
  return { name: download.suggestedFilename(), estimate, errors, ...shown };
}

// Waits for the number of rows of the demo page, and returns its text.
async function counted(page) {
  const estimate = page.locator("#estimate", { hasText: /\d (rows|Zeilen)/ });
  await estimate.waitFor();
  return estimate.innerText();
}

// Takes the screenshots for the README.
export async function screenshots(browser, { origin, folder }) {
  const shots = [
    { name: "demo", width: 1280, height: 757, colorScheme: "light" },
    { name: "demo-dark", width: 1280, height: 757, colorScheme: "dark" },
    { name: "demo-phone", width: 390, height: 844, colorScheme: "light" },
    { name: "refused", width: 700, height: 380, colorScheme: "light", refused: true },
  ];
  for (const { name, width, height, colorScheme, refused } of shots) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true });
    const page = await context.newPage();
    await page.goto(origin);
    await counted(page);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    if (refused) {
      await page.goto(download.url().replace("rl_user=alice", "rl_user=bob"));
    } else {
      await page.getByRole("button", { name: "Tamper with it" }).click();
      await page.locator(".refused").waitFor();
    }
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: name === "demo-phone" });
    await context.close();
  }
  return shots.length;
}

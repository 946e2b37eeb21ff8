// Tasks about the documentation site, opened from disk.
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

// Opens each page of the site; returns their number, requests to hosts, links that lead nowhere, and what pages report.
export async function site(browser, { folder }) {
  const page = await (await browser.newContext()).newPage();
  const requests = [];
  const reports = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("requestfailed", (request) => reports.push(`${request.url()}: ${request.failure().errorText}`));
  page.on("console", (message) => reports.push(message.text()));
  page.on("pageerror", (error) => reports.push(error.message));
  const pages = new Map();
  for (const file of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".html"))) {
    const path = join(folder, file);
    await page.goto(pathToFileURL(path).href, { waitUntil: "networkidle" });
    pages.set(path, await page.evaluate(contents));
  }
  return {
    pages: pages.size,
    foreign: requests.filter((url) => !["file:", "data:", "blob:"].includes(new URL(url).protocol)),
    broken: [...pages].flatMap(([path, { links }]) =>
      links.filter((link) => !leadsSomewhere(link, pages)).map((link) => `${path}: ${link}`)),
    reports,
  };
}

// Runs in a page: returns the ids and the links to files. Swagger UI's own links are names of operations.
function contents() {
  const elements = [...document.querySelectorAll("a[href], link[href], [src]")];
  return {
    ids: [...document.querySelectorAll("[id]")].map((element) => element.id),
    links: elements
      .filter((element) => !element.closest("#reference"))
      .map((element) => element.href ?? element.src)
      .filter((link) => link.startsWith("file:")),
  };
}

function leadsSomewhere(link, pages) {
  const url = new URL(link);
  const anchor = decodeURIComponent(url.hash.slice(1));
  url.hash = "";
  const path = fileURLToPath(url);
  if (!existsSync(path)) return false;
  const file = statSync(path).isDirectory() ? join(path, "index.html") : path;
  return anchor ? pages.get(file)?.ids.includes(anchor) ?? false : existsSync(file);
}

// Opens every operation of the contract; returns their number, and the errors that the page shows.
export async function reference(browser, { folder }) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(pathToFileURL(join(folder, "reference.html")).href);
  const operations = page.locator(".opblock-summary-control");
  await operations.first().waitFor();
  for (const operation of await operations.all()) await operation.click();
  // An example that is made from a referenced schema.
  await page.locator("#operations-links-issueLink .response .example", { hasText: "link_id" }).waitFor();
  return { operations: await operations.count(), errors: await page.locator(".errors-wrapper").allInnerTexts() };
}

// Searches the site from its first page; returns the titles that the search finds.
export async function search(browser, { folder, text }) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(pathToFileURL(join(folder, "index.html")).href);
  await page.keyboard.press("s");
  await page.locator("#mdbook-searchbar").pressSequentially(text);
  const titles = page.locator("#mdbook-searchresults a");
  await titles.first().waitFor();
  return titles.allInnerTexts();
}

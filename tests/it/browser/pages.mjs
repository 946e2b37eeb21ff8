// Tasks about saved files, error pages and the demo page.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

// Clicks each link; returns name, hash and failure of each saved file.
export async function downloads(browser, urls) {
  const context = await browser.newContext({ acceptDownloads: true });
  const saved = [];
  for (const url of urls) {
    const page = await context.newPage();
    await page.setContent(`<a id="link">Export</a>`);
    await page.evaluate((href) => { document.getElementById("link").href = href; }, url);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#link")]);
    const content = await readFile(await download.path());
    saved.push({
      name: download.suggestedFilename(),
      sha256: createHash("sha256").update(content).digest("hex"),
      failure: await download.failure(),
    });
    await page.close();
  }
  return saved;
}

// Opens an error page; returns what it shows, its requests and its console messages.
export async function page(browser, { url, width, colorScheme }) {
  const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme });
  const page = await context.newPage();
  const requests = [];
  const messages = [];
  page.on("request", (request) => requests.push(new URL(request.url()).pathname));
  page.on("console", (message) => messages.push(message.text()));
  const answer = await page.goto(url);
  const shown = await page.evaluate(() => ({
    heading: document.querySelector("h1").innerText,
    text: document.querySelector("main").innerText,
    overflows: document.documentElement.scrollWidth > innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    color: getComputedStyle(document.body).color,
    scripts: document.scripts.length,
  }));
  return { status: answer.status(), requests, console: messages, ...shown };
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
  await page.getByLabel("File name").fill("Bestellungen März");
  await page.getByLabel("Percentage").check();
  await page.locator("#estimate:not(:empty)").waitFor();
  const estimate = await page.locator("#estimate").innerText();
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

// Takes the screenshots for the README.
export async function screenshots(browser, { origin, folder }) {
  const shots = [
    { name: "demo", width: 1200, height: 980, colorScheme: "light" },
    { name: "demo-dark", width: 1200, height: 980, colorScheme: "dark" },
    { name: "demo-phone", width: 390, height: 844, colorScheme: "light" },
    { name: "refused", width: 700, height: 380, colorScheme: "light", refused: true },
  ];
  for (const { name, width, height, colorScheme, refused } of shots) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true });
    const page = await context.newPage();
    await page.goto(origin);
    await page.locator("#estimate:not(:empty)").waitFor();
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

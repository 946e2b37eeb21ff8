// What a person sees: saved files, error pages, the demo's page.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

// Opens each link as a click does; what does Chromium save, and under which name?
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

// Opens a page that is an error; what does a person see, and what does the page ask for?
export async function page(browser, { url, width, colorScheme }) {
  const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme });
  const page = await context.newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  page.on("console", (message) => complaints.push(message.text()));
  const answer = await page.goto(url);
  const seen = await page.evaluate(() => ({
    heading: document.querySelector("h1").innerText,
    text: document.querySelector("main").innerText,
    overflows: document.documentElement.scrollWidth > innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
    color: getComputedStyle(document.body).color,
    scripts: document.scripts.length,
  }));
  return { status: answer.status(), asked, complaints, ...seen };
}

// Presses Export on the demo's page as bob; what is saved, and what does the page say?
export async function demo(browser, origin) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, acceptDownloads: true });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // A catalog that is late must not wipe out what was filled in meanwhile.
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
    fault: await page.locator(".error").innerText(),
    invalid: await page.locator("[aria-invalid]").getAttribute("id"),
    overflows: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
    errors,
  };
}

// Takes the pictures of the README.
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

// Exports with `<rowlink-export>` in Firefox: by Enter in a field, by keyboard, and after a refusal. Arguments: the task as JSON, the
// folder of the driver, and the folder of downloads. Prints what the element shows, its events and the names of the files, as JSON.
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { formPage, keepEvents } from "./component.mjs";
import { serve } from "./serve.mjs";

const [taskText, modules, folder] = process.argv.slice(2);
const { port, baseUrl, token } = JSON.parse(taskText);
const puppeteer = createRequire(`${modules}/`)("puppeteer-core");

// Without these, Firefox asks where to save files, and contacts its vendor.
const extraPrefsFirefox = {
  "browser.download.folderList": 2,
  "browser.download.dir": folder,
  "browser.download.always_ask_before_handling_new_types": false,
  // The list of downloads would take the focus.
  "browser.download.alwaysOpenPanel": false,
  "browser.safebrowsing.downloads.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
  "app.normandy.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "http://127.0.0.1:1/",
};
const browser = await puppeteer.launch({ browser: "firefox", executablePath: "/usr/bin/firefox-esr", extraPrefsFirefox });
try {
  console.log(JSON.stringify(await exported(await browser.newPage())));
} finally {
  await browser.close();
}
// Connections kept open by the browser would keep the page server running.
process.exit(0);

async function exported(page) {
  const origin = await serve(port, { baseUrl, token }, { pages: { "/form": formPage(baseUrl, "de-AT") } });
  await page.evaluateOnNewDocument(keepEvents);
  await page.goto(`${origin}/form`);
  await page.waitForSelector("rowlink-export >>> button");
  await page.evaluate(() => {
    document.querySelector("[name=from]").value = "2026-01-06";
  });
  await page.focus("[name=limit]");
  await page.keyboard.press("Enter");
  const byEnter = await shown(page, "started");
  await saved(1);
  // The choice of the format, and the button.
  await page.focus("[name=limit]");
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const names = await saved(2);
  await page.type("[name=limit]", "1000");
  await page.click("rowlink-export >>> [part=button]");
  const failed = await shown(page, "failed");
  const events = await page.evaluate(() => globalThis.events.join(" "));
  const color = await page.$eval("rowlink-export >>> [part=button]", (button) => getComputedStyle(button).backgroundColor);
  return { byEnter, names, failed, events, color, hasStayed: page.url() === `${origin}/form` };
}

async function shown(page, status) {
  const element = await page.waitForSelector(`rowlink-export[status=${status}]`);
  return element.evaluate(({ shadowRoot }) => {
    const texts = [...shadowRoot.querySelectorAll("slot[name=label], #status, .error")].map((it) => it.textContent);
    return texts.filter(Boolean);
  });
}

/** Waits until so many files are complete; returns their names. */
async function saved(count) {
  const end = Date.now() + 30_000;
  for (;;) {
    const names = (await readdir(folder)).sort();
    if (names.length === count && names.every((name) => !name.endsWith(".part"))) return names;
    if (Date.now() > end) throw new Error(`${count} files expected: ${names}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

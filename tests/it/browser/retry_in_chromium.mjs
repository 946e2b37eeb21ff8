// Downloads a URL in Chromium, and presses Resume or Retry in its list of downloads as often as it fails. Arguments: the
// URL, the folder of downloads, the most presses, and the folder of the driver. Prints the presses and the error, or null,
// as JSON.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SECONDS_MAX = 120;
// Chromium tries some failed downloads again by itself.
const SETTLED_SECONDS = 1;

const [url, folder, pressesMax, modules] = process.argv.slice(2);
const puppeteer = createRequire(`${modules}/`)("puppeteer-core");
const home = mkdtempSync(join(tmpdir(), "chromium-"));
// The list of downloads is read through an extension.
const extension = join(home, "extension");
mkdirSync(extension);
const manifest = { manifest_version: 3, name: "downloads", version: "1", permissions: ["downloads"], background: { service_worker: "worker.js" } };
writeFileSync(join(extension, "manifest.json"), JSON.stringify(manifest));
writeFileSync(join(extension, "worker.js"), "chrome.downloads.onChanged.addListener(() => {});");
mkdirSync(join(home, "profile/Default"), { recursive: true });
const preferences = { download: { default_directory: folder, prompt_for_download: false } };
writeFileSync(join(home, "profile/Default/Preferences"), JSON.stringify(preferences));

// Without these flags Chromium contacts its vendor. Its sandbox does not run as root.
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  pipe: true,
  enableExtensions: [extension],
  userDataDir: join(home, "profile"),
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"],
});
try {
  const target = await browser.waitForTarget((it) => it.url().endsWith("/worker.js"));
  const worker = await target.worker();
  const page = await browser.newPage();
  await page.setContent(`<a href="${url.replaceAll("&", "&amp;")}">Export</a>`);
  await page.click("a");
  const list = await browser.newPage();
  await list.goto("chrome://downloads/");
  let presses = 0;
  let download = await settled(worker);
  while (download.state !== "complete" && presses < Number(pressesMax)) {
    presses += 1;
    await press(list);
    download = await settled(worker);
  }
  console.log(JSON.stringify({ presses, error: download.error ?? null }));
} finally {
  await browser.close();
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
}

/** Waits until the download is complete, or has failed. */
async function settled(worker) {
  let failedAt = null;
  const end = Date.now() + SECONDS_MAX * 1000;
  for (;;) {
    const [download] = await worker.evaluate(() => chrome.downloads.search({}));
    if (download?.state === "complete") return download;
    failedAt = download?.state === "interrupted" ? (failedAt ?? Date.now()) : null;
    if (failedAt && Date.now() - failedAt > SETTLED_SECONDS * 1000) return download;
    if (Date.now() > end) throw new Error(`the download does not end: ${JSON.stringify(download)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Presses the button as a person does: Chromium continues only so often by itself. */
async function press(list) {
  await list.bringToFront();
  const item = "downloads-manager >>> downloads-item >>> ";
  const menu = await list.waitForSelector(`${item}#more-actions`, { visible: true, timeout: 3000 }).catch(() => null);
  await menu?.click();
  for (const id of ["pause-or-resume", "retry"]) {
    const button = await list.$(`${item}#${id}`);
    if (await button?.evaluate((it) => !it.hidden)) return button.click();
  }
  throw new Error("there is no button");
}

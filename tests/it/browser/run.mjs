// Drives a real Chromium for the tests. Takes a task as JSON and the folder that has the driver; prints what it
// saw as JSON.
import { createRequire } from "node:module";
import * as button from "./button.mjs";
import * as pages from "./pages.mjs";

const [taskText, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const modes = { ...pages, ...button };

// Chromium would look for its maker's hosts, and a sandbox cannot be had by root.
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"],
});
const [[mode, argument]] = Object.entries(JSON.parse(taskText));
const result = await modes[mode](browser, argument, require);
console.log(JSON.stringify(result));
await browser.close();
// Servers of pages that a browser keeps open would keep this running.
process.exit(0);

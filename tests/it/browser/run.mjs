// Runs a task in Chromium. Arguments: the task as JSON and the folder of the driver. Prints the result as JSON.
import { createRequire } from "node:module";
import * as button from "./button.mjs";
import * as component from "./component.mjs";
import * as exportsPage from "./exports_page.mjs";
import * as pages from "./pages.mjs";
import * as site from "./site.mjs";

const [taskText, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const modes = { ...pages, ...button, ...component, ...exportsPage, ...site };

// Without these flags Chromium contacts its vendor. Its sandbox does not run as root.
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"],
});
const [[mode, argument]] = Object.entries(JSON.parse(taskText));
const result = await modes[mode](browser, argument, require);
console.log(JSON.stringify(result));
await browser.close();
// Connections kept open by the browser would keep the page servers running.
process.exit(0);

// Tasks about the page of exports.
import { mkdir, readFile } from "node:fs/promises";
import { createServer, request as send } from "node:http";

// Opens a page; returns it with what it requests and reports. A refused navigation is no error of the page, and neither is what
// the pages of another `origin` report.
async function open(context, origin = "http") {
  const page = await context.newPage();
  const seen = { errors: [], urls: [] };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => {
    const isRefusal = /status of (400|401|422)/.test(message.text());
    const isOwn = message.location().url.startsWith(origin);
    if (message.type() === "error" && isOwn && !isRefusal) seen.errors.push(message.text());
  });
  page.on("request", (request) => seen.urls.push(request.url()));
  return { page, seen };
}

async function signedIn(browser, { origin, cookie }, options = {}) {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  await context.addCookies([{ ...cookie, url: origin, sameSite: "Strict", httpOnly: true }]);
  return context;
}

// Does something that downloads a file; returns its name and content.
async function saved(page, act) {
  const [download] = await Promise.all([page.waitForEvent("download"), act()]);
  return { name: download.suggestedFilename(), content: await readFile(await download.path(), "utf8") };
}

const signIn = async (page, token) => {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
};

const cells = (page) => page.evaluate(() =>
  [...document.querySelectorAll("#rows tr")].map((row) => [...row.cells].map((cell) => cell.textContent)));

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.tagName);

// Signs in with a token, and does everything that needs the script.
export async function exports_by_token(browser, { origin, token }) {
  const context = await browser.newContext({ acceptDownloads: true, viewport: { width: 390, height: 844 } });
  const { page, seen } = await open(context);
  const result = { seen };
  await page.goto(`${origin}/exports`);
  await signIn(page, "no token");
  await page.locator("#token-error:not(:empty)").waitFor();
  result.refused = await page.locator("#token-error").innerText();
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Exports", exact: true }).waitFor();
  result.focused = await focused(page);
  await page.getByLabel("Search the exports").fill("rows FAIL");
  result.found = await page.locator(".exports > li:visible h2").allInnerTexts();
  result.count = await page.locator("#found").innerText();
  await page.getByLabel("Search the exports").fill("");
  await page.getByRole("link", { name: "Orders" }).click();
  await page.getByLabel("from", { exact: true }).fill("2026-01-01");
  await page.locator("#estimate", { hasText: /\d rows/ }).waitFor();
  result.estimate = await page.locator("#estimate").innerText();
  await page.getByRole("button", { name: "Show the first rows" }).click();
  await page.locator("#rows tbody tr").first().waitFor();
  result.rows = await cells(page);
  result.rowsFocused = await focused(page);
  await page.locator("summary").click();
  await page.getByLabel("note").uncheck();
  await page.getByLabel("paid", { exact: true }).check();
  await page.getByRole("button", { name: "Copy as Python" }).click();
  await page.locator("#copied pre", { hasText: "import os" }).waitFor();
  result.python = await page.locator("#copied pre").innerText();
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.locator("#copied pre", { hasText: "curl" }).waitFor();
  result.curl = await page.locator("#copied pre").innerText();
  result.file = await saved(page, () => page.getByRole("button", { name: "CSV", exact: true }).click());
  result.said = await page.locator("#progress").innerText();
  result.overflows = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await page.goto(`${origin}/exports/types`);
  await page.getByLabel("a text (optional)").fill("ABC");
  await page.getByRole("button", { name: "CSV", exact: true }).click();
  await page.locator("#filter-a_text-error:not(:empty)").waitFor();
  result.error = await page.locator("#filter-a_text-error").innerText();
  result.invalid = await page.locator("[aria-invalid]").getAttribute("id");
  result.errorFocused = await focused(page);
  await page.getByRole("button", { name: "Add a value" }).click();
  result.added = await focused(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in to see your exports" }).waitFor();
  result.stored = await page.evaluate(() => sessionStorage.length + localStorage.length + document.cookie.length);
  return result;
}

// Downloads in a browser without script, signed in by the cookie.
export async function exports_without_script(browser, { origin, cookie }) {
  const context = await signedIn(browser, { origin, cookie }, { javaScriptEnabled: false });
  const { page, seen } = await open(context);
  const result = { seen };
  await page.goto(`${origin}/exports`);
  await page.getByLabel("Search the exports").fill("ORD");
  await page.getByRole("button", { name: "Search" }).click();
  result.found = await page.locator(".exports > li:visible h2").allInnerTexts();
  await page.getByRole("link", { name: "Orders" }).click();
  // Only the script can do what is hidden.
  result.hidden = await page.locator(".script:visible, #sign-out:visible").count();
  await page.getByLabel("from", { exact: true }).fill("2026-01-01");
  await page.getByLabel("paid", { exact: true }).check();
  result.file = await saved(page, () => page.getByRole("button", { name: "CSV", exact: true }).click());
  await page.goto(`${origin}/exports/types`);
  await page.getByLabel("a text (optional)").fill("ABC");
  await page.getByRole("button", { name: "CSV", exact: true }).click();
  await page.locator("main li code").waitFor();
  result.refused = await page.locator("main").innerText();
  result.back = await page.getByRole("link", { name: "Back to the application" }).getAttribute("href");
  return result;
}

// Downloads with the keyboard only; returns the stops of Tab, and those whose focus is not visible.
export async function exports_by_keyboard(browser, { origin, cookie }) {
  const context = await signedIn(browser, { origin, cookie }, { locale: "en-US" });
  const { page, seen } = await open(context);
  const stops = [];
  const invisible = [];
  // Presses Tab until an element has the focus.
  const reach = async (selector) => {
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press("Tab");
      const { name, isVisible, isWanted } = await page.evaluate((wanted) => {
        const { activeElement } = document;
        const shown = activeElement.closest(".choices label") ?? activeElement;
        const isVisible = [activeElement, shown].some((it) => getComputedStyle(it).outlineStyle !== "none");
        return { name: activeElement.id || activeElement.innerText, isVisible, isWanted: activeElement.matches(wanted) };
      }, selector);
      stops.push(name);
      if (!isVisible) invisible.push(name);
      if (isWanted) return;
    }
    throw new Error(`Tab does not reach ${selector}: ${stops}`);
  };
  await page.goto(`${origin}/exports`);
  await reach("a[href='exports/orders']");
  await page.keyboard.press("Enter");
  await page.locator("#export").waitFor();
  await reach("#filter-from");
  await page.keyboard.type("01012026");
  await reach("[name=status][value=paid]");
  await page.keyboard.press("Space");
  await reach("#exporter button[data-format=csv]");
  const file = await saved(page, () => page.keyboard.press("Enter"));
  return { seen, stops, invisible, file };
}

// Previews and downloads rows with hostile texts, by a form whose filters have the names of properties of a form. The driver
// asks a form for its properties, so that the page presses its own buttons.
export async function exports_hostile(browser, { origin, cookie, filters }) {
  const context = await signedIn(browser, { origin, cookie });
  const { page, seen } = await open(context);
  const bodies = [];
  page.on("request", (request) => { if (request.method() === "POST") bodies.push(request.postDataJSON()); });
  await page.goto(`${origin}/exports/hostile`);
  const press = (selector) => page.evaluate((pressed) => document.querySelector(pressed).click(), selector);
  await page.evaluate((names) => {
    for (const name of names) document.getElementById(`filter-${name}`).value = name;
  }, filters);
  await press("#preview");
  await page.locator("#rows tbody tr").first().waitFor();
  const rows = await cells(page);
  const file = await saved(page, () => press("#exporter button[data-format=csv]"));
  const marks = await page.evaluate(() => ({ alerts: globalThis.alerts ?? 0, images: document.images.length }));
  return { seen, rows, file, marks, sent: bodies.at(-1).filters };
}

// Serves an origin below a path, as a proxy does; signs in there and downloads.
export async function exports_below_a_path(browser, { origin, token, port }) {
  const proxy = createServer((incoming, outgoing) => {
    const path = incoming.url.replace(/^\/data(?=\/)/, "");
    if (path === incoming.url) return outgoing.writeHead(404).end();
    const headers = { ...incoming.headers, host: new URL(origin).host };
    const forwarded = send(`${origin}${path}`, { method: incoming.method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  await new Promise((resolve) => proxy.listen(port, "127.0.0.1", resolve));
  const context = await browser.newContext({ acceptDownloads: true });
  const { page, seen } = await open(context);
  await page.goto(`http://127.0.0.1:${port}/data/exports`);
  await signIn(page, token);
  await page.getByRole("link", { name: "Orders" }).click();
  await page.getByLabel("from", { exact: true }).fill("2026-01-01");
  await page.getByRole("button", { name: "Show the first rows" }).click();
  await page.locator("#rows tbody tr").first().waitFor();
  const rows = await cells(page);
  const file = await saved(page, () => page.getByRole("button", { name: "CSV", exact: true }).click());
  await page.getByRole("link", { name: "All exports" }).click();
  await page.getByRole("heading", { name: "Exports", exact: true }).waitFor();
  proxy.close();
  return { seen, rows: rows.length, file, url: page.url() };
}

// Prepares a file before its download; returns what the page says.
export async function exports_prepared(browser, { origin, cookie }) {
  const context = await signedIn(browser, { origin, cookie });
  const { page, seen } = await open(context);
  const said = [];
  await page.exposeFunction("said", (text) => said.push(text));
  await page.goto(`${origin}/exports/stored`);
  await page.evaluate(() => new MutationObserver(() => globalThis.said(document.getElementById("progress").textContent))
    .observe(document.getElementById("progress"), { childList: true }));
  await page.getByLabel("Prepare the file").check();
  const file = await saved(page, () => page.getByRole("button", { name: "CSV", exact: true }).click());
  await page.locator("#progress", { hasText: "downloads" }).waitFor();
  return { seen, file, said };
}

// Shows the page in each state, at three sizes and in both schemes; returns what axe finds, and which overflow. Takes a
// picture of each.
export async function exports_looks(browser, { origin, cookie, folder }, require) {
  const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");
  await mkdir(folder, { recursive: true });
  const states = {
    "signed-out": async (page) => page.locator("#sign-in").waitFor(),
    list: async (page) => page.locator(".exports").waitFor(),
    form: async (page) => {
      await page.goto(`${origin}/exports/orders?filter.from=2026-01-01`);
      await page.locator("#estimate", { hasText: /\d rows/ }).waitFor();
    },
    types: async (page) => {
      await page.goto(`${origin}/exports/types`);
      await page.getByLabel("a text (optional)").fill("ABC");
      await page.getByRole("button", { name: "CSV", exact: true }).click();
      await page.locator("#filter-a_text-error:not(:empty)").waitFor();
    },
    preview: async (page) => {
      await page.goto(`${origin}/exports/orders?filter.from=2026-01-01`);
      await page.locator("summary").click();
      await page.getByRole("button", { name: "Copy link" }).click();
      await page.locator("#copied pre").waitFor();
      await page.getByRole("button", { name: "Show the first rows" }).click();
      await page.locator("#rows tbody tr").first().waitFor();
    },
  };
  const found = [];
  for (const [size, width, height] of [["phone", 360, 740], ["tablet", 768, 1024], ["desktop", 1280, 800]]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const [state, show] of Object.entries(states)) {
        const options = { viewport: { width, height }, colorScheme, bypassCSP: true };
        const context = state === "signed-out"
          ? await browser.newContext(options)
          : await signedIn(browser, { origin, cookie }, options);
        const page = await context.newPage();
        await page.goto(`${origin}/exports`);
        await show(page);
        await page.screenshot({ path: `${folder}/${state}-${size}-${colorScheme}.png`, fullPage: true });
        const overflows = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        await page.addScriptTag({ content: axe });
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
        const rules = violations.map(({ id, nodes }) => `${id}: ${nodes.map((it) => it.html).join(" ")}`);
        found.push({ name: `${state} ${size} ${colorScheme}`, rules: passes.length, violations: rules, overflows });
        await context.close();
      }
    }
  }
  return found;
}

// Signs in at a provider, and opens the form that was asked for; then answers of which one part is another one. Returns what
// the page shows.
export async function exports_by_account(browser, { origin, issuer }) {
  const context = await browser.newContext({ acceptDownloads: true });
  const { page, seen } = await open(context, origin);
  const result = { seen, refused: [] };
  // The provider's own pages load a font.
  await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  let exchange;
  page.on("request", (request) => {
    if (request.method() === "POST" && request.url().startsWith(`${issuer}/token`)) {
      exchange = Object.fromEntries(new URLSearchParams(request.postData()));
    }
  });
  await page.goto(`${origin}/exports/numbers?filter.n=3`);
  result.policy = (await page.request.get(page.url(), { headers: { accept: "text/html" } })).headers()["content-security-policy"];
  await page.getByRole("button", { name: "Sign in with your account" }).click();
  await page.locator("[name=login]").fill("alice");
  await page.locator("[name=password]").fill("any");
  await page.locator("[type=submit]").click();
  await page.locator("[type=submit]", { hasText: "Continue" }).click();
  await page.getByRole("heading", { name: "Numbers" }).waitFor();
  result.url = page.url();
  result.user = await page.locator(".user span").innerText();
  result.exchange = exchange;
  result.stored = await page.evaluate(() => Object.keys(sessionStorage).length);
  result.file = await saved(page, () => page.getByRole("button", { name: "CSV", exact: true }).click());
  await page.getByRole("button", { name: "Sign out" }).click();
  // Answers that belong to no request of this tab, or to another one.
  const flow = { verifier: "v", state: "s", nonce: "n", page: "/exports" };
  for (const [stored, answer] of [
    [null, "code=c&state=s"],
    [flow, "code=c&state=t"],
    [flow, "code=c&state=s&iss=https://evil.example"],
    [flow, "code=c&state=s"],
    [flow, "error=access_denied&state=s"],
  ]) {
    await page.goto(`${origin}/exports`);
    await page.locator("#account-button").waitFor();
    await page.evaluate((value) => {
      const { pathname } = new URL(".", location.href);
      sessionStorage.clear();
      if (value) sessionStorage.setItem(`rowlink token of ${pathname}, sign-in`, JSON.stringify(value));
    }, stored);
    await page.goto("about:blank");
    await page.goto(`${origin}/exports#${answer}`);
    await page.locator("#account-error:not(:empty)").waitFor();
    const left = await page.evaluate(() => [location.hash, sessionStorage.length]);
    result.refused.push([await page.locator("#account-error").innerText(), ...left]);
  }
  return result;
}

// Writes src/button-texts.ts and src/element-texts.ts: texts of the server that a page needs, by language.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "smol-toml";

/** Texts of `[button]` that stand beside a button; the others are those of a status. */
const BESIDE = ["cancel", "format", "differs"];

const folder = new URL("../../src/texts/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".toml")).sort();
const texts = files.map((name) => [name.slice(0, -".toml".length), parse(readFileSync(new URL(name, folder), "utf8"))]);

/** Returns a part of the texts of each language, as JSON. */
function byLanguage(select) {
  return JSON.stringify(Object.fromEntries(texts.map(([language, file]) => [language, select(file)])), null, 2);
}

/** Returns the texts of `[button]` that stand beside it, or those of its status. */
function buttonTexts({ button }, areBeside) {
  return Object.fromEntries(Object.entries(button).filter(([name]) => BESIDE.includes(name) === areBeside));
}

function write(name, content) {
  writeFileSync(new URL(`src/${name}`, import.meta.url), `// Generated from src/texts of the server by \`npm run generate\`.\n${content}`);
}

write("button-texts.ts", `import type { ElementStatus } from "./types.js";

export const buttonTexts: Record<string, Record<ElementStatus, string>> = ${byLanguage((file) => buttonTexts(file, false))};
`);
write("element-texts.ts", `
/** What stands beside the button. */
export interface ElementTexts {
  button: Record<${BESIDE.map((name) => `"${name}"`).join(" | ")}, string>;
  /** A number of rows. */
  rows: { one: string; other: string };
  /** Names of types of files, by extension. */
  fileTypes: Record<string, string>;
}

export const elementTexts: Record<string, ElementTexts> = ${byLanguage((file) => ({
  button: buttonTexts(file, true),
  rows: file.quantities.rows,
  fileTypes: file.file_types,
}))};
`);

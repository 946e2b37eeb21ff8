// Writes src/button-texts.ts: the section `button` of the server's texts, by language.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "smol-toml";

const folder = new URL("../../src/texts/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".toml")).sort();
const texts = files.map((name) => [name.slice(0, -".toml".length), parse(readFileSync(new URL(name, folder), "utf8")).button]);
const content = `// Generated from src/texts of the server by \`npm run generate\`.
import type { ExportStatus } from "./types.js";

export const buttonTexts: Record<string, Record<ExportStatus, string>> = ${JSON.stringify(Object.fromEntries(texts), null, 2)};
`;
writeFileSync(new URL("src/button-texts.ts", import.meta.url), content);

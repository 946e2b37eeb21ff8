// Signs one link per form-encoded line of standard input; prints one URL per line.

import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Not global in Node 18.
const { mint } = await import(process.argv[2]);

for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const fields = { filters: {}, claims: {}, options: {} };
  for (const [name, value] of new URLSearchParams(line)) {
    const [group, member] = name.split(/\.(.*)/s);
    if (group === "filter") (fields.filters[member] ??= []).push(value);
    else if (group === "claim") fields.claims[member] = value;
    else if (group === "option") fields.options[member] = value;
    else if (name === "reveal") fields.reveal = value.split(",");
    else if (/^(issued|expires_in|not_before|max_|resume_)/.test(name)) fields[name] = Number(value);
    else fields[name] = /^(single_use|confirm)$/.test(name) ? value === "true" : value;
  }
  const { public_url, key, ...what } = fields;
  console.log(await mint(public_url, key, what).catch((refusal) => `refused ${refusal.message}`));
}

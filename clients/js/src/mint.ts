// Makes links without asking the service, wherever WebCrypto is: Node, Deno, Bun and edge runtimes.
// docs/signed-link.md in TypeScript. Never in a page: whoever has the key can make any link.

import type { Filter } from "./types.js";

/** What a link says. Times are Unix seconds. */
export interface Minted {
  export: string;
  format: string;
  user: string;
  /** Seconds from `issued`. */
  expires_in?: number;
  filters?: Record<string, Filter>;
  claims?: Record<string, string>;
  /** As the link names them, without `rl_`: `{ columns: "id,amount", "csv.delimiter": ";" }`. */
  options?: Record<string, string>;
  filename?: string;
  not_before?: number;
  /** The address or network it works from. */
  ip?: string;
  max_rows?: number;
  max_bytes?: number;
  /** Now, unless another is given. */
  issued?: number;
  link_id?: string;
}

const KEY_BYTES_MIN = 32;
const URL_BYTES_MAX = 4096;

/** The URL of a file. `key` is the line that `rowlink keygen` prints. */
export async function mint(publicUrl: string, key: string, what: Minted): Promise<string> {
  const { id, secret, scope } = parseKey(key);
  const { user, expires_in = 60, issued = Math.floor(Date.now() / 1000) } = what;
  check("export", /^[A-Za-z0-9_-]{1,64}$/.test(what.export));
  check("format", /^[a-z0-9]+$/.test(what.format));
  check("user", isText(user));
  check("expires_in", isWhole(expires_in, 1));
  check("issued", isWhole(issued, 0));
  check("not_before", isAbsent(what.not_before) || isWhole(what.not_before, 0));
  check("max_rows", isAbsent(what.max_rows) || isWhole(what.max_rows, 1));
  check("max_bytes", isAbsent(what.max_bytes) || isWhole(what.max_bytes, 1));
  const reserved = {
    user,
    link: what.link_id ?? uuid7(),
    issued,
    expires: issued + expires_in,
    key: id,
    scope,
    not_before: what.not_before,
    ip: what.ip,
    max_rows: what.max_rows,
    max_bytes: what.max_bytes,
    filename: what.filename,
  };
  const pairs = Object.entries(reserved).flatMap(([name, value]) =>
    isAbsent(value) ? [] : [[`rl_${name}`, String(value)]],
  );
  for (const [name, value] of Object.entries(what.claims ?? {})) {
    check(`claims.${name}`, /^[A-Za-z0-9_]{1,64}$/.test(name) && isText(value));
    pairs.push([`rl_claim.${name}`, value]);
  }
  for (const [name, value] of Object.entries(what.options ?? {})) {
    check(`options.${name}`, /^(columns|timezone|end_line|length|(csv|xlsx|ndjson)\.[a-z_]+)$/.test(name));
    pairs.push([`rl_${name}`, String(value)]);
  }
  for (const [name, value] of Object.entries(what.filters ?? {})) {
    check(`filters.${name}`, name !== "" && !name.startsWith("rl_"));
    const values = Array.isArray(value) ? value : [value];
    pairs.push(...values.filter((each) => !isAbsent(each)).map((each) => [name, String(each)]));
  }

  // Sorted by name, then by value. A tab is less than any character that is left after encoding.
  const sorted = pairs.map((pair) => pair.map(encode).join("\t")).sort();
  const query = sorted.map((pair) => pair.replace("\t", "=")).join("&");
  const path = `/v1/exports/${what.export}.${what.format}`;
  const signature = await sign(secret, `ROWLINK1-HMAC-SHA256\n${path}\n${query}`);
  const url = `${publicUrl.replace(/\/$/, "")}${path}?${query}&rl_signature=${signature}`;
  check("url", url.length <= URL_BYTES_MAX);
  return url;
}

/** Says nothing of the value, which may be a secret. */
function check(field: string, fits: boolean): void {
  if (!fits) throw new RangeError(`${field}: no link can have this`);
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function isText(text: unknown): boolean {
  if (typeof text !== "string" || /[\u0000-\u001f\u007f-\u009f]/.test(text)) return false;
  const { length } = new TextEncoder().encode(text);
  return length >= 1 && length <= 256;
}

function isWhole(number: unknown, least: number): boolean {
  return Number.isSafeInteger(number) && (number as number) >= least;
}

function parseKey(line: string) {
  const parts = /^([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\s,:]+))?$/.exec(line.trim()) ?? [];
  const [, id = "", base64 = "", scope] = parts;
  check("key", base64.length % 4 !== 1);
  const secret = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  check("key", secret.length >= KEY_BYTES_MIN);
  return { id, secret, scope };
}

async function sign(secret: Uint8Array<ArrayBuffer>, text: string): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret, algorithm, false, ["sign"]);
  return hex(new Uint8Array(await crypto.subtle.sign(algorithm, key, new TextEncoder().encode(text))));
}

/** RFC 3986: `encodeURIComponent` leaves five characters that are not unreserved. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** RFC 9562, section 5.7. */
function uuid7(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(Date.now() / 0x10000));
  view.setUint16(4, Date.now() % 0x10000);
  view.setUint8(6, (view.getUint8(6) & 0x0f) | 0x70);
  view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80);
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

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
  const { expires_in = 60, issued = Math.floor(Date.now() / 1000) } = what;
  const user = new TextEncoder().encode(what.user).length;
  if (user < 1 || user > 256) throw new RangeError("user: expected 1 to 256 bytes");
  if (!(expires_in >= 1)) throw new RangeError("expires_in: expected at least 1 second");
  const reserved = {
    user: what.user,
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
    ...Object.fromEntries(Object.entries(what.claims ?? {}).map(([name, value]) => [`claim.${name}`, value])),
    ...what.options,
  };
  const pairs = Object.entries(reserved).flatMap(([name, value]) =>
    value === undefined ? [] : [[`rl_${name}`, String(value)]],
  );
  for (const [name, value] of Object.entries(what.filters ?? {})) {
    if (name.startsWith("rl_")) throw new RangeError(`filters.${name}: names that start with rl_ are reserved`);
    const values = Array.isArray(value) ? value : [value];
    pairs.push(...values.filter((each) => each !== null).map((each) => [name, String(each)]));
  }

  // Sorted by name, then by value. A tab is less than any character that is left after encoding.
  const sorted = pairs.map((pair) => pair.map(encode).join("\t")).sort();
  const query = sorted.map((pair) => pair.replace("\t", "=")).join("&");
  const path = `/v1/exports/${what.export}.${what.format}`;
  const signature = await sign(secret, `ROWLINK1-HMAC-SHA256\n${path}\n${query}`);
  const url = `${publicUrl.replace(/\/$/, "")}${path}?${query}&rl_signature=${signature}`;
  if (url.length > URL_BYTES_MAX) {
    throw new RangeError(`url: ${url.length} bytes long, expected at most ${URL_BYTES_MAX}`);
  }
  return url;
}

function parseKey(line: string) {
  const [id = "", base64 = "", scope] = line.trim().split(":");
  const secret = /^[A-Za-z0-9+/]*={0,2}$/.test(base64)
    ? Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
    : new Uint8Array();
  if (secret.length < KEY_BYTES_MIN) {
    throw new RangeError(`key: expected \`id:base64\` of at least ${KEY_BYTES_MIN} bytes`);
  }
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

// Signs links offline, in any runtime with WebCrypto: Node, Deno, Bun and edge runtimes. Implements
// docs/signed-link.md. Never use it in a page: any holder of the key can sign any link.

import type { Filter } from "./types.js";

/** The contents of a link to sign. Times are Unix seconds. */
export interface UnsignedLink {
  export: string;
  /** Absent for a stored document. */
  format?: string | null;
  user: string;
  /** Lifetime in seconds from `issued`. Default: 60. */
  expires_in?: number;
  filters?: Record<string, Filter>;
  claims?: Record<string, string>;
  /** Output options, named as in the link without `rl_`: `{ columns: "id,amount", "csv.delimiter": ";" }`. */
  options?: Record<string, string>;
  /**
   * The columns with a scope that the user may see; all others with a scope are withheld. Never take it from a request.
   */
  reveal?: string[];
  filename?: string;
  not_before?: number;
  /** Client address or network (CIDR) that may use the link. */
  ip?: string;
  max_rows?: number;
  max_bytes?: number;
  /** For how many seconds after its expiry a download that has begun may be continued. */
  resume_seconds?: number;
  /** Whether the link works only once. */
  single_use?: boolean;
  /** Whether a browser shows a page with a button first. */
  confirm?: boolean;
  /** SHA-256 of a cookie's value in hex. The link works only in the browser that has this cookie. */
  bind?: string;
  /** Why the user wants the file: at most 200 characters. */
  reason?: string;
  /** Time of issue. Default: now. */
  issued?: number;
  link_id?: string;
}

const KEY_BYTES_MIN = 32;
const URL_BYTES_MAX = 4096;

/**
 * Returns the signed URL of a file. `key` is the line that `rowlink keygen` prints. Throws a `RangeError` that names
 * the field if a value is invalid.
 */
export async function mint(publicUrl: string, key: string, link: UnsignedLink): Promise<string> {
  const { id, secret, scope } = parseKey(key);
  const { user, format, expires_in = 60, issued = Math.floor(Date.now() / 1000) } = link;
  check("export", /^[A-Za-z0-9_-]{1,64}$/.test(link.export));
  check("format", isAbsent(format) || /^[a-z0-9]+$/.test(format));
  check("user", isText(user));
  check("expires_in", isInteger(expires_in, 1));
  check("issued", isInteger(issued, 0));
  check("not_before", isAbsent(link.not_before) || isInteger(link.not_before, 0));
  check("max_rows", isAbsent(link.max_rows) || isInteger(link.max_rows, 1));
  check("max_bytes", isAbsent(link.max_bytes) || isInteger(link.max_bytes, 1));
  check("resume_seconds", isAbsent(link.resume_seconds) || isInteger(link.resume_seconds, 1));
  check("single_use", isAbsent(link.single_use) || typeof link.single_use === "boolean");
  check("confirm", isAbsent(link.confirm) || typeof link.confirm === "boolean");
  check("bind", isAbsent(link.bind) || /^[0-9a-f]{64}$/.test(link.bind));
  check("reason", isAbsent(link.reason) || isReason(link.reason));
  check("reveal", isAbsent(link.reveal) || isReveal(link.reveal));
  const reserved = {
    user,
    link: link.link_id ?? uuid7(),
    issued,
    expires: issued + expires_in,
    key: id,
    scope,
    not_before: link.not_before,
    ip: link.ip,
    max_rows: link.max_rows,
    max_bytes: link.max_bytes,
    resume: link.resume_seconds,
    single_use: link.single_use || null,
    confirm: link.confirm || null,
    bind: link.bind,
    reason: link.reason,
    filename: link.filename,
    reveal: link.reveal?.length ? link.reveal.join(",") : null,
  };
  const pairs = Object.entries(reserved).flatMap(([name, value]) =>
    isAbsent(value) ? [] : [[`rl_${name}`, String(value)]],
  );
  for (const [name, value] of Object.entries(link.claims ?? {})) {
    check(`claims.${name}`, /^[A-Za-z0-9_]{1,64}$/.test(name) && isText(value));
    pairs.push([`rl_claim.${name}`, value]);
  }
  for (const [name, value] of Object.entries(link.options ?? {})) {
    check(`options.${name}`, /^(columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\.[a-z_]+)$/.test(name));
    pairs.push([`rl_${name}`, String(value)]);
  }
  for (const [name, value] of Object.entries(link.filters ?? {})) {
    check(`filters.${name}`, name !== "" && !name.startsWith("rl_"));
    const values = Array.isArray(value) ? value : [value];
    pairs.push(...values.filter((each) => !isAbsent(each)).map((each) => [name, String(each)]));
  }

  // Sorts by name, then by value: a tab sorts before every character that remains after encoding.
  const sorted = pairs.map((pair) => pair.map(encode).join("\t")).sort();
  const query = sorted.map((pair) => pair.replace("\t", "=")).join("&");
  const path = isAbsent(format) ? `/v1/files/${link.export}` : `/v1/exports/${link.export}.${format}`;
  const signature = await sign(secret, `ROWLINK1-HMAC-SHA256\n${path}\n${query}`);
  const url = `${publicUrl.replace(/\/$/, "")}${path}?${query}&rl_signature=${signature}`;
  check("url", url.length <= URL_BYTES_MAX);
  return url;
}

/** Throws a `RangeError` if the value is invalid. The message omits the value, which may be a secret. */
function check(field: string, valid: boolean): void {
  if (!valid) throw new RangeError(`${field}: invalid value; see docs/signed-link.md`);
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

function isText(text: unknown): boolean {
  if (typeof text !== "string" || /[\u0000-\u001f\u007f-\u009f]/.test(text)) return false;
  const { length } = new TextEncoder().encode(text);
  return length >= 1 && length <= 256;
}

function isReason(text: unknown): boolean {
  return typeof text === "string" && /^[^\u0000-\u001f\u007f-\u009f]{1,200}$/u.test(text);
}

function isReveal(names: unknown): boolean {
  if (!Array.isArray(names)) return false;
  return names.every((name) => isText(name) && !name.includes(",")) && new Set(names).size === names.length;
}

function isInteger(number: unknown, min: number): boolean {
  return Number.isSafeInteger(number) && (number as number) >= min;
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

/** Percent-encodes by RFC 3986. `encodeURIComponent` does not encode five reserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Returns a new UUIDv7 (RFC 9562, section 5.7). */
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

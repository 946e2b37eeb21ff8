import { GoneError, problemOf, UnreachableError } from "./problem.js";
import type { CallOptions, Link, LinkRequest, Opened, Options } from "./types.js";

export {
  BusyError,
  ForbiddenError,
  GoneError,
  IncompleteError,
  InvalidError,
  RowlinkError,
  SignInError,
  UnreachableError,
  type FieldError,
} from "./problem.js";
export type * from "./types.js";

/** What `createRowlink` makes. */
export type Rowlink = ReturnType<typeof createRowlink>;

/** Asks a deployment for links, and hands their files to the browser. */
export function createRowlink({ baseUrl = "", token }: Options = {}) {
  // What was asked for, and until when the link is good, in milliseconds by this machine's clock.
  const issued = new WeakMap<Link, { request: LinkRequest; until: number }>();

  async function create(request: LinkRequest, { signal }: CallOptions = {}): Promise<Link> {
    const headers: Record<string, string> = { "content-type": "application/json", accept: "application/json" };
    const asked = Date.now();
    const bearer = typeof token === "function" ? await token() : token;
    if (bearer) headers.authorization = `Bearer ${bearer}`;
    const answer = await get(`${baseUrl.replace(/\/$/, "")}/v1/links`, {
      method: "POST",
      headers,
      body: JSON.stringify(request),
      credentials: bearer ? "omit" : "include",
      signal,
    });
    const link: Link = await answer.json();
    // A tenth of its life is for the way to the server.
    issued.set(link, { request, until: asked + link.expires_in * 900 });
    return link;
  }

  /** A link that is good: the one that is given, or another in its place. */
  async function good(what: Link | LinkRequest, options: CallOptions): Promise<Link> {
    if (!("url" in what)) return create(what, options);
    const known = issued.get(what);
    return known && Date.now() >= known.until ? create(known.request, options) : what;
  }

  /**
   * Lets the browser download: the page stays, and nothing of the file is in its memory. A link that expired
   * before the click is issued anew. A download that is refused shows the server's page.
   */
  async function download(what: Link | LinkRequest, options: CallOptions = {}): Promise<Link> {
    const link = await good(what, options);
    options.signal?.throwIfAborted();
    const anchor = document.createElement("a");
    anchor.href = link.url;
    anchor.hidden = true;
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    return link;
  }

  /** Fetches the file for the page itself; a link that expired before that is issued anew, once. */
  async function open(what: Link | LinkRequest, options: CallOptions = {}): Promise<Opened> {
    const fetched = async (link: Link): Promise<Opened> => ({
      link,
      request: issued.get(link)?.request,
      answer: await get(link.url, { credentials: "omit", signal: options.signal }),
    });
    const link = await good(what, options);
    return fetched(link).catch(async (error) => {
      const request = issued.get(link)?.request;
      if (!(request && error instanceof GoneError)) throw error;
      return fetched(await create(request, options));
    });
  }

  return { links: { create }, download, open };
}

async function get(url: string, init: RequestInit & CallOptions): Promise<Response> {
  const answer = await fetch(url, init).catch((error: Error) => {
    if (init.signal?.aborted) throw error;
    throw new UnreachableError({ code: "unreachable", detail: error.message });
  });
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

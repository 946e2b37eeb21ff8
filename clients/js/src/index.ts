import { get } from "./get.js";
import { GoneError } from "./problem.js";
import type { CallOptions, Export, Link, LinkRequest, Opened, Options } from "./types.js";

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

/** The client that `createRowlink` returns. */
export type Rowlink = ReturnType<typeof createRowlink>;

/** Creates a client that requests links from a deployment and starts their downloads. */
export function createRowlink({ baseUrl = "", token, requestLink }: Options = {}) {
  // The request of each issued link, and the end of its validity in milliseconds of the local clock.
  const issued = new WeakMap<Link, { request: LinkRequest; validUntil: number }>();

  /** Sends a request with the credential; resolves to the JSON of the response. */
  async function call(path: string, init: RequestInit, { signal }: CallOptions) {
    const headers: Record<string, string> = { "content-type": "application/json", accept: "application/json" };
    const bearer = typeof token === "function" ? await token() : token;
    if (bearer) headers.authorization = `Bearer ${bearer}`;
    const credentials = bearer ? "omit" : "include";
    const response = await get(baseUrl.replace(/\/$/, "") + path, { credentials, ...init, headers, signal });
    return response.json();
  }

  async function create(request: LinkRequest, options: CallOptions = {}): Promise<Link> {
    const requestedAt = Date.now();
    const init: RequestInit = { method: "POST", body: JSON.stringify(request) };
    // The browser keeps the cookie of the response only then.
    if (request.bind) init.credentials = "include";
    const link: Link = await (requestLink ? requestLink(request, options) : call("/v1/links", init, options));
    // Reserves a tenth of the lifetime for the request to the server.
    issued.set(link, { request, validUntil: requestedAt + link.expires_in * 900 });
    return link;
  }

  /** Lists the exports that the caller may use. */
  async function exports(options: CallOptions = {}): Promise<readonly Export[]> {
    return (await call("/v1/exports", {}, options)).exports;
  }

  /** Returns the given link, or a new one if it is a request or the link expired. */
  async function validLink(linkOrRequest: Link | LinkRequest, options: CallOptions): Promise<Link> {
    if (!("url" in linkOrRequest)) return create(linkOrRequest, options);
    const known = issued.get(linkOrRequest);
    return known && Date.now() >= known.validUntil ? create(known.request, options) : linkOrRequest;
  }

  /**
   * Starts a browser download: the page stays open, and the file is not loaded into its memory. An expired link is
   * issued again first. If the server refuses the download, the browser shows the server's error page.
   */
  async function download(linkOrRequest: Link | LinkRequest, options: CallOptions = {}): Promise<Link> {
    const link = await validLink(linkOrRequest, options);
    options.signal?.throwIfAborted();
    const anchor = document.createElement("a");
    anchor.href = link.url;
    anchor.hidden = true;
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    return link;
  }

  /** Fetches the file for use in the page. An expired link is issued again once. */
  async function open(linkOrRequest: Link | LinkRequest, options: CallOptions = {}): Promise<Opened> {
    const fetchFile = async (link: Link): Promise<Opened> => {
      const request = issued.get(link)?.request;
      const credentials = request?.bind ? "include" : "omit";
      return { link, request, answer: await get(link.url, { credentials, signal: options.signal }) };
    };
    const link = await validLink(linkOrRequest, options);
    return fetchFile(link).catch(async (error) => {
      const request = issued.get(link)?.request;
      if (!(request && error instanceof GoneError)) throw error;
      return fetchFile(await create(request, options));
    });
  }

  return { exports, links: { create }, download, open };
}

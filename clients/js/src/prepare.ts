import { get } from "./get.js";
import type { Rowlink } from "./index.js";
import { RowlinkError } from "./problem.js";
import type { FileState, Link, LinkRequest, PrepareOptions } from "./types.js";

/**
 * Lets the server prepare the file in its object storage; resolves to its link when the file is ready, for `download`: the browser
 * then shows a percentage, and continues without the page. An `AbortSignal` also cancels the preparation.
 */
export async function prepare(rowlink: Rowlink, request: LinkRequest, options: PrepareOptions = {}): Promise<Link> {
  const { signal, onProgress } = options;
  const link = await rowlink.links.create({ ...request, prepare: true }, { signal });
  try {
    for (let file = link.file!; ; file = await ask(link, "status", { wait: 1 }, signal)) {
      onProgress?.(file);
      if (file.state === "ready") return link;
      if (file.state !== "preparing") throw new RowlinkError({ code: file.code ?? file.state, detail: `the file is ${file.state}` });
    }
  } catch (error) {
    // Not by the signal, which has ended.
    if (signal?.aborted) await ask(link, "cancel", {}).catch(() => {});
    throw error;
  }
}

/** Asks any server of the deployment. The link is the credential. */
async function ask(link: Link, what: string, fields: object, signal?: AbortSignal): Promise<FileState> {
  const url = link.url.replace(/\/v1\/(exports|files)\/[^/]*$/, `/v1/links/${what}`);
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ url: link.url, ...fields });
  return (await get(url, { method: "POST", headers, body, credentials: "omit", signal })).json();
}

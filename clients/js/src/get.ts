import { UnreachableError, toError } from "./problem.js";
import type { CallOptions } from "./types.js";

/**
 * Fetches a URL. Throws the error of a response that is not a success. A link with `confirm` is fetched by `POST`: a
 * script that calls this wants the file.
 */
export async function get(url: string, init: RequestInit & CallOptions): Promise<Response> {
  const response = await fetch(url, init).catch((error: Error) => {
    if (init.signal?.aborted) throw error;
    throw new UnreachableError({ code: "unreachable", detail: error.message });
  });
  if (response.ok) return response;
  const error = await toError(response);
  if (error.code !== "confirmation-required" || init.method) throw error;
  return get(url, { ...init, method: "POST" });
}
